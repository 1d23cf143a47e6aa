"""data.train_labels: so many training images keep their labels, the others are a pool, nothing else changes."""

import cv2
import numpy as np
import pytest

from edgedistill.config.data import DataConfig
from edgedistill.config.task import CLASSIFICATION, MULTILABEL, REGRESSION
from edgedistill.data.label_budget import within_budget
from edgedistill.data.prepare import prepare
from edgedistill.data.table import read_table
from edgedistill.errors import DataError
from end_to_end import write_images


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("budget") / "images", per_class=20)


def prepared(out, of=CLASSIFICATION, **data):
    out.mkdir()
    said = []
    summary = prepare(DataConfig(task=of.name, **data), 32, out, said.append, task=of)
    return summary, read_table(out, of), said


def hashes(table, split):
    return {table.sha256[row] for row in table.rows(split)}


def test_a_larger_budget_holds_a_smaller_one_and_the_rest_is_as_without(tmp_path, images):
    _, whole, _ = prepared(tmp_path / "all", train=str(images))
    kept = {}
    for labels in (12, 20):
        summary, table, said = prepared(tmp_path / str(labels), train=str(images), train_labels=labels)
        pool = table.splits == "unlabelled"
        kept[labels] = hashes(table, "train")
        assert max(summary.counts["train"].values()) - min(summary.counts["train"].values()) <= 1
        assert len(kept[labels]) == summary.images["train"] == sum(summary.counts["train"].values()) == labels
        assert hashes(table, "train") | hashes(table, "unlabelled") == hashes(whole, "train")
        assert summary.pool_images == summary.pool_of_train == pool.sum() == len(hashes(whole, "train")) - labels
        assert (table.labels[pool] == -1).all()
        assert (table.labels[~pool] == whole.labels[~pool]).all()
        assert (table.splits[~pool] == whole.splits[~pool]).all()
        assert (table.paths, list(table.groups)) == (whole.paths, list(whole.groups))
        assert (tmp_path / str(labels) / "pixels.u8").read_bytes() == (tmp_path / "all" / "pixels.u8").read_bytes()
        line = (
            f"pool: {pool.sum()} images without labels, {pool.sum()} of them training images whose labels are not used"
        )
        assert any(each.strip() == f"{line} (data.train_labels)" for each in said)
        assert not any("too small" in each for each in said), "the shares are those before labels were taken away"
    assert kept[12] < kept[20]
    _, other, _ = prepared(tmp_path / "seed", train=str(images), train_labels=12, split_seed=1)
    assert hashes(other, "train") != kept[12]


def test_further_images_without_labels_are_of_the_same_pool(tmp_path, images):
    """Also a picture of an image whose label is not used, as one of a labelled training image is."""
    _, alone, _ = prepared(tmp_path / "alone", train=str(images), train_labels=12)
    more = write_images(tmp_path / "more", per_class=2, seed=9)
    withheld = alone.paths[alone.rows("unlabelled")[0]]
    assert cv2.imwrite(str(more / "again.jpg"), cv2.imread(str(withheld)))
    summary, table, said = prepared(tmp_path / "out", train=str(images), train_labels=12, unlabelled=str(more))
    assert hashes(table, "train") == hashes(alone, "train")
    assert summary.pool_images == len(table.rows("unlabelled")) == summary.pool_of_train + 7
    assert any("left out: 0 copies" in line for line in said)


def test_a_class_of_few_images_keeps_all_its_labels_before_others_have_more_than_it():
    splits = np.array(["train"] * 12 + ["val"] * 3)
    kinds = np.array([0] * 10 + [1] * 2 + [0, 1, 1])
    found = within_budget(splits, kinds, [f"{row:02x}" for row in range(15)], 6, 0)
    assert [((found == "train") & (kinds == kind)).sum() for kind in (0, 1)] == [4, 2]
    assert (found[12:] == "val").all()


@pytest.mark.parametrize(
    ("task", "header", "label"),
    [(REGRESSION, "path,label", lambda n: n), (MULTILABEL, "path,a,b", lambda n: f"{n % 2},{int(n % 3 > 0)}")],
)
def test_figures_are_taken_away_too(tmp_path, images, task, header, label):
    files = sorted(images.rglob("*.png"))
    source = tmp_path / "t.csv"
    source.write_text("\n".join([header, *(f"{file},{label(n)}" for n, file in enumerate(files))]))
    _, table, _ = prepared(tmp_path / "out", task, train=str(source), train_labels=25)
    pool = table.splits == "unlabelled"
    assert np.isnan(table.figures[pool]).all()
    assert np.isfinite(table.figures[~pool]).all()
    assert (table.splits == "train").sum() == 25


def test_a_class_of_two_training_images_is_taken_as_before_where_all_labels_are_used(tmp_path, images):
    small = write_images(tmp_path / "small", per_class=2, seed=4)
    summary, _, _ = prepared(tmp_path / "out", train=str(small), val=str(images), test=str(images))
    assert set(summary.counts["train"].values()) == {2}


def test_what_is_refused(tmp_path, images):
    with pytest.raises(DataError, match="data.train_labels = 42: expected fewer than the 42 training images; lower it"):
        prepared(tmp_path / "a", train=str(images), train_labels=42)
    with pytest.raises(DataError, match="leaves 1 training image of '.*', at least 3 are needed; raise it"):
        prepared(tmp_path / "b", train=str(images), train_labels=5)
