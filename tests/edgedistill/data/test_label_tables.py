"""Several labels an image, from cells, columns of 0 and 1, and links: each layout gives the same images."""

import os
import re
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedistill.config.data import DataConfig
from edgedistill.config.task import MULTILABEL
from edgedistill.data.label_sets import labels_of_text, text_of_labels
from edgedistill.data.prepare import prepare
from edgedistill.data.sources import fingerprint, list_source
from edgedistill.data.splits import split
from edgedistill.data.table import read_table
from edgedistill.errors import DataError

NAMES = ["dent", "rust", "scratch, deep"]


@pytest.fixture
def held(tmp_path):
    """60 files of noise in `images`, and the labels of each."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    labels = {}
    for number in range(60):
        image = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        assert cv2.imwrite(str(tmp_path / "images" / f"{number:02d}.png"), image)
        labels[f"{number:02d}.png"] = [name for name in NAMES if rng.random() < 0.4]
    assert [] in labels.values()
    return labels


def table(tmp_path, lines, **keys):
    (tmp_path / "images" / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return DataConfig(task="multilabel", train=str(tmp_path / "images" / "t.csv"), image_px=32, **keys)


def listed(data):
    return {item.path.name: labels_of_text(item.label) for item in list_source_of(data).items}


def list_source_of(data):
    return list_source(Path(data.train), data)


@pytest.mark.parametrize("separator", [";", "|", ";;"])
def test_labels_of_a_cell(tmp_path, held, separator):
    lines = ["path,labels", *(f'{name},"{separator.join(labels)}"' for name, labels in held.items())]
    data = table(tmp_path, lines, **({"label_separator": separator} if separator == ";;" else {}))
    assert listed(data) == held, "a comma belongs to the label where another separator is in the column"


def test_commas_separate_where_nothing_else_does(tmp_path, held):
    data = table(tmp_path, ["path,labels", '00.png,"a,b"', "01.png,", '02.png,"b, c ,b"'])
    assert listed(data) == {"00.png": ["a", "b"], "01.png": [], "02.png": ["b", "c"]}


@pytest.mark.parametrize("named", [False, True])
def test_columns_of_0_and_1(tmp_path, held, named):
    columns = [name.replace(",", "") for name in NAMES]
    lines = [f"path,{','.join(columns)}" + (",width" if named else "")]
    for name, labels in held.items():
        flags = [str(int(label in labels)) for label in NAMES]
        lines.append(f"{name},{','.join(flags)}" + (",7.5" if named else ""))
    data = table(tmp_path, lines, **({"label_columns": tuple(columns)} if named else {}))
    assert listed(data) == {name: [label.replace(",", "") for label in labels] for name, labels in held.items()}


def test_one_column_of_0_and_1_is_one_label(tmp_path, held):
    data = table(tmp_path, ["path,rusty", "00.png,1", "01.png,0"])
    assert listed(data) == {"00.png": ["rusty"], "01.png": []}


def test_a_row_a_label_and_links_in_folders_give_the_same(tmp_path, held):
    lines = ["path;label"]
    folders = tmp_path / "folders"
    for name in NAMES:
        (folders / name).mkdir(parents=True)
    for number, (name, labels) in enumerate(held.items()):
        for label in labels:
            lines.append(f'{name};"{label}"')
            place = folders / label / name
            # A link of either kind, to another name too.
            (os.link if number % 2 else os.symlink)(tmp_path / "images" / name, place)
        if not labels:
            os.symlink(tmp_path / "images" / name, folders / name)
    (tmp_path / "images" / "t.tsv").write_text("\n".join(lines).replace(";", "\t") + "\n", encoding="utf-8")
    rows = DataConfig(task="multilabel", train=str(tmp_path / "images" / "t.tsv"), image_px=32, label_separator=";")
    links = DataConfig(task="multilabel", train=str(folders), image_px=32)
    assert listed(rows) == {name: labels for name, labels in held.items() if labels}
    assert listed(links) == held
    assert "images have no label" in " ".join(list_source_of(links).lines)


def test_a_link_that_is_taken_away_changes_the_fingerprint(tmp_path, held):
    folders = tmp_path / "folders"
    for label in ("a", "b"):
        (folders / label).mkdir(parents=True)
        for name in held:
            os.symlink(tmp_path / "images" / name, folders / label / name)
    data = DataConfig(task="multilabel", train=str(folders), image_px=32)
    before = fingerprint(data)
    (folders / "b" / "07.png").unlink()
    assert fingerprint(data) != before


def test_what_stage_data_writes_is_read_again(tmp_path, held):
    lines = ["path,labels", *(f'{name},"{";".join(labels)}"' for name, labels in held.items())]
    out, said = tmp_path / "out", []
    out.mkdir()
    summary = prepare(table(tmp_path, lines), 32, out, said.append, task=MULTILABEL)
    read = read_table(out, MULTILABEL)
    found = {
        path.name: [name for name, there in zip(read.classes, row, strict=True) if there]
        for path, row in zip(read.paths, read.figures, strict=True)
    }
    assert found == held
    assert summary.labels_per_image == pytest.approx(np.mean([len(labels) for labels in held.values()]))
    for name in NAMES:
        images = {place.name for place, here in zip(read.paths, read.splits, strict=True) if here == "test"}
        assert summary.counts["test"][name] == sum(name in held[image] for image in images) > 0
    assert sum(summary.images.values()) == 60
    rarest = {name: sum(name in labels for labels in held.values()) for name in NAMES}
    for path, number in zip(read.paths, read.labels, strict=True):
        labels = held[path.name]
        assert number == (read.classes.index(min(labels, key=rarest.__getitem__)) if labels else 3)
    assert "imbalance" not in " ".join(said)


@pytest.mark.parametrize(
    ("lines", "keys", "line"),
    [
        (["path,a,b", "00.png,1,2", "01.png,0,1"], {"label_columns": ("a", "b")}, "'b' is '2', expected 0 or 1"),
        (["path,a,b", "00.png,1,"], {"label_columns": ("a", "b")}, "line 2: 'b' is '', expected 0 or 1"),
        (["path,a,b", "00.png,1,0"], {"label_columns": ("a", "x")}, "no column 'x', which data.label_columns names"),
        (["path,labels,split", "00.png,a,train", "00.png,b,test"], {}, "is given in the splits 'train' and 'test'"),
    ],
)
def test_tables_that_are_refused(tmp_path, held, lines, keys, line):
    with pytest.raises(DataError, match=re.escape(line)):
        listed(table(tmp_path, lines, **keys))


def rows(held, label_of):
    return ["path,labels,split", *(f"{name},{label_of(number)}" for number, name in enumerate(held))]


@pytest.mark.parametrize(
    ("label_of", "line"),
    [
        (lambda n: "a;b,train" if n % 2 else "a,train", "each of 42 training images has the label 'a'"),
        (lambda n: ",train", "no training image has a label"),
        (lambda n: ("a,train", "b,train", "b;c,test")[n % 3], "data.test has labels that data.train lacks: c"),
        (lambda n: "a,train" if n % 2 else ",train" if n % 3 else ",test", "no image of data.test has a label"),
    ],
)
def test_labels_that_teach_nothing_are_refused(tmp_path, held, label_of, line):
    lines = rows(held, label_of)
    with pytest.raises(DataError, match=re.escape(line)):
        prepare(table(tmp_path, lines), 32, tmp_path, lambda line: None, task=MULTILABEL)


def test_copies_with_other_labels_are_refused(tmp_path, held):
    (tmp_path / "images" / "copy.png").write_bytes((tmp_path / "images" / "00.png").read_bytes())
    lines = ["path,labels", *(f"{name},{'a' if n % 2 else 'b;c'}" for n, name in enumerate(held)), "copy.png,a;b"]
    with pytest.raises(DataError, match=r"two labels: .*00.png \(b, c\) and .*copy.png \(a, b\)"):
        prepare(table(tmp_path, lines), 32, tmp_path, lambda line: None, task=MULTILABEL)


def test_shards_and_one_class_tasks_say_where_to_go(tmp_path, held):
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "a.tar", "w") as tar:
        tar.add(tmp_path / "images" / "00.png", "00.png")
    with pytest.raises(DataError, match=r"\.csv, \.tsv or \.parquet, or from folders with links"):
        list_source_of(DataConfig(task="multilabel", train=str(tmp_path / "shards")))
    one_class = DataConfig(train=str(tmp_path / "images" / "t.csv"))
    (tmp_path / "images" / "t.csv").write_text("path,a,b\n00.png,1,1\n01.png,0,1\n")
    with pytest.raises(DataError, match='for several set data.task = "multilabel"'):
        list_source_of(one_class)


@pytest.mark.parametrize(("cells", "noted"), [(("a", "b", "a;b"), True), (("a", "b", "c;d"), False)])
def test_classes_that_look_like_several_labels_are_noted(tmp_path, held, cells, noted):
    lines = ["path,label", *(f"{name},{cells[n % 3]}" for n, name in enumerate(held))]
    (tmp_path / "images" / "t.csv").write_text("\n".join(lines) + "\n")
    listing = list_source_of(DataConfig(train=str(tmp_path / "images" / "t.csv")))
    assert ("'a;b' looks like several labels" in " ".join(listing.lines)) is noted
    assert {item.label for item in listing.items} == set(cells), "they stay classes"


def test_every_split_has_every_label_by_its_share():
    rng = np.random.default_rng(3)
    held = rng.random((400, 12)) < np.linspace(0.03, 0.5, 12)
    keys = [f"{number:03d}" for number in range(400)]
    where = split(held, np.arange(400), keys, {"val": 0.2, "test": 0.2}, 0, [str(n) for n in range(12)])
    for label in held.T:
        shares = {name: (where[label] == name).mean() for name in ("train", "val", "test")}
        slack = 1.5 / label.sum() + 0.05
        assert shares == pytest.approx({"train": 0.6, "val": 0.2, "test": 0.2}, abs=slack)
    one = np.zeros((400, 2), bool)
    one[np.arange(400), np.arange(400) % 2] = True
    by_number = split(np.arange(400) % 2, np.arange(400), keys, {"val": 0.2}, 0, ["a", "b"])
    assert (split(one, np.arange(400), keys, {"val": 0.2}, 0, ["a", "b"]) == by_number).all()


def test_text_of_labels_gives_them_back():
    assert labels_of_text(text_of_labels([" b;x", "a", "", "a"])) == ["a", "b;x"]
    assert labels_of_text(text_of_labels([])) == []


def test_rows_that_name_one_image_and_images_without_labels_are_told(tmp_path, held):
    data = table(tmp_path, ["path,labels", "00.png,a", "01.png,", "00.png,b", "02.png,a"])
    assert listed(data) == {"00.png": ["a", "b"], "01.png": [], "02.png": ["a"]}
    said = " ".join(list_source_of(data).lines)
    assert "4 rows or links name 3 images; each has the labels of all that name it" in said
    assert "1 image has no label" in said
    once = " ".join(list_source_of(table(tmp_path, ["path,labels", "00.png,a", "01.png,b"])).lines)
    assert "rows or links" not in once
    assert "no label" not in once
