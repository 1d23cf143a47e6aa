"""Bootstrap intervals of few images: against Student's t, and how often they hold a known mean."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from edgedistill.evaluation import bootstrap
from edgedistill.evaluation.bootstrap import DRAWS, draws_of, interval_of


@pytest.mark.parametrize(("images", "t"), [(5, 2.776445), (10, 2.262157), (30, 2.045230), (1000, 1.962341)])
def test_the_ends_are_those_of_student_s_t(images, t):
    """Draws of n images vary by sqrt((n - 1) / n) of a mean's standard error; quantiles of t from a table."""
    drawn = np.array([NormalDist().inv_cdf((number + 0.5) / 20_000) for number in range(20_000)])
    low, high = interval_of(np.append(drawn, np.nan), images)
    assert high == pytest.approx(t * math.sqrt(images / (images - 1)), rel=0.01)
    assert low == pytest.approx(-high)


def test_the_interval_of_a_mean_of_eight_holds_it_as_often_as_it_says(rng):
    drawn = rng.normal(size=(1500, 8)) @ draws_of(8).T / 8
    held = [low <= 0 <= high for low, high in (interval_of(values, 8) for values in drawn)]
    assert 0.93 <= np.mean(held) <= 0.965  # three standard deviations are 0.017


def test_draws_are_of_as_many_images_and_the_same_for_equal_counts(monkeypatch):
    weights = draws_of(17)
    assert weights.shape == (DRAWS, 17)
    assert (weights.sum(axis=1) == 17).all()
    assert weights.var() == pytest.approx(16 / 17, rel=0.05), "of the binomial distribution of each image's count"
    assert np.array_equal(draws_of(17), weights), "two networks on the same images are compared draw by draw"
    bootstrap._counts_of.cache_clear()
    monkeypatch.setattr(bootstrap, "_MOST", 17 * 300)
    assert np.array_equal(draws_of(17), weights[:300]), "less memory"
    assert len(draws_of(170)) == 200
    bootstrap._counts_of.cache_clear()
