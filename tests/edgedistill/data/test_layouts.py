"""`edgedistill new` on folders as people have them: read right, or refused with the way out."""

from collections import Counter

import pytest

from edgedistill.cli.new import KEYS
from edgedistill.config.loading import load_recipe
from edgedistill.data.layout import recognise
from edgedistill.data.prepare import prepare
from edgedistill.data.table import read_table
from edgedistill.errors import DataError
from edgedistill.new_project.inspect import inspect_and_write
from layout_table import LAYOUTS
from layouts import KINDS, classes_in
from optional_tools import imported


def new(layout, root, **more):
    """What `new` says, and the [data] of its recipe."""
    said = []
    keys = dict(zip(layout.options[::2], layout.options[1::2], strict=True))
    keys = {key.removeprefix("--").replace("-", "_"): value for key, value in keys.items()}
    if "leave_out" in keys:
        keys["leave_out"] = (keys["leave_out"],)
    assert set(keys) <= {*KEYS, "leave_out"}
    inspect_and_write(root / layout.train, None, "jetson-nano", root.parent / "r.toml", said.append, keys=keys, **more)
    return said, load_recipe(root.parent / "r.toml").data


@pytest.mark.parametrize("name", LAYOUTS)
def test_new_and_data(tmp_path, name):
    layout, root = LAYOUTS[name], tmp_path / "root"
    root.mkdir()
    if name.startswith("hugging face"):
        imported("pyarrow", "make install")
    layout.make(root)
    if layout.refused is not None:
        with pytest.raises(DataError) as refused:
            new(layout, root)
        assert layout.refused.replace("ROOT", str(root)) in str(refused.value)
        assert "\n" not in str(refused.value)
        assert not (tmp_path / "r.toml").exists()
        return
    said, data = new(layout, root)
    for split in ("train", "val", "test"):
        wanted = layout.sources.get(split)
        assert getattr(data, split) == (None if wanted is None else str(root / wanted)), split
    for key, value in layout.data.items():
        assert getattr(data, key) == (value.replace("ROOT", str(root)) if isinstance(value, str) else value), key
    for words in layout.words:
        assert any(words in line for line in said), (words, said)
    (tmp_path / "out").mkdir()
    if any(line.startswith("REFUSED") for line in said):
        foretold = next(line for line in said if line.startswith("REFUSED")).partition("this: ")[2]
        with pytest.raises(DataError) as refused:
            prepare(data, 32, tmp_path / "out", lambda line: None)
        assert str(refused.value) == foretold
        return
    prepare(data, 32, tmp_path / "out", lambda line: None)
    table = read_table(tmp_path / "out")
    assert table.classes == layout.classes
    counts = Counter(table.splits.tolist())
    for split, count in layout.images.items():
        assert (len(table.paths) if split == "all" else counts[split]) == count, (split, counts)


@pytest.mark.parametrize("name", ["train val test", "splits one deeper", "roboflow", "hugging face"])
def test_stage_data_refuses_a_root_of_splits_too(tmp_path, name):
    from edgedistill.config.data import DataConfig

    LAYOUTS[name].make(tmp_path)
    (tmp_path / "out").mkdir(exist_ok=True)
    with pytest.raises(DataError) as refused:
        prepare(DataConfig(train=str(tmp_path)), 32, tmp_path / "out", lambda line: None)
    assert "train" in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_splits_beside_the_named_one_are_told_unless_they_are_in_use(tmp_path):
    for split in ("train", "val", "test"):
        classes_in(tmp_path / split, split=split)
    train, val, test = (tmp_path / split for split in ("train", "val", "test"))

    def notes(**places):
        return [note for note in recognise({"train": train, **places}, {}).notes if "beside it" in note]

    assert notes() == [f"beside it lie other splits: use them with --test {test} --val {val}, or --train {tmp_path}"]
    assert notes(val=val) == [f"beside it lie other splits: use them with --test {test}, or --train {tmp_path}"]
    assert notes(val=val, test=test) == notes(val=test, test=val) == []
    assert notes(val=test) == []  # `--test` is not the place for what is used for validation
    assert notes(test=val) == []  # `val` holds the test images here


def test_every_kind_of_class_survives_hugging_face(tmp_path):
    """The label of each image is what was stored with its bytes."""
    imported("pyarrow", "make install")
    from edgedistill.config.data import DataConfig
    from edgedistill.data.shards import read_bytes
    from edgedistill.data.sources import list_items
    from layouts import picture

    LAYOUTS["hugging face"].make(tmp_path)
    path = str(tmp_path / "data" / "test-00000-of-00001.parquet")
    items = list_items(tmp_path / "data" / "test-00000-of-00001.parquet", DataConfig(train=path))
    stored = {picture(kind, 2000 + number): kind for kind in KINDS for number in range(3)}
    assert [stored[read_bytes(item.path)] for item in items] == [item.label for item in items]
    assert len(items) == 9
