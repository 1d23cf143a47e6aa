import numpy as np
import pytest

from calibration.histogram import Histogram
from calibration.scales import (
    CANDIDATES,
    SMALLEST_AMAX,
    amax_minmax,
    amax_mse,
    amax_percentile,
    squared_error,
)


@pytest.fixture
def values():
    rng = np.random.RandomState(0)
    normal = rng.normal(size=200000)
    return np.concatenate([normal, [40.0, -55.5]]).astype(np.float32)


def histogram_of(values, pieces=7):
    histogram = Histogram()
    for piece in np.array_split(values, pieces):
        histogram.add(piece)
    return histogram


def test_minmax_is_the_largest_magnitude(values):
    assert amax_minmax(histogram_of(values)) == pytest.approx(55.5)


def test_mse_against_a_search_over_the_values_themselves(values):
    found = amax_mse(histogram_of(values))
    thresholds = 55.5 * np.arange(1, CANDIDATES + 1) / CANDIDATES
    errors = [squared_error(np.abs(values.astype(np.float64)), t).sum() for t in thresholds]
    best = float(thresholds[int(np.argmin(errors))])
    assert found == pytest.approx(best, rel=0.15)
    assert squared_error(np.abs(values.astype(np.float64)), found).sum() <= 1.02 * min(errors)
    assert found < 0.7 * 55.5  # it does cut the outliers


def test_percentile_against_numpy(values):
    for percentile in (50, 99, 99.9):
        expected = np.percentile(np.abs(values), percentile)
        width = histogram_of(values).width / 4096
        assert abs(amax_percentile(histogram_of(values), percentile) - expected) <= 2 * width
    assert amax_percentile(histogram_of(values), 100) == pytest.approx(55.5)
    with pytest.raises(ValueError, match="percentile in"):
        amax_percentile(histogram_of(values), 0)


def test_squared_error_by_hand():
    """Range 127 makes the scale 1: 3.4 becomes 3, 200 is clipped to 127."""
    assert squared_error(np.array([3.4, 200.0, 5.0]), 127.0) == pytest.approx([0.16, 73.0**2, 0.0])


def test_the_order_of_pieces_does_not_matter(values):
    whole = histogram_of(values, 1)
    for order in (values, values[::-1], np.sort(values)):
        pieces = histogram_of(order, 50)
        assert pieces.width == whole.width
        assert np.array_equal(pieces.counts, whole.counts)


def test_merging_is_adding(values):
    first, second = histogram_of(values[:1000]), histogram_of(values[1000:])
    first.merge(second)
    whole = histogram_of(values)
    assert np.array_equal(first.counts, whole.counts)
    assert (first.amax, first.zeros) == (whole.amax, whole.zeros)


def test_it_resumes_from_its_dict(values):
    histogram = Histogram.from_dict(histogram_of(values[:500]).to_dict())
    histogram.add(values[500:])
    assert np.array_equal(histogram.counts, histogram_of(values).counts)


def test_a_tensor_of_zeros_has_a_positive_scale():
    histogram = histogram_of(np.zeros(10, np.float32))
    for amax in (amax_minmax(histogram), amax_mse(histogram), amax_percentile(histogram, 99)):
        assert amax == SMALLEST_AMAX


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        Histogram().add(np.array([1.0, bad], np.float32))
