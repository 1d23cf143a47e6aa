"""Promises by simulation: known distributions, many draws of validation images, and what is then true of each."""

import math

import numpy as np
import pytest

from edgedistill.evaluation.intervals import binomial_interval, binomial_lower
from edgedistill.evaluation.operating_points import PRECISION_GRID, threshold_for_precision, threshold_for_recall

DRAWS = 400


def tail(hits, images, share):
    """P(at least so many hits), term by term."""
    return sum(math.comb(images, k) * share**k * (1 - share) ** (images - k) for k in range(hits, images + 1))


def least_likely(draws, confidence):
    """So few successes or fewer have a probability below 1e-4 where each has `confidence`."""
    kept = 0
    while 1 - tail(kept + 1, draws, confidence) < 1e-4:
        kept += 1
    return kept


@pytest.mark.parametrize(("hits", "images"), [(0, 5), (1, 5), (37, 40), (40, 40)])
def test_exact_limits_have_the_tails_that_define_them(hits, images):
    lower = binomial_lower(hits, images, 0.95)
    assert tail(hits, images, lower) == pytest.approx(0.05 if hits else 1)
    low, high = binomial_interval(hits, images)
    assert tail(hits, images, low) == pytest.approx(0.025 if hits else 1)
    assert 1 - tail(hits + 1, images, high) == pytest.approx(0.025 if hits < images else 1)


def test_an_interval_without_images_is_everything():
    assert binomial_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("asked", [0.8, 0.95])
@pytest.mark.parametrize("shape", [(8, 1), (0.5, 0.5)])
def test_the_promised_recall_holds_in_the_promised_share_of_draws(asked, shape):
    """Scores of the class are Beta; the true recall of a threshold is taken from a million further ones."""
    draw = np.random.default_rng(3)
    population = np.sort(draw.beta(*shape, 1_000_000))
    recalls = []
    for _ in range(DRAWS):
        choice = threshold_for_recall(draw.beta(*shape, 120), asked, 0.9)
        recalls.append(1 - np.searchsorted(population, choice.threshold) / len(population))
    kept = sum(recall >= asked for recall in recalls)
    assert kept >= least_likely(DRAWS, 0.9)
    assert kept < DRAWS  # and it does not hold by giving everything away
    assert np.mean(recalls) < asked + 0.08


def test_recall_from_tied_scores_holds_too():
    draw = np.random.default_rng(5)
    shares, values = np.array([0.02, 0.1, 0.3, 0.58]), np.array([0.1, 0.4, 0.7, 0.9])
    kept = 0
    for _ in range(DRAWS):
        choice = threshold_for_recall(draw.choice(values, 100, p=shares), 0.9, 0.9)
        kept += shares[values >= choice.threshold].sum() >= 0.9
    assert kept >= least_likely(DRAWS, 0.9)


def test_too_few_images_promise_nothing_and_say_how_many_would():
    choice = threshold_for_recall(np.linspace(0.5, 1, 40), 0.99, 0.95)
    assert choice.threshold is None
    assert (choice.hits, choice.images, choice.needed) == (40, 40, 299)  # 0.99^298 > 0.05 >= 0.99^299
    assert [choice.most, choice.lower] == pytest.approx(2 * [0.05 ** (1 / 40)])
    for images, promised in ((298, False), (299, True)):
        found = threshold_for_recall(np.linspace(0.5, 1, images), 0.99, 0.95)
        assert (found.threshold is not None) is promised
    assert threshold_for_recall(np.array([]), 0.5, 0.95).threshold is None


def test_the_threshold_is_the_largest_that_the_images_allow():
    """By hand: 59 images, all right, show 0.95; 93 show it with one miss."""
    scores = np.arange(93) / 100
    assert threshold_for_recall(scores[:59], 0.95, 0.95).threshold == 0.0
    assert threshold_for_recall(scores[:92], 0.95, 0.95).threshold == 0.0
    assert threshold_for_recall(scores, 0.95, 0.95).threshold == 0.01


def test_images_that_an_earlier_class_takes_are_misses():
    scores = np.append(np.linspace(0.2, 1, 99), -np.inf)
    taken = threshold_for_recall(scores, 0.95, 0.95)
    assert taken.threshold == pytest.approx(0.2)  # two may be missed of 100: the taken one, and none below 0.2
    nobody = threshold_for_recall(np.append(np.linspace(0.2, 1, 90), [-np.inf] * 10), 0.95, 0.95)
    assert nobody.threshold is None
    assert nobody.hits == 90


def test_the_promised_precision_holds_in_the_promised_share_of_draws():
    """The score is uniform, and at score s a share s^0.25 is of the class: the precision from t on is an integral."""
    draw = np.random.default_rng(7)
    true = {t: 0.8 * (1 - t**1.25) / (1 - t) for t in PRECISION_GRID}
    kept = chosen = 0
    for _ in range(DRAWS):
        scores = draw.random(900)
        choice = threshold_for_precision(scores, draw.random(900) < scores**0.25, 0.92, 0.9)
        chosen += choice.threshold is not None
        kept += choice.threshold is None or true[choice.threshold] >= 0.92
    assert kept >= least_likely(DRAWS, 0.9)
    assert chosen > DRAWS / 4


def test_a_precision_that_is_not_shown_sets_no_threshold():
    right = np.array([True] * 20 + [False] * 20)
    choice = threshold_for_precision(np.where(right, 0.995, 0.2), right, 0.95, 0.95)
    assert choice.threshold is None
    assert (choice.hits, choice.images) == (20, 20)
    error = 0.05 / len(PRECISION_GRID)
    assert 0.95**choice.needed <= error < 0.95 ** (choice.needed - 1)


def test_the_smallest_threshold_that_is_shown_is_taken():
    scores, right = np.concatenate([np.full(300, 0.72), np.full(300, 0.57)]), np.ones(600, bool)
    right[300:] = False
    assert threshold_for_precision(scores, right, 0.9, 0.95).threshold == 0.6
