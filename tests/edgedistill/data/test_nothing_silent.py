"""What is not read, or is read elsewhere than it was named, is refused or said: no image is lost without a word."""

import contextlib
import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedistill.config.data import DataConfig
from edgedistill.config.loading import load_recipe
from edgedistill.data.find_images import find_images
from edgedistill.data.grouping import group, lines_of_groups, summary_of_groups
from edgedistill.data.layout import recognise
from edgedistill.data.rows import best_place
from edgedistill.data.scan import scan
from edgedistill.data.sources import fingerprint, list_pool, list_source
from edgedistill.errors import DataError, RecipeError


def png(value, side=20):
    """Bytes of a picture of noise that is another one for each value."""
    pixels = np.random.default_rng(value).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def write(root, *paths):
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(png(number))


def listed(source, **keys):
    data = DataConfig(train=str(source), **keys)
    return list_source(Path(source), data, "train")


def shown(listing, root):
    return sorted(str(item.path.relative_to(root)) for item in listing.items)


# Columns of a parquet file that hold bytes


@pytest.fixture
def parquet(tmp_path):
    import pyarrow.parquet

    def written(**columns):
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "m.parquet")
        return tmp_path / "m.parquet"

    return written


def pictures(first):
    return [{"bytes": png(first + number), "path": f"{first + number}.png"} for number in range(4)]


LABELS = ["a", "b", "a", "b"]


def columns_read(listing):
    return {str(item.path).split("/@")[1].split("/")[1] for item in listing.items}


def test_of_several_columns_of_pictures_the_named_one_is_read(parquet):
    source = parquet(mask=pictures(0), image=pictures(10), label=LABELS)
    assert columns_read(listed(source, path_column="image")) == {"image"}
    assert columns_read(listed(source, path_column="mask")) == {"mask"}
    unnamed = listed(source)
    assert columns_read(unnamed) == {"image"}, "the usual name"
    assert "images from the column 'image'" in " ".join(unnamed.lines)


def test_several_columns_of_pictures_without_a_usual_name_are_refused(parquet):
    with pytest.raises(DataError, match="2 columns hold images: left, right; name one with data.path_column"):
        listed(parquet(left=pictures(0), right=pictures(10), label=LABELS))


def test_a_hash_in_bytes_is_no_picture(parquet, tmp_path):
    write(tmp_path, *(f"{number}.png" for number in range(4)))
    source = parquet(md5=[bytes(16)] * 4, path=[f"{number}.png" for number in range(4)], label=LABELS)
    assert shown(listed(source), tmp_path) == [f"{number}.png" for number in range(4)]
    bare = parquet(md5=[bytes(16)] * 4, image=[picture["bytes"] for picture in pictures(0)], label=LABELS)
    assert columns_read(listed(bare)) == {"image"}


def test_a_column_of_lists_is_refused_only_where_it_is_needed(parquet):
    source = parquet(image=pictures(0), bbox=[[1, 2, 3, 4]] * 4, label=LABELS)
    assert len(listed(source).items) == 4
    with pytest.raises(DataError, match="the column 'bbox' holds lists; expected one value a row"):
        listed(source, label_column="bbox")


# A file that a table names and that is not there


@pytest.fixture
def lines(tmp_path):
    """images/line1 and line2 with five pictures each of the same names, and a table of the first."""
    write(tmp_path, *(f"images/line{line}/{number}.png" for line in (1, 2) for number in range(5)))
    rows = [f"line1/{number}.png,{'ab'[number % 2]}" for number in range(5)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    (tmp_path / "images/line1/3.png").unlink()
    return tmp_path


def test_a_missing_image_is_not_replaced_by_one_of_another_folder(lines):
    read = listed(lines / "t.csv", image_root="images")
    assert shown(read, lines) == [f"images/line1/{number}.png" for number in range(5)], "3 is missed when it is read"
    shutil.rmtree(lines / "images" / "line2")
    write(lines, "images/line1/deep/3.png")
    found = listed(lines / "t.csv", image_root="images")
    assert "images/line1/deep/3.png" in shown(found, lines)
    assert "1 image was found by name below" in " ".join(found.lines)


def test_paths_of_another_computer_are_found_by_folder_and_name(lines):
    rows = [f"/scratch/other/line2/{number}.png,{'ab'[number % 2]}" for number in range(5)]
    (lines / "t.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    read = listed(lines / "t.csv", image_root="images")
    assert shown(read, lines) == [f"images/line2/{number}.png" for number in range(5)]
    assert "5 images were found by name below" in " ".join(read.lines)


def test_the_ending_of_a_picture_is_taken_and_not_that_of_its_annotation(tmp_path):
    write(tmp_path, *(f"{number}.png" for number in range(3)))
    for number in range(3):
        (tmp_path / f"{number}.json").write_text("{}")
    assert best_place(tmp_path / "t.csv", ["0", "1", "2"]) == (1.0, None, ".png")


# A folder that may not be listed


@contextlib.contextmanager
def as_nobody():
    """Root may list everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def locked():
    """A place that everybody may list, but for one folder at the end of each of three."""
    root = Path(tempfile.mkdtemp(prefix="edgedistill-locked-"))
    write(root, "a/1.png", "a/deep/2.png", "b/1.png", "c/1.png", "c/2.png")
    for path in (root, *root.rglob("*")):
        path.chmod(0o755)
    yield root
    for path in root.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(root)


@pytest.mark.parametrize("where", ["a/deep", "c"])
def test_a_folder_that_may_not_be_listed_is_refused(locked, where):
    (locked / where).chmod(0)
    line = f"{locked / where}: Permission denied; make it readable .chmod -R u.rX {locked / where}. or move it away"
    with as_nobody(), pytest.raises(DataError, match=line):
        listed(locked)
    with as_nobody(), pytest.raises(DataError, match=line):
        list_pool(locked, DataConfig(train="x", unlabelled=str(locked)))
    with as_nobody(), pytest.raises(DataError, match=line):
        find_images([locked])


# Names of several lines, an empty path, splits among the groups, tables of one split, dots in keys


def test_a_label_of_several_lines_does_not_become_several_labels(tmp_path):
    write(tmp_path, *(f"{number}.png" for number in range(4)))
    text = 'path,"Damage\nfront","Damage\nrear",ok\n' + "".join(f"{n}.png,{n % 2},1,0\n" for n in range(4))
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=r"names of labels must be one line of text in any script, got 'Damage\\nrear'"):
        listed(tmp_path / "t.csv", task="multilabel", label_columns=("Damage\nfront", "Damage\nrear", "ok"))


def test_a_figure_has_a_name_of_one_line(tmp_path):
    write(tmp_path, *(f"{number}.png" for number in range(4)))
    (tmp_path / "t.csv").write_text('path,"Dia\n(mm)"\n' + "".join(f"{n}.png,{n / 3}\n" for n in range(4)))
    with pytest.raises(DataError, match=r"columns of figures must be one line of text in any script, got 'Dia\\n"):
        listed(tmp_path / "t.csv", task="regression", values=[{"column": "Dia\n(mm)"}])


@pytest.mark.parametrize("key", ["val", "test", "unlabelled"])
def test_an_empty_path_is_none_and_not_the_working_directory(tmp_path, key):
    (tmp_path / "r.toml").write_text(f'[data]\ntrain = "images"\n{key} = "images"\n')
    assert getattr(load_recipe(tmp_path / "r.toml").data, key) is not None
    assert getattr(load_recipe(tmp_path / "r.toml", [f"data.{key}="]).data, key) is None


@pytest.mark.parametrize("key", ["data.train", "teacher.weights"])
def test_a_path_that_has_to_be_there_may_not_be_empty(tmp_path, key):
    (tmp_path / "r.toml").write_text('[data]\ntrain = "images"\n')
    with pytest.raises(RecipeError, match=f"{key} is empty: expected a path"):
        load_recipe(tmp_path / "r.toml", [f"{key}="])


def test_a_group_that_lies_in_two_splits_is_told(tmp_path):
    write(
        tmp_path,
        *(f"{kind}/{s}/{part}/{n}.png" for kind in "ab" for s in ("train", "test") for part in "pq" for n in "12"),
    )
    data = DataConfig(train=str(tmp_path), group_by="folder")
    scanned = scan(data)
    assert {item.group for item in scanned.items} == {"p", "q"}
    grouped = group(scanned, data)
    said = lines_of_groups(summary_of_groups(scanned, grouped), len(scanned.items))
    assert "LEAKS: 2 named groups stand in several given splits, first 'p' (test and train)" in said


@pytest.mark.parametrize("names", [("train_1", "train_2", "test"), ("train_0", "val_0", "train_1", "val_1")])
def test_two_tables_of_one_split_are_refused(tmp_path, names):
    write(tmp_path, *(f"{number}.png" for number in range(8)))
    for place, name in enumerate(names):
        rows = [f"{number}.png,{'ab'[number // 4]}" for number in range(place % 4, 8, 4)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    with pytest.raises(DataError, match=r"\.csv and .*\.csv are both called like the split 'train'; keep one of them"):
        recognise({"train": tmp_path}, {})


def test_a_sample_with_a_dot_in_its_key_is_refused(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("000.part.1.png", "000.part.1.cls", "001.png", "001.cls"):
            content = png(1) if name.endswith("png") else b"1"
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    with pytest.raises(
        DataError, match=r"000.part.1.png is no image here: in WebDataset the key ends at the first dot"
    ):
        listed(tmp_path / "s.tar")


def test_what_is_left_out_of_a_table_is_named_by_its_path_below_the_table(lines):
    kept = listed(lines / "t.csv", image_root="images", leave_out=("images/line1/[02]*",))
    assert shown(kept, lines) == [f"images/line1/{number}.png" for number in (1, 3, 4)]


def test_a_line_is_counted_as_an_editor_counts_it(tmp_path):
    (tmp_path / "t.csv").write_text("path,label\n0.png,a\n\n\n1.png,b\n2.png,\n")
    with pytest.raises(DataError, match=r"t.csv, line 6: the path or the label is empty"):
        listed(tmp_path / "t.csv")


def test_a_class_that_has_the_name_of_annotations_is_named(tmp_path):
    write(tmp_path, "label/1.png", "no_label/2.png")
    with pytest.raises(
        DataError, match=r"'label' was left out \(annotations by its name\): where it is a class, rename"
    ):
        listed(tmp_path)


def test_images_without_a_group_are_counted_and_the_first_is_named(tmp_path):
    write(tmp_path, *(f"{kind}/{name}" for kind in "ab" for name in ("p1_x.png", "p1_y.png", "p2_x.png", "loose.png")))
    data = DataConfig(train=str(tmp_path), group_pattern=r"(p\d)_")
    scanned = scan(data)
    summary = summary_of_groups(scanned, group(scanned, data))
    assert (summary.named_images, summary.named_groups) == (6, 2)
    assert summary.unnamed_first == str(tmp_path / "a/loose.png")
    assert lines_of_groups(summary, 8) == [
        "2 named groups hold 6 of 8 images; each other image counts as a group of its own, first "
        + str(tmp_path / "a/loose.png")
    ]
    bare = DataConfig(train=str(tmp_path))
    ungrouped = scan(bare)
    nothing = summary_of_groups(ungrouped, group(ungrouped, bare))
    assert nothing.unnamed_first is None, "where no group was asked for, no image lacks one"
    assert lines_of_groups(nothing, 8) == []


# A folder of images, and tables beside it


def source_of(root, *tables, train="images"):
    """What `new` takes for `root/train`: tables are (name, folder that its paths begin with, or None: no labels)."""
    for name, folder in tables:
        rows = [f"{folder}{number}.png,{'ab'[number % 2]}" for number in range(4)]
        text = ["path,label", *rows] if folder is not None else ["note", "nothing"]
        (root / f"{name}.csv").write_text("\n".join(text) + "\n")
    source = recognise({"train": root / train}, {}).sources["train"]
    return str(Path(source).relative_to(root))


@pytest.mark.parametrize(
    ("tables", "taken"),
    [
        ((), "images"),
        ((("list", "images/"),), "list.csv"),
        ((("list", ""),), "list.csv"),
        ((("list", ""), ("notes", None)), "list.csv"),
        ((("a", ""), ("z", "other/")), "a.csv"),  # its paths are below `images` and need it as their root
        ((("a", "other/"), ("z", "")), "z.csv"),
        ((("a", "images/"), ("z", "images/")), "images"),  # which of the two is not to be guessed
    ],
)
def test_the_one_table_beside_a_folder_of_images_names_their_classes(tmp_path, tables, taken):
    write(tmp_path, *(f"{folder}/{number}.png" for folder in ("images", "other") for number in range(4)))
    assert source_of(tmp_path, *tables) == taken


# A pool in several tables


def test_what_is_said_of_each_table_of_a_pool_is_kept(tmp_path):
    import pyarrow.parquet

    write(tmp_path, *(f"images/deep/{number}.png" for number in range(4)))
    (tmp_path / "pool").mkdir()
    tables = [tmp_path / "pool" / f"{number}.parquet" for number in range(2)]
    for table, paths in zip(tables, (["gone/0.png", "gone/1.png"], ["deep/2.png", "deep/3.png"]), strict=True):
        pyarrow.parquet.write_table(pyarrow.table({"path": paths}), table)
    pool = list_pool(tmp_path / "pool", DataConfig(train="x", unlabelled="x", image_root="../images"))
    assert shown(pool, tmp_path / "images" / "deep") == [f"{number}.png" for number in range(4)]
    assert [line.partition(" found")[0] for line in pool.lines] == ["0.parquet: 2 images were"]
    assert pool.files == tables


def test_the_fingerprint_changes_with_the_table_of_the_pool(tmp_path):
    write(tmp_path, "c/a/0.png", "c/b/1.png", "p/2.png", "p/3.png")
    (tmp_path / "pool.csv").write_text("path\np/2.png\np/3.png\n")
    data = DataConfig(train=str(tmp_path / "c"), unlabelled=str(tmp_path / "pool.csv"))
    before = fingerprint(data)
    assert fingerprint(data) == before
    os.utime(tmp_path / "pool.csv", (5, 5))
    assert fingerprint(data) != before
