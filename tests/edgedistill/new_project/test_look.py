"""What `new` finds in the images, by hand from a few, and the recipe that it writes from that."""

import tomllib
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgedistill.config.data import DataConfig
from edgedistill.data.grouping import Grouping
from edgedistill.data.items import Item
from edgedistill.data.scan import Scan
from edgedistill.new_project.findings import Look, lines_from_look, values_from_look
from edgedistill.new_project.recipe_text import recipe_text

DATA = DataConfig(train="images")


def look(labels, given=None, sizes=(100, 100), pool=None, **grouped):
    """Images `0.png`, `1.png` ... of these labels, each alone in its group where nothing else is said."""
    count = len(labels)
    items = [Item(Path(f"{n}.png"), label) for n, label in enumerate(labels)]
    sides = np.broadcast_to(np.array(sizes), (count, 2))
    scanned = Scan(items, given or ["train"] * count, [f"{n:064x}" for n in range(count)], None, sides, 0, [])
    alone = {"groups": np.arange(count), "exact": [], "leak_counts": Counter(), "leaks": []}
    joined = Grouping(named=np.zeros(count, bool), torn=[], similarity=0.95, **alone | grouped)
    return Look(DATA, scanned, joined, pool)


def test_every_figure_is_counted_by_hand():
    labels = [*"aaaaaaaaaaaa", *"bbbb"]
    given = [*["train"] * 10, "test", "val", "train", "train", "test", "val"]
    groups = np.array([0, 0, 0, 1, 1, *range(2, 13)])
    seen = look(
        labels,
        given,
        groups=groups,
        exact=[(0, 1), (2, 13)],
        leaks=[(10, 12, 0.99), (11, 14, 0.97)],
        leak_counts=Counter({"test/train": 5, "val/test": 2}),
        pool=SimpleNamespace(items=[None] * 7, lines=["a line"]),
    )
    values = values_from_look(seen)
    assert values["counts"] == {
        "a": {"train": 10, "val": 1, "test": 1},
        "b": {"train": 2, "val": 1, "test": 1},
    }
    assert values["splits"] == ["train", "val", "test"]
    assert (values["images"], values["training_images"], values["pool_images"]) == (16, 12, 7)
    assert (values["imbalance"], values["majority_fraction"]) == (3.0, 0.75)
    assert (values["exact_duplicates"], values["near_duplicate_groups"], values["images_in_groups"]) == (2, 2, 5)
    assert values["label_conflicts"] == [["2.png", "13.png"]]
    assert values["leaks"] == [["10.png", "12.png", "train", "test"], ["11.png", "14.png", "val", "test"]]
    assert values["leak_count"] == 7
    said = "\n".join(lines_from_look(seen, values))
    assert "LEAKS: 7 pairs of look-alikes between train and test, first 10.png and 12.png" in said
    assert "unlabelled: a line" in said
    assert "7 images in the unlabelled pool" in said


def test_what_is_split_off_is_not_trained_on():
    """The default shares, of ten images a class."""
    values = values_from_look(look([*"ab"] * 10))
    kept = 1 - DATA.val_fraction - DATA.test_fraction
    assert values["training_images"] == round(20 * kept) < 20


@pytest.mark.parametrize(
    ("sides", "image_px"),
    [
        ([40], 64),
        ([95], 64),
        ([96], 96),
        ([223], 192),
        ([224], 224),
        ([1000], 224),
        ([50, 50, 100, 900, 900], 96),
    ],
)
def test_the_input_is_the_median_short_side_in_steps_of_32_from_64_to_224(sides, image_px):
    values = values_from_look(look([*"ab"] * 10, sizes=[(side, side + 1) for side in sides * 20][:20]))
    assert values["framing_keys"] == {"image_px": image_px}
    assert values["side_px"] == [min(sides), sorted(sides)[len(sides) // 2], max(sides)]


def recipe_of(seen):
    """The recipe's table and its text."""
    text = recipe_text(values_from_look(seen), DATA, "jetson-nano", "r.toml")
    return tomllib.loads(text), text


@pytest.mark.parametrize(("many", "balance"), [(20, "none"), (21, "loss")])
def test_classes_are_balanced_where_one_is_more_than_twice_another(many, balance):
    metric = {"none": "top1_fraction", "loss": "balanced_accuracy_fraction"}[balance]
    made, _ = recipe_of(look([*["a"] * many, *["b"] * 10]))
    assert (made["data"]["balance"], made["data"]["metric"]) == (balance, metric)
    assert made["teacher"][f"min_{metric}"] == 0


@pytest.mark.parametrize(("side", "larger"), [(64, "128"), (96, "192"), (128, None)])
def test_a_larger_teacher_is_offered_up_to_what_imagenet_networks_saw(side, larger):
    made, text = recipe_of(look([*"ab"] * 10, sizes=(side, side)))
    assert made["data"]["image_px"] == side
    offered = [line.split()[3] for line in text.splitlines() if line.startswith("# image_px")]
    assert offered == ([larger] if larger else [])
