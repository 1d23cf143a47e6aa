"""Do 95 % intervals hold the truth in 95 % of experiments?"""

import numpy as np
import pytest

from edgedistill.report.uncertainty import balanced_interval, paired_interval


@pytest.mark.parametrize(("first_only", "second_only", "images"),
                         [(0.06, 0.04, 335), (0.10, 0.02, 120), (0.01, 0.01, 60)])  # fmt: skip
def test_paired_interval_covers(first_only, second_only, images, rng):
    draws = rng.multinomial(images, [first_only, second_only, 1 - first_only - second_only], 4000)
    intervals = [paired_interval(int(b), int(c), images) for b, c, _ in draws]
    held = [low <= first_only - second_only <= high for low, high in intervals]
    assert 0.94 <= np.mean(held) <= 1.0


def test_paired_interval_against_the_formula_written_out():
    """b = 22, c = 14, n = 335, by hand: p = 23/337, q = 15/337."""
    low, high = paired_interval(22, 14, 335)
    middle, half = 8 / 337, 1.959964 * np.sqrt((38 / 337 - (8 / 337) ** 2) / 337)
    assert (low, high) == pytest.approx((middle - half, middle + half))


def test_networks_that_never_differ_are_not_certainly_equal():
    low, high = paired_interval(0, 0, 50)
    assert low < 0 < high
    assert high == pytest.approx(-low)


def test_interval_turns_with_the_order():
    assert paired_interval(30, 10, 200) == pytest.approx(
        [-x for x in paired_interval(10, 30, 200)[::-1]]
    )


def test_balanced_interval_covers(rng):
    """Two networks on the same images, right independently of each other."""
    counts, first, second = [80, 25, 40], [0.9, 0.5, 0.7], [0.85, 0.6, 0.65]
    truth, held = np.mean(first) - np.mean(second), []
    for _ in range(1500):
        matrices = []
        for recalls in (first, second):
            hits = rng.binomial(counts, recalls)
            matrices.append([[0] * 3 for _ in counts])
            for c, (hit, n) in enumerate(zip(hits, counts, strict=True)):
                matrices[-1][c][c], matrices[-1][c][(c + 1) % 3] = int(hit), int(n - hit)
        low, high = balanced_interval(*matrices)
        held.append(low <= truth <= high)
    assert 0.93 <= np.mean(held) <= 0.99


def test_balanced_interval_leaves_out_a_class_without_images():
    with_it = balanced_interval(
        [[9, 1, 0], [2, 8, 0], [0, 0, 0]], [[8, 2, 0], [3, 7, 0], [0, 0, 0]]
    )
    without = balanced_interval([[9, 1], [2, 8]], [[8, 2], [3, 7]])
    assert with_it == pytest.approx(without)
