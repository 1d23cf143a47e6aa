"""Named groups: whole, in every split, found by pattern, folder or column."""

import numpy as np
import pytest

from edgedistill.config.data import DataConfig
from edgedistill.config.loading import recipe_from_table
from edgedistill.data.duplicates import LISTED, alike_pairs, groups_from_pairs, look_alikes
from edgedistill.data.group_names import ROBOFLOW, names_from_pattern, roboflow_proposal
from edgedistill.data.prepare import prepare
from edgedistill.data.splits import split
from edgedistill.data.table import read_table
from edgedistill.errors import DataError, RecipeError
from end_to_end import draw, write_images

FRACTIONS = {"val": 0.15, "test": 0.15}


def parted(labels, groups, named=True, fractions=FRACTIONS):
    labels, groups = np.array(labels), np.array(groups)
    keys = [f"{i:064x}" for i in np.random.default_rng(1).permutation(len(labels))]
    classes = [f"class {number}" for number in range(labels.max() + 1)]
    return split(labels, groups, keys, fractions, 0, classes, np.full(len(labels), named))


def one_class_each(things, shots, classes):
    groups = np.repeat(np.arange(things), shots)
    return groups % classes, groups


@pytest.mark.parametrize(("things", "shots", "classes"), [(30, 10, 2), (30, 10, 3), (20, 50, 2), (60, 100, 6)])
@pytest.mark.parametrize("named", [True, False])
def test_parts_patients_and_videos_are_split_whole_with_every_class(things, shots, classes, named):
    labels, groups = one_class_each(things, shots, classes)
    found = parted(labels, groups, named)
    for group in range(things):
        assert len(set(found[groups == group])) == 1
    for name, share in {**FRACTIONS, "train": 0.7}.items():
        of_split = np.bincount(labels[found == name], minlength=classes) / np.bincount(labels)
        assert np.abs(of_split - share).max() <= 1 / (things / classes) + 1e-9  # within one thing of each class


def test_groups_that_hold_several_classes_are_stratified(rng):
    groups = np.repeat(np.arange(20), 50)
    found = parted(rng.choice(2, 1000, p=[0.7, 0.3]), groups)
    assert {name: len(set(groups[found == name])) for name in ("train", "val", "test")} == {
        "train": 14,
        "val": 3,
        "test": 3,
    }


def test_a_class_that_only_three_patients_have_is_in_every_split():
    """Placing the big common class first would leave the rare one where it fell."""
    for rare in ([3, 7, 11], [0, 1, 2], [5, 18, 19]):
        labels, groups = np.zeros(1000, int), np.repeat(np.arange(20), 50)
        for patient in rare:
            labels[patient * 50 : patient * 50 + 5] = 1
        found = parted(labels, groups)
        assert set(found[labels == 1]) == {"train", "val", "test"}
        assert set(found[labels == 0]) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        ([0] * 100 + [1] * 50, [*range(100)] + [100] * 50, "class 'class 1' has 50 images in 1 group, too few for a"),
        ([0, 1] * 50, [0] * 50 + [1] * 50, "has 50 images in 2 groups, too few for a"),
    ],
)
def test_too_few_groups_are_refused_with_the_rule_and_the_way_out(labels, groups, message):
    with pytest.raises(DataError, match=message) as raised:
        parted(labels, groups)
    text = str(raised.value)
    assert "images of one group, named or alike, stay in one split" in text
    assert "data.near_duplicate_similarity" in text
    assert "data.val" in text


def test_classes_of_three_images_are_refused_and_five_are_enough():
    with pytest.raises(
        DataError,
        match=r"has 3 images in 3 groups, too few .* \(2 classes are that small\): at "
        "least 5 are needed, 3 to train on",
    ):
        parted([0] * 3 + [1] * 3 + [2] * 40, range(46))
    found = parted([0] * 5 + [1] * 40, range(45))
    assert sorted(found[:5]) == ["test", "train", "train", "train", "val"]
    assert sorted(parted([0] * 4 + [1] * 40, range(44), fractions={"val": 0.15})[:4])[-1] == "val"


PARTS = ["good/p1/0.png", "good/p1/1.png", "bad/p2/0.png", "bad/p2/1.png", "bad/lone.png"]


def test_a_pattern_is_searched_in_the_path():
    assert names_from_pattern(PARTS, r"/(p\d+)/") == ["p1", "p1", "p2", "p2", None]
    assert names_from_pattern(PARTS, r"(p\d+)/") == ["p1", "p1", "p2", "p2", None]
    assert names_from_pattern(PARTS, r"p\d+") == ["p1", "p1", "p2", "p2", None]
    assert names_from_pattern(PARTS, r"^[^/]+/([^/]+)/") == ["p1", "p1", "p2", "p2", None]


def test_a_pattern_written_for_file_names_still_means_file_names():
    names = ["good/part1_0.png", "bad/part1_1.png", "bad/part2_0.png"]
    assert names_from_pattern(names, r"^(part\d+)_") == ["part1", "part1", "part2"]
    assert names_from_pattern(names, r"(part\d+)_") == ["part1", "part1", "part2"]


@pytest.mark.parametrize("pattern", [r"^([^_]+)_", r"([^_]+)_", ".+"])
def test_a_pattern_that_would_tear_what_it_joined_is_refused(pattern):
    """In the path it finds 'good/part1' and 'bad/part1': one part in two groups."""
    with pytest.raises(DataError, match="can be read in two ways.*put a / into it"):
        names_from_pattern(["good/a/part1_0.png", "bad/a/part1_0.png", "bad/b/part2_0.png"], pattern)


@pytest.mark.parametrize("pattern", ["(", "(?P<a", "a{2,1}", "[z-a]"])
def test_no_regular_expression_is_one_line(pattern):
    with pytest.raises(DataError, match="data.group_pattern .*: not a regular expression"):
        names_from_pattern(PARTS, pattern)


def test_an_empty_match_names_nothing():
    assert names_from_pattern(["a/1.png", "a/2.png"], r"(x*)") == [None, None]


@pytest.fixture
def folders(tmp_path, rng):
    """Two classes of six parts with four shots each, and one image that lies in no part's folder."""
    import cv2

    for kind in ("disc", "square"):
        for part in range(6):
            folder = tmp_path / "d" / kind / f"{kind[0]}{part}"
            folder.mkdir(parents=True)
            for shot in range(4):
                cv2.imwrite(str(folder / f"{shot}.png"), draw(kind, rng))
    cv2.imwrite(str(tmp_path / "d" / "disc" / "alone.png"), draw("disc", rng))
    (tmp_path / "out").mkdir()
    return tmp_path


def prepared(folder, **more):
    said = []
    data = DataConfig(train=str(folder / "d"), near_duplicate_similarity=0, **more)
    summary = prepare(data, 32, folder / "out", said.append)
    return summary, read_table(folder / "out"), said


@pytest.mark.parametrize("more", [{"group_by": "folder"}, {"group_pattern": r"([ds]\d)/"}])
def test_folders_and_patterns_keep_parts_whole_and_say_what_they_found(folders, more):
    summary, table, said = prepared(folders, **more)
    where = {}
    for path, name in zip(table.paths, table.splits, strict=True):
        where.setdefault(path.parent.name, set()).add(str(name))
    assert all(len(where[part]) == 1 for part in where if part != "disc")
    assert (summary.named_groups, summary.named_images) == (12, 48)
    assert any("12 named groups hold 48 of 49 images" in line and "alone.png" in line for line in said)
    assert any("test:" in line and "groups" in line for line in said)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"group_pattern": "nowhere"}, "data.group_pattern 'nowhere' matches none of the images' paths"),
        ({"group_by": "folder"}, 'data.group_by = "folder": no image lies in a folder of its own'),
    ],
)
def test_groups_that_are_nowhere_are_refused(tmp_path, more, message):
    write_images(tmp_path / "d", per_class=8, kinds=("disc", "square"))
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, **more)


def test_an_empty_group_column_is_refused(tmp_path):
    write_images(tmp_path / "d", per_class=8, kinds=("disc", "square"))
    rows = [f"d/{p.parent.name}/{p.name},{p.parent.name}," for p in sorted((tmp_path / "d").rglob("*.png"))]
    (tmp_path / "l.csv").write_text("\n".join(["path,label,part", *rows]))
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="data.group_column 'part' is empty in every row"):
        prepare(DataConfig(train=str(tmp_path / "l.csv"), group_column="part"), 32, tmp_path / "out", print)


def test_two_ways_to_name_groups_are_refused():
    with pytest.raises(RecipeError, match="leave data.group_pattern and data.group_column out"):
        recipe_from_table({"data": {"train": "x", "group_by": "folder", "group_pattern": "a"}}, "r")


def test_older_recipes_have_the_same_data_values():
    assert "group_by" not in DataConfig(train="x").images
    assert DataConfig(train="x", group_by="folder").images["group_by"] == "folder"


def test_a_named_group_in_two_given_splits_is_a_leak(folders, rng):
    import cv2

    for kind in ("disc", "square"):
        folder = folders / "test" / kind / f"{kind[0]}0"
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "new.png"), draw(kind, rng))
    summary, _, said = prepared(folders, group_by="folder", test=str(folders / "test"))
    assert summary.torn_groups == 2
    leak = "LEAKS: 2 named groups stand in several given splits, first 'd0' (test and train)"
    assert any(leak in line for line in said)


def test_roboflow_copies_are_proposed_as_groups():
    copies = [f"train/{kind}/{n}_jpg.rf.{copy:032x}.jpg" for kind in "ab" for n in range(3) for copy in range(2)]
    pattern, line = roboflow_proposal([*copies, "train/a/other.jpg"])
    assert pattern == ROBOFLOW
    assert "12 images are copies of 3 photographs" in line
    names = names_from_pattern([*copies, "train/a/other.jpg"], pattern)
    assert names[:2] == ["0_jpg", "0_jpg"]
    assert names[-1] is None
    assert roboflow_proposal(["a/1_jpg.rf." + "0" * 32 + ".jpg", "a/plain.jpg"]) is None


def test_exact_copies_count_once_where_figures_come_from(tmp_path):
    for number, name in enumerate(("d", "val", "test")):
        write_images(tmp_path / name, per_class=6, seed=number, kinds=("disc", "square"))
    for name, copies in (("test", 3), ("val", 1), ("d", 2)):
        for copy in range(copies):
            content = (tmp_path / name / "disc" / "000.png").read_bytes()
            (tmp_path / name / "disc" / f"copy{copy}.png").write_bytes(content)
    (tmp_path / "out").mkdir()
    summary, table, said = prepared(tmp_path, val=str(tmp_path / "val"), test=str(tmp_path / "test"))
    assert summary.images == {"train": 14, "val": 12, "test": 12}
    assert summary.copies_left_out == {"val": 1, "test": 3}
    assert [len(table.rows(name)) for name in ("train", "val", "test")] == [14, 12, 12]
    assert any("1 left out of val and 3 left out of test" in line for line in said)
    assert len({table.sha256[row] for row in table.rows("test")}) == 12


def scene(rng, count, likeness):
    """Unit vectors around one direction."""
    middle = rng.normal(size=64)
    found = middle + rng.normal(size=(count, 64)) * np.sqrt(1 / likeness - 1)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def by_all_pairs(signatures, similarity, given, largest):
    """The search as it was: every pair kept, the bar raised over the list."""
    near = alike_pairs(signatures, similarity)
    while True:
        groups = groups_from_pairs(len(signatures), [pair[:2] for pair in near])
        if not near or np.bincount(groups).max() <= largest:
            break
        similarity += (1 - similarity) / 4
        near = [pair for pair in near if pair[2] >= np.float32(similarity)] if similarity < 0.9999 else []
    leaks = sorted((p for p in near if given[p[0]] != given[p[1]]), key=lambda p: (-p[2], p))
    return similarity, groups, leaks


@pytest.mark.parametrize("likeness", [0.8, 0.93, 0.99, 0.99999])
def test_the_forest_joins_what_all_pairs_join(likeness, rng, monkeypatch):
    monkeypatch.setattr("edgedistill.data.duplicates.BLOCK", 17)
    scenes = [scene(rng, size, likeness) for size in (60, 30, 5, 2, 1, 1)]
    signatures = np.concatenate(scenes)[rng.permutation(99)]
    given = [("train", "val", "test")[number] for number in rng.integers(0, 3, 99)]
    for largest in (8, 40, 99):
        similarity, groups, leaks = by_all_pairs(signatures, 0.8, given, largest)
        found = look_alikes(signatures, 0.8, given, np.ones(99), largest)
        assert found.similarity == pytest.approx(similarity)
        assert groups_from_pairs(99, found.pairs).tolist() == groups.tolist()
        assert len(found.pairs) < 99
        assert sum(found.leak_counts.values()) == len(leaks)
        assert [pair[2] for pair in found.leaks] == pytest.approx([p[2] for p in leaks[:LISTED]])


def test_memory_does_not_grow_with_the_square_of_the_frames(rng, monkeypatch):
    import tracemalloc

    monkeypatch.setattr("edgedistill.data.duplicates.BLOCK", 256)
    peaks = []
    for count in (800, 2400):
        signatures = scene(rng, count, 0.97)
        tracemalloc.start()
        look_alikes(signatures, 0.9, ["train"] * count, np.ones(count), count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 3.3 * peaks[0]
    assert peaks[1] < 20e6  # all pairs as arrays: 2.9 million, 35 MB, as tuples over 300


def test_copies_and_named_groups_do_not_make_a_family(tmp_path, rng):
    """30 % of the images are one image: the bar must not rise for the others because of it."""
    write_images(tmp_path / "d", per_class=20, kinds=("disc", "square"))
    for copy in range(17):
        content = (tmp_path / "d" / "disc" / "000.png").read_bytes()
        (tmp_path / "d" / "disc" / f"copy{copy}.png").write_bytes(content)
    (tmp_path / "out").mkdir()
    data = DataConfig(train=str(tmp_path / "d"), near_duplicate_similarity=0.999)
    assert prepare(data, 32, tmp_path / "out", print).near_duplicate_similarity == 0.999


def test_new_proposes_roboflow_copies_and_foretells_the_split(tmp_path, rng):
    """What `edgedistill new` writes is what `run` reads: copies of a photograph in one split."""
    from edgedistill.config.loading import load_recipe
    from edgedistill.new_project.inspect import inspect_and_write

    write_images(tmp_path / "d", per_class=18, kinds=("disc", "square"))
    for file in sorted((tmp_path / "d").rglob("*.png")):
        number = int(file.stem)
        file.rename(file.with_name(f"{file.parent.name}{number // 3}_jpg.rf.{number:032x}.png"))
    said = []
    inspect_and_write(tmp_path / "d", None, "jetson-nano", tmp_path / "r.toml", said.append)
    assert any("36 images are copies of 12 photographs" in line for line in said)
    assert any("12 named groups hold 36 of 36 images" in line for line in said)
    data = load_recipe(tmp_path / "r.toml").data
    assert data.group_pattern == ROBOFLOW
    (tmp_path / "out").mkdir()
    prepare(data, 32, tmp_path / "out", print)
    table = read_table(tmp_path / "out")
    where = {}
    for path, name in zip(table.paths, table.splits, strict=True):
        where.setdefault(path.name.split(".rf.")[0], set()).add(str(name))
    assert len(where) == 12
    assert all(len(splits) == 1 for splits in where.values())


def test_new_foretells_what_a_run_refuses_for_its_size(tmp_path):
    from edgedistill.new_project.inspect import inspect_and_write

    write_images(tmp_path / "d", per_class=3, kinds=("disc", "square"))
    said = []
    inspect_and_write(tmp_path / "d", None, "jetson-nano", tmp_path / "r.toml", said.append)
    assert any("REFUSED" in line and "class 'disc' has 3 images" in line for line in said)
