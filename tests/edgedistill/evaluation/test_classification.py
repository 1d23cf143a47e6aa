import math
from fractions import Fraction

import numpy as np
import pytest

from edgedistill.evaluation.classification import calibration_error, mcnemar_p, measures, paired, wilson_interval


def test_a_net_that_always_says_the_majority_class():
    """The trap that top-1 hides: 71 % right, and blind."""
    labels = np.array([0] * 71 + [1] * 10 + [2] * 19)
    found = measures(np.eye(3)[np.zeros(100, int)], labels, ["ok", "crack", "dent"])
    assert found.top1_fraction == pytest.approx(0.71)
    assert found.balanced_accuracy_fraction == pytest.approx(1 / 3)
    assert found.per_class_recall == {"ok": 1.0, "crack": 0.0, "dent": 0.0}
    assert found.confusion[2] == [19, 0, 0]


def test_a_class_without_images_counts_neither_way():
    found = measures(np.eye(3)[[0, 1]], np.array([0, 1]), ["a", "b", "c"])
    assert found.per_class_recall["c"] is None
    assert found.balanced_accuracy_fraction == 1


def test_wilson_interval_against_its_defining_equation():
    """Both ends p solve (hits/n - p)^2 = z^2 p (1 - p) / n."""
    for hits, n in [(0, 20), (7, 40), (40, 40)]:
        low, high = wilson_interval(hits, n)
        for p in (low, high):
            if 0 < p < 1:
                assert (hits / n - p) ** 2 == pytest.approx(1.959964**2 * p * (1 - p) / n)
        assert low <= hits / n <= high + 1e-12


def test_mcnemar_by_hand():
    """9 images only the first gets right, 1 only the second: p = 2 * 11 / 1024."""
    labels = np.zeros(30, int)
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    first = np.array([right] * 9 + [wrong] * 1 + [right] * 20)
    second = np.array([wrong] * 9 + [right] * 1 + [right] * 20)
    found = paired(first, second, labels)
    assert (found["first_only_correct"], found["second_only_correct"]) == (9, 1)
    assert mcnemar_p(9, 1) == pytest.approx(2 * 11 / 1024)
    assert found["by_class"] == [[9, 1, 30], [0, 0, 0]]
    assert mcnemar_p(0, 0) == mcnemar_p(1, 1) == 1


def test_mcnemar_is_the_exact_sum_of_the_binomial():
    for first, second in ((0, 1), (7, 0), (3, 7), (19, 21), (40, 960), (2600, 2400)):
        images, fewer = first + second, min(first, second)
        tail = sum(math.comb(images, count) for count in range(fewer + 1))
        assert mcnemar_p(first, second) == pytest.approx(min(1, Fraction(2 * tail, 2**images)), rel=1e-11, abs=0)


def test_the_calibration_error_by_hand():
    """Two bins whose errors have opposite signs: 4 images at 0.9 of which 2 are right, 4 at 0.6, all right."""
    confidence = np.array([0.9] * 4 + [0.6] * 4)
    logits = np.stack([np.log(confidence), np.log(1 - confidence)], axis=1)
    labels = np.array([0, 0, 1, 1, 0, 0, 0, 0])
    assert calibration_error(logits, labels) == pytest.approx((4 * 0.4 + 4 * 0.4) / 8)
    assert calibration_error(logits, labels, bins=1) == pytest.approx(abs(6 / 8 - 0.75))


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_the_calibration_error_against_a_loop_over_bins(rng, bins):
    logits, labels = rng.normal(size=(300, 4)) * 2, rng.integers(0, 4, 300)
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    confidence, hit, error = probability.max(axis=1), probability.argmax(axis=1) == labels, 0.0
    for number in range(bins):
        inside = (confidence >= number / bins) & (confidence < (number + 1) / bins)
        if inside.any():
            error += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    assert calibration_error(logits, labels, bins) == pytest.approx(error)
