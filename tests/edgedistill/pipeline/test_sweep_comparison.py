"""What a sweep's trials have shown against the recipe's own student."""

import re

import numpy as np
import pytest

from edgedistill.config.loading import load_recipe
from edgedistill.evaluation.intervals import balanced_interval, paired_interval
from edgedistill.pipeline.sweep_comparison import difference_points, sentences_of, text_from_sweep, words_of
from edgedistill.pipeline.sweep_trials import Trials
from edgedistill.progress.reporter import Talk
from edgedistill.records.sweep import SweepRecord, TrialResult


def trial(value, against=None, state="complete", **settings):
    keys = {f"distill.{key}": setting for key, setting in settings.items()}
    more = {} if against is None else {"against_own_points": against}
    return TrialResult(settings=keys, value=value, state=state, epochs=9, **more)


OWN = trial(0.75)


@pytest.mark.parametrize("metric", ["top1_fraction", "balanced_accuracy_fraction"])
def test_one_trial_has_the_interval_of_the_report(metric, rng):
    labels = np.repeat([0, 1, 2], [20, 30, 50])
    hits, own = rng.random(100) < 0.8, rng.random(100) < 0.6
    first, second = hits & ~own, own & ~hits
    if metric == "top1_fraction":
        ends = paired_interval(int(first.sum()), int(second.sum()), 100)
    else:
        ends = balanced_interval(
            [
                [int((only & (labels == n)).sum()) for only in (first, second)] + [int((labels == n).sum())]
                for n in range(3)
            ]
        )
    assert difference_points(hits, own, labels, metric, 1) == pytest.approx([100 * end for end in ends])


def test_the_best_of_many_equal_trials_seldom_beats_the_recipe(rng):
    """Forty students as good as the own one: in 5 % of sweeps one of them is "better", and not in most."""
    labels, sweeps, trials = np.zeros(200, int), 40, 40

    def beaten(together):
        count = 0
        for _ in range(sweeps):
            own, hits = rng.random(200) < 0.7, rng.random((trials, 200)) < 0.7
            count += any(difference_points(row, own, labels, "top1_fraction", together)[0] > 0 for row in hits)
        return count

    assert beaten(trials) <= 6
    assert beaten(1) > 8, "intervals of one trial alone find a winner by chance"


def test_a_clear_winner_is_named():
    labels = np.zeros(200, int)
    own = np.arange(200) < 120
    low, high = difference_points(np.arange(200) < 180, own, labels, "top1_fraction", 4)
    assert 15 < low < 30 < high < 45
    trials = [trial(0.9, [low, high], temperature=4), trial(0.7, [-12.0, 2.0], temperature=1)]
    (sentence,) = sentences_of(trials, OWN, 200)
    assert sentence.startswith("1 of 2 trials beats your recipe beyond chance: the best is +15.0 (")
    assert "95% intervals that hold for all 2 at once; one seed each" in sentence


@pytest.mark.parametrize(("low", "said"), [(0.01, "1 of 1 trials beats"), (0.0, "no trial beats"), (-0.01, "no trial")])
def test_a_trial_beats_the_recipe_where_its_interval_lies_above_zero(low, said):
    (sentence,) = sentences_of([trial(0.8, [low, 9.0], temperature=4)], OWN, 200)
    assert sentence.startswith(said)


def test_nothing_shown_and_ties_are_said():
    trials = [
        trial(0.75, [-4.0, 4.0], temperature=4),
        trial(0.75, [-3.0, 3.0], temperature=1),
        trial(0.4, state="pruned"),
    ]
    shown, tied = sentences_of(trials, OWN, 80)
    assert shown.startswith(
        "no trial beats your recipe beyond chance: the best is +0.0 (-4.0 to +4.0) points on 80 val"
    )
    assert tied == "3 tie for the best value: your recipe; temperature 4; temperature 1"
    assert sentences_of([trial(0.8, temperature=4)], None, 80) == [], "another process trains the recipe's own student"
    assert sentences_of([trial(0.75, temperature=2)], trial(0.75, temperature=2), 80) == [], "nothing but the own one"


def test_the_own_student_is_a_row_once(tmp_path):
    def text(own, trials):
        sweep = SweepRecord(metric="validation top1_fraction", images="", seeds=1, trials=trials, best=own, own=own)
        return text_from_sweep(sweep, tmp_path).splitlines()[2:-1]

    rows = text(OWN, [trial(0.8, [-1.0, 11.0], temperature=4), trial(0.5, temperature=1, state="pruned")])
    assert [re.split(r"\s{2,}", row)[-1] for row in rows] == ["temperature 4", "your recipe", "temperature 1"]
    assert "+5.0 (-1.0 to +11.0)" in rows[0]
    assert "9, pruned" in rows[2]
    own = trial(0.75, temperature=2)
    rows = text(own, [own, trial(0.7, [-9.0, 1.0], temperature=1)])
    assert [re.split(r"\s{2,}", row)[-1] for row in rows] == ["temperature 2 (your recipe)", "temperature 1"]


def test_settings_as_words_hold_no_escape():
    assert words_of({"student.weights": "a\x1b[2K", "distill.epochs": 3}) == "weights a\\x1b[2K, epochs 3"


def test_a_trial_is_no_result_of_another_metric(tmp_path):
    """Its value is of the metric that it was made for, and so is the end of a pruned one."""
    (tmp_path / "r.toml").write_text('[data]\ntrain = "images"\n')

    def trials(metric):
        made = Trials(tmp_path, lambda settings: load_recipe(tmp_path / "r.toml", []), metric, Talk(quiet=True))
        made._artifacts = {"data": "0"}
        return made

    top1, balanced = trials("top1_fraction"), trials("balanced_accuracy_fraction")
    place = top1.place({})
    place.mkdir(parents=True)
    result = trial(0.9, temperature=4)
    for hits in (np.ones(8, bool), None):
        top1._keep(place, result, hits)
        assert balanced.place({}) == place
        assert balanced.result({}) is None
        assert balanced.results() == []
    top1._keep(place, result, np.ones(8, bool))
    assert top1.result({}).value == 0.9
    top1.images, top1._labels = 8, np.zeros(8, int)
    assert [row.to_json() for row in top1.results()] == [result.to_json()]
