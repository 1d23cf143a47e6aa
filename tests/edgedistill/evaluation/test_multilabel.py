"""Figures and thresholds of several labels an image: against loops over images."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from edgedistill.config.decide import DecideConfig
from edgedistill.config.task import MULTILABEL
from edgedistill.evaluation.bootstrap import draws_of
from edgedistill.evaluation.label_decisions import fit_labels, label_figures
from edgedistill.evaluation.multilabel import (
    average_precisions,
    best_f1_thresholds,
    label_gain,
    label_measures,
    label_validation,
)
from edgedistill.evaluation.operating_points import threshold_for_recall
from edgedistill.evaluation.tasks import drop_of
from edgedistill_device.label_sets import UNSET, label_probabilities

NAMES = ["a", "b", "c"]


@pytest.fixture
def drawn():
    """(60, 3) logits that say something of the labels, many of them equal, and the labels."""
    rng = np.random.default_rng(7)
    targets = (rng.random((60, 3)) < [0.2, 0.5, 0.7]).astype(float)
    return np.round(rng.normal(size=(60, 3)) + targets, 1).astype(np.float32), targets


def precision_over_thresholds(scores, own):
    """Sum over thresholds, from the largest score down, of precision times the recall that it adds."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        reached = [bool(y) for s, y in zip(scores, own, strict=True) if s >= threshold]
        recall = sum(reached) / sum(own)
        total += sum(reached) / len(reached) * (recall - before)
        before = recall
    return total


def f1_of(answers, own):
    right = sum(bool(a) and bool(y) for a, y in zip(answers, own, strict=True))
    return 2 * right / (sum(map(bool, answers)) + sum(map(bool, own)))


def test_average_precision_is_the_loop_over_thresholds(drawn):
    scores, targets = drawn
    found = average_precisions(scores, targets == 1, np.ones((1, 60)))[0]
    expected = [precision_over_thresholds(scores[:, k].tolist(), targets[:, k]) for k in range(3)]
    assert found.tolist() == pytest.approx(expected)


def test_an_image_that_is_drawn_twice_counts_twice(drawn):
    scores, targets = drawn
    weights = np.random.default_rng(1).integers(0, 3, 60)
    rows = np.repeat(np.arange(60), weights)
    found = average_precisions(scores, targets == 1, weights[None].astype(float))[0]
    expected = [precision_over_thresholds(scores[rows, k].tolist(), targets[rows, k]) for k in range(3)]
    assert found.tolist() == pytest.approx(expected)


def shares(own, said):
    """(precision, recall, F1) of pairs, counted one by one."""
    right = sum(o and s for o, s in zip(own, said, strict=True))
    return right / sum(said), right / sum(own), 2 * right / (sum(said) + sum(own))


def test_figures_are_those_of_counts(drawn):
    scores, targets = drawn
    thresholds = np.array([0.6, 0.5, 0.4])
    own = [[bool(value) for value in row] for row in targets]
    said = [[1 / (1 + math.exp(-score)) >= t for score, t in zip(row, thresholds, strict=True)] for row in scores]
    measured = label_measures(scores, targets, NAMES, thresholds)
    by_label = [shares(*([row[k] for row in rows] for rows in (own, said))) for k in range(3)]
    for name, (precision, recall, _) in zip(NAMES, by_label, strict=True):
        assert measured.figure("precision", name).value == pytest.approx(precision)
        assert measured.figure("recall", name).value == pytest.approx(recall)
    assert measured.metric("f1_macro") == pytest.approx(sum(f1 for *_, f1 in by_label) / 3)
    assert measured.metric("f1_micro") == pytest.approx(shares(sum(own, []), sum(said, []))[2])
    assert measured.metric("exact_match") == pytest.approx(
        sum(o == s for o, s in zip(own, said, strict=True)) / len(own)
    )
    alone = [precision_over_thresholds(scores[:, k].tolist(), targets[:, k]) for k in range(3)]
    assert measured.metric("map") == pytest.approx(sum(alone) / 3)
    losses = [
        math.log1p(math.exp(-s if o else s))
        for row, of in zip(scores, own, strict=True)
        for s, o in zip(row, of, strict=True)
    ]
    assert label_validation(scores, targets, NAMES).loss == pytest.approx(sum(losses) / len(losses))


def test_intervals_hold_the_figure_and_shrink_with_the_images(drawn):
    scores, targets = drawn
    few = label_measures(scores, targets, NAMES, np.full(3, 0.5))
    many = label_measures(np.tile(scores, (9, 1)), np.tile(targets, (9, 1)), NAMES, np.full(3, 0.5))
    for figure in few.figures:
        low, high = figure.interval
        assert low <= figure.value <= high
        other = many.figure(figure.name, figure.output)
        assert other.value == pytest.approx(figure.value, abs=0.01)
        assert (other.interval[1] - other.interval[0]) <= 0.6 * (high - low)


@pytest.mark.parametrize("right", [0, 40])
def test_none_and_all_are_not_certain(right):
    """The exact interval of 40 of 40 goes down to 0.025 ** (1 / 40)."""
    targets = np.repeat([[1, 1, 1], [0, 0, 0]], 40, axis=0)
    scores = np.where(targets == 1, 4.0, -4.0) * (1 if right else -1)
    measured = label_measures(scores, targets, NAMES, np.full(3, 0.5))
    for figure in measured.figures:
        low, high = figure.interval
        assert low <= figure.value <= high
        assert high - low > 0.01, figure.name
    exact = 0.025 ** (1 / 40)
    recall = measured.figure("recall", "a")
    assert recall.interval == pytest.approx([exact, 1.0] if right else [0.0, 1 - exact])


SETTINGS = {  # images, labels, share of images with a label, distance of its score: average precisions .53 to 1
    "a rare label": (100, 1, 0.05, 2.0),
    "a good network": (100, 1, 0.3, 4.0),
    "an ordinary one": (300, 1, 0.2, 2.5),
    "three labels": (100, 3, 0.3, 3.0),
    "ten labels": (200, 10, 0.1, 2.5),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_intervals_hold_what_a_very_large_set_has(name, rng):
    images, labels, share, distance = SETTINGS[name]
    names = [f"l{number}" for number in range(labels)]

    def drawn(count, columns):
        """Scores whose images differ in difficulty."""
        truth = rng.random((count, columns)) < share
        noise = math.sqrt(0.3) * rng.normal(size=(count, 1)) + math.sqrt(0.7) * rng.normal(size=(count, columns))
        return distance * (truth - 0.5) + noise, truth.astype(float)

    scores, targets = drawn(300_000, 1)
    answers, own = scores > 0, targets == 1
    right = float((answers & own).sum())
    true = {
        "ap": average_precisions(scores, own, np.ones((1, len(own))))[0, 0],
        "precision": right / answers.sum(),
        "recall": right / own.sum(),
        "f1": 2 * right / (answers.sum() + own.sum()),
        "exact_match": (answers == own).mean(),
    }
    held, rounds = Counter(), 150
    for _ in range(rounds):
        scores, targets = drawn(images, labels)
        while not targets.any(axis=0).all():
            scores, targets = drawn(images, labels)
        for figure in label_measures(scores, targets, names, np.full(labels, 0.5)).figures:
            whole = {"map": "ap", "f1_macro": "f1", "f1_micro": "f1"}.get(figure.name, figure.name)
            if figure.output in (None, "l0") and (figure.name != "exact_match" or labels == 1):
                held[figure.name] += figure.interval[0] <= true[whole] <= figure.interval[1]
    for figure_name, count in held.items():  # 95 % is 142; three standard deviations are 8
        assert count >= 132, (figure_name, count)


def test_what_the_images_do_not_determine_is_left_out(drawn):
    scores, targets = drawn
    targets[:, 0], scores[:, 1] = 0, -9
    measured = label_measures(scores, targets, NAMES, np.full(3, 0.5))
    assert measured.get("ap", "a") is None
    assert measured.get("recall", "a") is None
    assert measured.figure("precision", "a").value == 0
    assert measured.get("precision", "b") is None
    assert measured.figure("recall", "b").value == 0
    known = [measured.figure("ap", name).value for name in ("b", "c")]
    assert measured.metric("map") == pytest.approx(np.mean(known))
    with pytest.raises(ValueError, match="no labelled images"):
        label_measures(scores[:0], targets[:0], NAMES)


def test_an_output_that_is_no_number_is_the_smallest(drawn):
    scores, targets = drawn
    broken, low = scores.copy(), scores.copy()
    broken[3], low[3] = [np.nan, np.inf, -np.inf], -1e30
    thresholds = np.full(3, 0.5)
    assert label_measures(broken, targets, NAMES, thresholds) == label_measures(low, targets, NAMES, thresholds)


def test_the_threshold_has_the_largest_f1_of_all(drawn):
    scores, targets = drawn
    chances = label_probabilities(scores)
    found = best_f1_thresholds(scores, targets)
    for k in range(3):
        best = max(f1_of(chances[:, k] >= threshold, targets[:, k]) for threshold in set(chances[:, k]))
        assert f1_of(chances[:, k] >= found[k], targets[:, k]) == pytest.approx(best)
        assert np.abs(chances[:, k] - found[k]).min() > 1e-4, "it lies between two scores"
    targets[:, 1] = 0
    assert best_f1_thresholds(scores, targets)[1] == UNSET
    targets[:, 1] = 1
    assert (label_probabilities(scores[:, 1]) >= best_f1_thresholds(scores, targets)[1]).all()


def test_the_threshold_of_every_small_case_is_that_of_a_search(rng):
    """Ties, one image, all images; of equal F1 the fewest answers; halfway to the next score, or to nought."""
    for _ in range(400):
        images = rng.integers(1, 7)
        own, scores = rng.random(images) < 0.6, rng.integers(-3, 4, images) / 2
        chances = label_probabilities(scores[:, None].astype(np.float64))[:, 0]
        best, expected = Fraction(0), UNSET
        for threshold in sorted(set(chances), reverse=True):
            answered = chances >= threshold
            f1 = Fraction(2 * int((answered & own).sum()), int(answered.sum() + own.sum()))
            if f1 > best:
                best, expected = f1, (threshold + max(chances[~answered], default=0.0)) / 2
        found = best_f1_thresholds(scores[:, None], own[:, None].astype(float))
        assert found.tolist() == pytest.approx([expected])


def test_the_gain_is_paired(drawn):
    scores, targets = drawn
    gain = label_gain(scores + 5 * targets, scores, targets, NAMES)
    own, other = (label_measures(one, targets, NAMES) for one in (scores + 5 * targets, scores))
    assert gain.points == pytest.approx(100 * (own.metric("map") - other.metric("map")))
    assert gain.interval_points[0] > 0
    for figure in gain.by_output:
        assert figure.value == pytest.approx(
            own.figure("ap", figure.output).value - other.figure("ap", figure.output).value
        )
    same = label_gain(scores, scores, targets, NAMES)
    assert same.points == 0
    assert same.interval_points == pytest.approx([-same.interval_points[1], same.interval_points[1]])
    assert 0.5 < same.interval_points[1] < 10, "not certainly equal"
    drop = drop_of(MULTILABEL, scores, scores + 5 * targets, targets, NAMES)
    assert drop.points == pytest.approx(gain.points)
    assert drop.interval_points == pytest.approx(gain.interval_points)
    assert all(change.value < 0 for change in drop.changes)


def test_the_interval_of_the_gain_is_of_images_drawn_again_and_half_an_image_more(drawn):
    """Few images have the first label: some draws have none, and determine nothing of it."""
    scores, targets = drawn
    targets[4:, 0] = 0
    targets[:4, 0] = [1, 1, 0, 1]
    other = scores + np.random.default_rng(3).normal(size=scores.shape).astype(np.float32)
    gain = label_gain(scores, other, targets, NAMES)
    own, others = (average_precisions(one, targets == 1, draws_of(60)) for one in (scores, other))
    larger = own - others
    assert np.isnan(larger[:, 0]).any()
    least = 0.5 / (targets.sum(axis=0) + 2) ** 2
    for k, figure in enumerate(gain.by_output):
        half = 1.959964 * math.sqrt(np.nanvar(larger[:, k]) + least[k])
        expected = [max(-1.0, figure.value - half), min(1.0, figure.value + half)]
        assert figure.interval == pytest.approx(expected, abs=1e-6)
    half = 1.959964 * math.sqrt(np.nanvar(np.nanmean(larger, axis=1)) + least.sum() / 9)
    assert gain.interval_points == pytest.approx([gain.points - 100 * half, gain.points + 100 * half], abs=1e-4)


def test_labels_that_are_hard_on_the_same_images_tell_no_more_than_one(rng):
    """Eight times the same label vary as one does, eight others by the root of eight less."""
    truth = (rng.random((400, 8)) < 0.4).astype(float)
    scores = 2.4 * (truth - 0.5) + rng.normal(size=(400, 8))
    names, half = [f"l{number}" for number in range(8)], np.full(8, 0.5)

    def width(figures, name, output=None):
        low, high = figures.figure(name, output).interval
        return high - low

    apart = label_measures(scores, truth, names, half)
    alike = label_measures(*(np.tile(one[:, :1], (1, 8)) for one in (scores, truth)), names, half)
    single = np.mean([width(apart, "f1", name) for name in names])
    assert width(apart, "f1_macro") == pytest.approx(single / math.sqrt(8), rel=0.15)
    assert width(alike, "f1_macro") == pytest.approx(width(alike, "f1", "l0"), rel=0.15)
    assert width(alike, "f1_micro") == pytest.approx(width(alike, "f1", "l0"), rel=0.15)


def test_promises_have_the_thresholds_of_operating_points_and_the_others_the_best_f1(drawn):
    rng = np.random.default_rng(2)
    targets = (rng.random((300, 3)) < 0.5).astype(float)
    scores = (rng.normal(size=(300, 3)) + 2 * targets).astype(np.float32)
    wanted = DecideConfig(recall={"b": 0.8, "c": 0.999})
    fitted = fit_labels(scores, targets, NAMES, wanted)
    chosen, best = dict(fitted.decision.thresholds), best_f1_thresholds(scores, targets)
    own = label_probabilities(scores[:, 1])[targets[:, 1] == 1]
    assert chosen["b"] == threshold_for_recall(own, 0.8, 0.95).threshold
    assert (chosen["a"], chosen["c"]) == (best[0], best[2]), "too few images show a recall of 0.999"
    figures = label_figures("fp16", scores, targets, NAMES, fitted, wanted)
    promised, missed = figures.points
    assert promised.by_threshold.recall >= 0.8
    assert promised.by_probability.recall == pytest.approx(
        (label_probabilities(scores[:, 1]) >= best[1])[targets[:, 1] == 1].mean()
    )
    assert "is promised with 95 % confidence" in promised.sentence
    assert f"its threshold is that of the best F1, {best[2]:.3g}" in missed.sentence
    row = figures.classes[2]
    assert (row.class_name, row.threshold) == ("c", best[2])
    assert row.f1 == pytest.approx(figures.by_label.figure("f1", "c").value)


def test_a_promise_of_precision_is_over_all_images(drawn):
    rng = np.random.default_rng(4)
    targets = (rng.random((400, 3)) < 0.4).astype(float)
    scores = (rng.normal(size=(400, 3)) + 4 * targets - 2).astype(np.float32)
    fitted = fit_labels(scores, targets, NAMES, DecideConfig(precision={"a": 0.85}))
    threshold = dict(fitted.decision.thresholds)["a"]
    answered = label_probabilities(scores[:, 0]) >= threshold
    assert targets[answered, 0].mean() >= 0.85
    assert fitted.choices["a"].images == answered.sum()
