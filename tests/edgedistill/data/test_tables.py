"""Rows of a table: names cleaned, splits honoured, quantities and several ones refused."""

import pytest

from edgedistill.config.data import DataConfig
from edgedistill.data.labels import are_quantities, clean, in_order, whole_numbers
from edgedistill.data.scan import scan
from edgedistill.data.sources import list_items, list_source
from edgedistill.errors import DataError, RecipeError
from layouts import KINDS, flat_in, table


def listed(path, **keys):
    return list_items(path, DataConfig(train=str(path), **keys))


def a_table(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_names_are_stripped_and_composed(tmp_path):
    path = a_table(
        tmp_path / "l.csv", "path,label\na.png,cat \nb.png, cat\nc.png,\u00e9t\u00e9\nd.png,e\u0301te\u0301\n"
    )
    assert [item.label for item in listed(path)] == ["cat", "cat", "\u00e9t\u00e9", "\u00e9t\u00e9"]
    assert clean("\ufeffcat\u00a0") == "cat"


def test_whole_numbers_are_ordered_by_number_and_quantities_are_told(tmp_path):
    assert in_order(["10", "9", "2", "-1"]) == ["-1", "2", "9", "10"]
    assert in_order(["10", "9", "two"]) == ["10", "9", "two"]
    assert whole_numbers(["1.0", "10.0", "3"]) == {"1.0": "1", "10.0": "10", "3": "3"}
    assert whole_numbers(["1", "2"]) == whole_numbers(["1.0", "a"]) == {}
    assert are_quantities(["1", "2.5"])
    assert not are_quantities(["1", "2.0"])
    assert not are_quantities(["v1.5", "2.5"])
    path = a_table(tmp_path / "l.csv", "path,label\na.png,1.0\nb.png,10.0\n")
    assert [item.label for item in listed(path)] == ["1", "10"]


def test_a_split_column_is_honoured_without_being_named(tmp_path):
    path = a_table(tmp_path / "l.csv", "path,label,Split\na.png,x,TRAIN\nb.png,x,Valid\nc.png,x,testing\n")
    assert [item.split for item in listed(path)] == ["train", "val", "test"]
    assert [item.split for item in listed(path, split_column="")] == [None] * 3
    with pytest.raises(DataError, match="no column 'fold'"):
        listed(path, split_column="fold")
    data = DataConfig(train=str(path), val=str(path))
    assert [item.path.name for item in list_source(path, data, "val").items] == ["b.png"]
    assert [item.path.name for item in list_source(path, data, "train").items] == ["a.png", "c.png"]


def test_the_users_test_images_are_not_trained_on(tmp_path):
    """The right split, image by image, through the scan that stage data makes."""
    rows = flat_in(tmp_path, 4)
    table(
        tmp_path / "l.csv",
        ["file", "label", "split"],
        [
            (f"{stem}.png", kind, ("train", "train", "val", "test")[number % 4])
            for number, (stem, kind) in enumerate(rows)
        ],
    )
    found = scan(DataConfig(train=str(tmp_path / "l.csv")))
    assert {(item.path.stem, given) for item, given in zip(found.items, found.given, strict=True)} == {
        (stem, ("train", "train", "val", "test")[number % 4]) for number, (stem, _) in enumerate(rows)
    }


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_in_a_csv(tmp_path, separator):
    path = a_table(tmp_path / "l.csv", separator.join(["file", "class"]) + f"\na.png{separator}x\nb.png{separator}y\n")
    assert [item.label for item in listed(path)] == ["x", "y"]


def test_a_value_too_many_is_named(tmp_path):
    path = a_table(tmp_path / "l.csv", "path,label\na.png,x,y\n")
    with pytest.raises(DataError, match="line 2: more values than the 2 columns"):
        listed(path)
    assert len(listed(a_table(path, "path,label\na.png,x,\n"))) == 1, "a separator at the end is no value"


def test_one_hot(tmp_path):
    path = a_table(tmp_path / "l.csv", "image,disc,square\na.png,1,0\nb.png,0.0,1.0\n")
    assert [item.label for item in listed(path)] == ["disc", "square"]
    with pytest.raises(DataError, match=r"line 2: 0 of the 2 class columns are 1 \(none\); expected exactly one"):
        listed(a_table(path, "image,disc,square\na.png,0,0\n"))


def test_images_below_a_root_are_found_by_name(tmp_path):
    flat_in(tmp_path / "a" / "one", 1)
    (tmp_path / "a" / "two").mkdir()
    (tmp_path / "a" / "two" / "disc000.png").write_bytes(b"x")
    path = a_table(tmp_path / "l.csv", "id,class\nsquare000,x\nstripes000.png,y\ndisc000,z\n")
    found = {item.label: item.path for item in listed(path, path_column="id", image_root="a")}
    assert found == {
        "x": tmp_path / "a" / "one" / "square000.png",
        "y": tmp_path / "a" / "one" / "stripes000.png",
        "z": tmp_path / "a" / "disc000",  # two have this name: none is taken
    }


def test_patterns_leave_images_out(tmp_path):
    for kind in KINDS[:2]:
        for name in ("1.png", "1_overlay.png", "2.png"):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / name).write_bytes(b"x")
    found = list_source(tmp_path, DataConfig(train=str(tmp_path), leave_out=("*_OVERLAY.*", "square/2.png")))
    assert [item.path.relative_to(tmp_path).as_posix() for item in found.items] == [
        "disc/1.png",
        "disc/2.png",
        "square/1.png",
    ]
    assert found.lines == ["left out: 3 images by data.leave_out"]


def test_new_refuses_an_unknown_key_and_a_value_out_of_range(tmp_path):
    from edgedistill import new

    for keys in ({"min_class_images": -1}, {"lable_column": "x"}):
        with pytest.raises(RecipeError, match=next(iter(keys))):
            new(tmp_path, tmp_path / "r.toml", **keys)
