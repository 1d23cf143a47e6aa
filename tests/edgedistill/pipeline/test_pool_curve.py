"""Stage `curve`: the student on parts of the pool, and what a larger pool would bring."""

import json
import re

import numpy as np
import pytest

from edgedistill.config.loading import load_recipe
from edgedistill.data.augment import TrainingView
from edgedistill.errors import RecipeError
from edgedistill.pipeline.runner import plan_run, run_stages
from edgedistill.pipeline.table import recipe_values, stage_named
from edgedistill.progress.reporter import Talk
from edgedistill.records.evaluation import METRICS
from edgedistill.records.pool_curve import PoolPoint
from edgedistill.stages.curve import curve_record, lines_from_curve, of_share
from edgedistill.training.batches import TrainingSet
from end_to_end import RECIPE, write_images

SHORT = ("teacher.epochs=1", "distill.epochs=1", "distill.views=1", "distill.feature_weight=0", "data.unlabelled=pool")
SHARES = "distill.pool_shares=[0.5, 0]"


def taught(labels, hashes):
    view = TrainingView.__new__(TrainingView)  # never asked for one
    return TrainingSet({}, np.arange(len(labels)), np.array(labels), hashes, view)


def test_a_share_holds_all_labelled_images_and_every_smaller_share():
    rng = np.random.default_rng(0)
    labels = np.where(np.arange(60) % 3 == 0, 1, -1)
    images = taught(labels, [f"{number:064x}" for number in rng.permutation(60)])
    parts = [set(of_share(images, None, share)) for share in (0, 0.3, 0.6, 1)]
    assert [len(part) for part in parts] == [20, 32, 44, 60]
    assert all(smaller <= larger for smaller, larger in zip(parts, parts[1:], strict=False))
    assert parts[0] == set(np.flatnonzero(labels == 1))
    sure = np.flatnonzero((labels == 1) | (np.arange(60) < 30))  # the teacher is not sure of the others
    assert len(of_share(images, sure, 0.5)) == 20 + 10
    assert set(of_share(images, sure, 0.5)) <= set(sure)


def points(*rows):
    return [
        PoolPoint(share=share, pool_images=pool, images=50 + pool, seed=0, **dict.fromkeys(METRICS, score))
        for share, pool, score in rows
    ]


def test_the_curve_is_that_of_the_metric_and_reaches_to_five_times_the_pool():
    scores = {count: 1 - 2 * count**-0.5 for count in (50, 150, 450)}
    rows = points((0, 0, scores[50]), (0.25, 100, scores[150]), (1, 400, scores[450]))
    record = curve_record(rows, "top1_fraction", 50, 200)
    assert record.exponent == pytest.approx(0.5)
    assert [(row.times, row.pool_images) for row in record.expected] == [(2, 800), (5, 2000)]
    assert [row.fraction for row in record.expected] == pytest.approx([1 - 2 * 850**-0.5, 1 - 2 * 2050**-0.5])
    assert all(row.interval[0] <= row.fraction <= row.interval[1] for row in record.expected)
    lines = lines_from_curve(record)
    assert lines[1] == "100 images of the pool: 83.7%"
    assert re.fullmatch(r"predicted for 2000, 5 times the pool: 95.6% \(95.6% to 95.6%\)", lines[-1])


def test_two_sizes_are_shown_and_foretell_nothing():
    record = curve_record(points((0, 0, 0.5), (1, 100, 0.7)), "top1_fraction", 50, 200)
    assert (record.exponent, record.expected, len(record.points)) == (None, [], 2)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curve")
    write_images(folder / "images", per_class=12)
    write_images(folder / "pool", per_class=4, seed=7)
    (folder / "r.toml").write_text(RECIPE)
    return folder


def recipe(place, *settings):
    return load_recipe(place / "r.toml", [*SHORT, *settings])


@pytest.mark.slow
def test_each_share_is_one_training_and_the_whole_pool_is_the_student_itself(place, tmp_path):
    said = []
    talk = Talk(quiet=True)
    talk.say = lambda line, *_: said.append(line)
    path = run_stages(recipe(place, SHARES), tmp_path / "run", talk, only="curve")
    found = json.loads(path.read_text())
    distill = json.loads((tmp_path / "run/distill/distill.json").read_text())
    assert [(row["share"], row["pool_images"]) for row in found["points"]] == [(0, 0), (0.5, 6), (1.0, 12)]
    assert found["points"][-1]["images"] == distill["training_images"] == found["labelled_images"] + 12
    trained = [json.loads((path.parent / f"trained-{number}.json").read_text())["values"] for number in (0, 1)]
    assert [row["training_images"] for row in trained] == [row["images"] for row in found["points"][:2]]
    assert {row["steps"] for row in trained} == {distill["steps"]}, "as many steps as the student"
    assert [row["times"] for row in found["expected"]] == [2, 5]
    assert any("5 times the pool" in line for line in said)
    planned = plan_run(recipe(place, "distill.pool_shares=[0]"), tmp_path / "run")
    actions = {row.stage: row.action for row in planned}
    assert (actions["distill"], actions["curve"]) == ("keep", "run"), "other shares leave the student as it is"


def test_a_recipe_without_shares_is_that_of_before(place):
    without = recipe(place)
    assert not stage_named("curve").applies(without)
    assert "distill.pool_shares" not in recipe_values(stage_named("distill"), recipe(place, SHARES))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["distill.pool=instead"], "beside labelled ones: set data.unlabelled"),
        (["distill.pool_shares=[0.5, 1.0]"], "expected different shares below 1"),
        (["distill.pool_shares=[0.5, 0.5]"], "expected different shares below 1"),
        (["distill.pool_shares=[-0.5]"], "pool_shares"),
    ],
)
def test_shares_that_are_none_are_refused(place, settings, said):
    with pytest.raises(RecipeError, match=said):
        recipe(place, SHARES, *settings)


def test_shares_need_a_pool(place):
    with pytest.raises(RecipeError, match=r"pool_shares are parts of .* set data.unlabelled"):
        load_recipe(place / "r.toml", [SHARES])
