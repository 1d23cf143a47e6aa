"""Whoever teaches is asked about views that it was not trained on, and a seed has views of its own."""

import json

import numpy as np
import pytest

from edgedistill.config.loading import load_recipe
from edgedistill.pipeline.runner import run_stages
from edgedistill.progress.reporter import Talk
from edgedistill.training.batches import TrainingSet
from end_to_end import write_project

pytestmark = pytest.mark.slow

SHORT = ["teacher.epochs=2", "distill.epochs=2", "distill.feature_weight=0"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("streams"), per_class=12)


@pytest.fixture
def seen(monkeypatch):
    """Seeds of all views that any training was given, by what was training."""
    seeds, own = set(), TrainingSet.batch

    def batch(self, positions, views):
        seeds.update(self.seed(int(p), int(v)) for p, v in zip(positions, views, strict=True))
        return own(self, positions, views)

    monkeypatch.setattr(TrainingSet, "batch", batch)
    return seeds


def run(place, run_dir, only, *settings):
    path = run_stages(load_recipe(place / "r.toml", [*SHORT, *settings]), run_dir, Talk(quiet=True), only)
    return json.loads(path.read_text())


def cached(folder):
    return np.concatenate([np.load(path)["seed"] for path in sorted(folder.glob("shard-*.npy"))])


def test_the_teacher_is_cached_on_views_that_it_was_not_trained_on(place, tmp_path, seen):
    run(place, tmp_path, "teacher")
    trained = set(seen)
    seen.clear()
    run(place, tmp_path, "logits")
    asked = set(cached(tmp_path / "logits").tolist())
    assert asked == seen
    assert min(len(trained), len(asked)) > 20
    assert not trained & asked


@pytest.mark.parametrize(
    "settings",
    [
        ["distill.method=self", "distill.generations=3"],
        ["distill.method=progressive", 'distill.assistants=[{model="resnet10t", weights="scratch"}]'],
    ],
)
def test_no_link_of_a_chain_is_asked_about_views_that_it_was_taught_on(place, tmp_path, settings):
    found = run(place, tmp_path, "distill", *settings, "teacher.epochs=1", "distill.epochs=1")
    assert found["steps"] > 0
    caches = [tmp_path / "logits", *sorted((tmp_path / "assist").glob("cache-*"))]
    seeds = [set(cached(folder).tolist()) for folder in caches]
    assert len(seeds) == (3 if "self" in settings[0] else 2)
    for number, one in enumerate(seeds):
        assert not any(one & other for other in seeds[:number])


@pytest.mark.parametrize("stage", ["teacher", "baseline"])
def test_another_seed_trains_on_other_views(place, tmp_path, seen, stage):
    section = {"teacher": "teacher", "baseline": "distill"}[stage]
    by_seed = []
    for seed in (0, 1):
        run(place, tmp_path, stage, f"{section}.seed={seed}")
        by_seed.append(set(seen))
        seen.clear()
    assert not by_seed[0] & by_seed[1]


def test_a_further_seed_of_a_run_has_the_views_that_it_would_have_alone(place, tmp_path, seen):
    both = run(place, tmp_path / "two", "distill", "distill.seeds=2")
    of_both = cached(tmp_path / "two/logits")
    alone = run(place, tmp_path / "one", "distill", "distill.seed=1")
    assert np.array_equal(of_both[len(of_both) // 2 :], cached(tmp_path / "one/logits"))
    assert both["seeds"][1]["validation"] == alone["validation"], "and ends with the same network"
    assert both["seeds"][0]["validation"]["loss"] != alone["validation"]["loss"]
