"""What is said of distillation before anything is trained, and that its figures are those of docs/methods.md."""

import re

import pytest

import edgedistill
from edgedistill.config.loading import load_recipe
from edgedistill.config.training import DistillConfig
from edgedistill.new_project.outlook import outlook
from end_to_end import ROOT
from layouts import classes_in, flat_in

KD = DistillConfig()


@pytest.mark.parametrize(
    ("labelled", "pool", "pays"),
    [
        (102, 1319, True),
        (500, 500, True),
        (500, 499, False),
        (1223, 0, False),
    ],
)
def test_a_pool_pays_and_all_labels_do_not(labelled, pool, pays):
    sentence = outlook(labelled, pool, KD)
    assert ("can be expected to pay" in sentence) is pays
    assert ("is uncertain" in sentence) is not pays
    assert ("--unlabelled" in sentence) is not pays
    assert f"{pool} images without labels" in sentence or (pool == 0 and sentence.startswith("no images"))


def test_where_nothing_was_measured_nothing_is_said():
    assert outlook(100, 0, DistillConfig(method="self")) is None
    assert outlook(100, 0, DistillConfig(method="data_free")) is None


def test_its_figures_are_those_of_the_page():
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    figures = re.findall(r"\d[\d,]*\.?\d*", outlook(1, 7777, KD).partition("to pay; ")[2])
    assert len(figures) >= 5, figures
    for figure in figures:
        assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.]\d)", page), figure


def test_new_says_it_and_plans_for_the_pool(tmp_path):
    classes_in(tmp_path / "parts", 20)
    flat_in(tmp_path / "parts" / "unlabelled", 40, "test")
    edgedistill.new(tmp_path / "parts", tmp_path / "pool.toml")
    (tmp_path / "parts" / "unlabelled").rename(tmp_path / "elsewhere")
    edgedistill.new(tmp_path / "parts", tmp_path / "alone.toml")
    pool, alone = (load_recipe(tmp_path / name) for name in ("pool.toml", "alone.toml"))
    assert pool.data.unlabelled == str(tmp_path / "parts" / "unlabelled")
    assert pool.teacher.epochs == alone.teacher.epochs, "it learns from the labelled images"
    # 42 images are one step of 32, and 162 are five.
    assert alone.distill.epochs == 5 * pool.distill.epochs
    assert alone.distill.views == pool.distill.views == 30
