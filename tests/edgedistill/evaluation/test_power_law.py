"""The curve of error against the number of images: by numpy's polyfit, the textbook interval, and simulation."""

import numpy as np
import pytest
from scipy import stats

from edgedistill.evaluation.power_law import fit_power_law


def test_errors_that_follow_a_power_of_the_images_are_foretold_exactly():
    images = [100, 350, 800, 2000]
    law = fit_power_law(images, [3.0 * count**-0.4 for count in images], 500)
    assert law.exponent == pytest.approx(0.4)
    for count in (4000, 10_000):
        assert law.expected(count) == pytest.approx([3.0 * count**-0.4] * 3)


def test_line_and_interval_are_those_of_a_regression_of_the_logarithms():
    images, errors, wanted = [120, 450, 450, 780, 1420], [0.41, 0.30, 0.27, 0.26, 0.19], 2840
    law = fit_power_law(images, errors, 300)
    x, y, at = np.log(images), np.log(errors), np.log(wanted)
    slope, level = np.polyfit(x, y, 1)
    assert law.exponent == pytest.approx(-slope)
    # The interval by the normal equations instead: s^2 (1 + a' (X'X)^-1 a) with a = (1, log images).
    design = np.stack([np.ones_like(x), x], axis=1)
    left = y - design @ [level, slope]
    point = np.array([1.0, at])
    spread = np.sqrt(left @ left / 3 * (1 + point @ np.linalg.inv(design.T @ design) @ point))
    low, high = stats.t.interval(0.95, 3, loc=level + slope * at, scale=spread)
    assert law.expected(wanted) == pytest.approx((np.exp(level + slope * at), np.exp(low), np.exp(min(high, 0))))


def test_the_interval_holds_19_of_20_further_trainings():
    rng, held = np.random.default_rng(0), 0
    images = [100, 200, 400, 800]
    for _ in range(2000):
        truth = [2.0 * count**-0.3 * np.exp(rng.normal(scale=0.05)) for count in (*images, 1600)]
        _, low, high = fit_power_law(images, truth[:-1], 100_000).expected(1600)
        held += low <= truth[-1] <= high
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_an_error_stays_within_0_and_1_and_none_is_half_an_image():
    law = fit_power_law([10, 20, 40], [0.8, 0.9, 0.95], 50)
    assert law.exponent < 0
    assert law.expected(1e9)[0] == law.expected(1e9)[2] == 1
    assert fit_power_law([10, 20, 40], [0.2, 0.1, 0.0], 50) == fit_power_law([10, 20, 40], [0.2, 0.1, 0.01], 50)


def test_two_sizes_tell_no_curve():
    assert fit_power_law([10, 20, 20], [0.3, 0.2, 0.25], 50) is None
