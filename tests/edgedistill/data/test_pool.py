"""The unlabelled pool: what stays in it, what is left out, and that nothing else notices it."""

import cv2
import numpy as np
import pytest

from edgedistill.config.data import DataConfig
from edgedistill.data.prepare import prepare
from edgedistill.data.sources import fingerprint
from edgedistill.data.table import read_table
from edgedistill.errors import DataError
from end_to_end import write_images
from test_duplicates import exposed, tile
from test_shards import shard


@pytest.fixture
def labelled(tmp_path, rng):
    """Tiles, each its own; split off val and test."""
    for number in range(60):
        folder = tmp_path / "images" / ("good" if number % 2 else "bad")
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number:02d}.png"), exposed(tile(rng), 1.0, 0, rng))
    return tmp_path


def prepared(folder, name, **more):
    out = folder / name
    out.mkdir()
    said = []
    data = DataConfig(train=str(folder / "images"), **more)
    return prepare(data, 64, out, said.append).to_json(), read_table(out), said


def test_copies_and_look_alikes_stay_out_and_the_rest_is_as_without_a_pool(labelled, rng):
    before, table, _ = prepared(labelled, "without")
    paths = {split: [table.paths[row] for row in table.rows(split)] for split in ("train", "val", "test")}
    pool = labelled / "pool" / "any" / "depth"
    pool.mkdir(parents=True)
    for split in paths:  # one exact copy of each, and one re-exposed of each
        (pool / f"copy_{split}.png").write_bytes(paths[split][0].read_bytes())
        image = cv2.imread(str(paths[split][1]))[..., 0].astype(np.float32)
        cv2.imwrite(str(pool / f"shot_{split}.jpg"), exposed(image, 0.8, 5, rng))
    for number in range(4):
        cv2.imwrite(str(pool / f"new_{number}.png"), exposed(tile(rng), 1.0, 0, rng))
    (labelled / "pool" / "top.png").write_bytes((pool / "new_0.png").read_bytes())

    summary, found, said = prepared(labelled, "with", unlabelled=str(labelled / "pool"))
    rows = found.rows("unlabelled")
    assert [found.paths[row].name for row in rows] == [
        "new_0.png",
        "new_1.png",
        "new_2.png",
        "new_3.png",
        "shot_train.jpg",
        "top.png",
    ]
    assert (found.labels[rows] == -1).all()
    assert {key: summary[key] for key in before} == before
    assert {key: summary[key] for key in summary.keys() - before.keys() if "alike" not in key} == {
        "pool_images": 6,
        "pool_of_train": 0,
        "pool_dropped_copies": 3,
        "pool_unreadable_count": 0,
        "pool_unreadable": [],
    }
    assert summary["pool_dropped_alike"] == 2
    assert summary["pool_alike_counts"] == {"unlabelled/val": 1, "test/unlabelled": 1}
    assert {(a.rpartition("_")[2], b) for a, b, _ in summary["pool_alike"]} == {
        ("val.jpg", str(paths["val"][1])),
        ("test.jpg", str(paths["test"][1])),
    }
    assert any("pool: 6 images" in line and "3 copies" in line for line in said)
    count = len(table.paths)
    assert rows.tolist() == list(range(count, count + 6))
    for name in ("paths", "labels", "splits", "sha256", "groups"):
        assert list(getattr(found, name)[:count]) == list(getattr(table, name)), name
    assert len(set(found.groups[rows])) == 6
    assert not set(found.groups[rows]) & set(table.groups)
    size = (labelled / "without" / "pixels.u8").stat().st_size
    whole = (labelled / "with" / "pixels.u8").read_bytes()
    assert whole[:size] == (labelled / "without" / "pixels.u8").read_bytes()
    assert len(whole) == size // count * (count + 6)


def test_without_the_search_only_copies_stay_out(labelled, rng):
    _, table, _ = prepared(labelled, "without", near_duplicate_similarity=0)
    (labelled / "pool").mkdir()
    held = table.paths[table.rows("test")[0]]
    cv2.imwrite(str(labelled / "pool" / "a.jpg"), cv2.imread(str(held)))
    (labelled / "pool" / "b.png").write_bytes(held.read_bytes())
    summary, found, _ = prepared(labelled, "with", unlabelled=str(labelled / "pool"), near_duplicate_similarity=0)
    assert [found.paths[row].name for row in found.rows("unlabelled")] == ["a.jpg"]
    assert (summary["pool_dropped_copies"], summary["pool_dropped_alike"]) == (1, 0)


@pytest.mark.parametrize("kind", ["csv", "shard"])
def test_lists_and_shards_need_no_label(labelled, kind, rng):
    write_images(labelled / "more", per_class=2, seed=9)
    files = sorted((labelled / "more").rglob("*.png"))
    if kind == "csv":
        source = labelled / "pool.csv"
        source.write_text("\n".join(["path", *(f"more/{f.parent.name}/{f.name}" for f in files)]))
    else:
        names = [(f"{n}.png", file.read_bytes()) for n, file in enumerate(files)]
        source = shard(labelled / "pool.tar", [*names, ("0.cls", b"")])
    summary, found, _ = prepared(labelled, "out", unlabelled=str(source))
    assert summary["pool_images"] == len(found.rows("unlabelled")) == 6
    data = DataConfig(train=str(labelled / "images"), unlabelled=str(source))
    assert fingerprint(data) != fingerprint(DataConfig(train=str(labelled / "images")))


def test_faults_of_the_pool(labelled):
    pool = labelled / "pool"
    with pytest.raises(DataError, match="pool: no such folder or file"):
        prepared(labelled, "a", unlabelled=str(pool))
    pool.mkdir()
    with pytest.raises(DataError, match="pool: no images in it; fill it, or leave data.unlabelled"):
        prepared(labelled, "b", unlabelled=str(pool))
    for file in (labelled / "images").rglob("*.png"):
        (pool / file.name).write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="nothing is left of 60 images: 60 are copies of labelled"):
        prepared(labelled, "c", unlabelled=str(pool))
    write_images(pool / "more", per_class=1, seed=3)
    (pool / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="1 image cannot be used, first: .*bad.png"):
        prepared(labelled, "d", unlabelled=str(pool))
    summary, _, said = prepared(labelled, "e", unlabelled=str(pool), skip_unreadable=True)
    assert (summary["pool_unreadable_count"], summary["unreadable_count"]) == (1, 0)
    assert any("1 unreadable" in line for line in said)
