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
    """Two networks that mostly agree, with other recalls in each class."""
    counts = [80, 25, 40]
    shares = [(0.10, 0.03), (0.05, 0.20), (0.08, 0.08)]  # only the first right, only the second
    truth = np.mean([first - second for first, second in shares])
    held = []
    for _ in range(3000):
        drawn = [
            rng.multinomial(n, [first, second, 1 - first - second])
            for n, (first, second) in zip(counts, shares, strict=True)
        ]
        low, high = balanced_interval(
            [[int(b), int(c), n] for (b, c, _), n in zip(drawn, counts, strict=True)]
        )
        held.append(low <= truth <= high)
    assert 0.935 <= np.mean(held) <= 0.99


def test_one_class_is_the_paired_interval_itself():
    assert balanced_interval([[22, 14, 335]]) == pytest.approx(paired_interval(22, 14, 335))


def test_balanced_interval_leaves_out_a_class_without_images():
    assert balanced_interval([[3, 1, 20], [0, 0, 0]]) == balanced_interval([[3, 1, 20]])
