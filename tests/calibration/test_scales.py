import numpy as np
import pytest

from edgedistill_calibration.histogram import Histogram
from edgedistill_calibration.scales import (
    CANDIDATES,
    LEVELS,
    SMALLEST_AMAX,
    THRESHOLDS,
    _divergence,
    amax_entropy,
    amax_from_histogram,
    amax_minmax,
    amax_mse,
    amax_percentile,
    rounding_integral,
)


def squared_error(values, amax):
    """Of values >= 0 rounded to INT8 one by one."""
    rounded = np.minimum(np.rint(values / (amax / LEVELS)), LEVELS) * (amax / LEVELS)
    return (values - rounded) ** 2


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


@pytest.mark.parametrize("kind", ["relu6", "laplace", "squares", "even", "tiny", "two values", "one value"])
def test_no_threshold_of_the_search_has_less_error(kind):
    """Of distributions with the most at the end, with a long tail, and of a few values."""
    rng = np.random.RandomState(1)
    drawn = {
        "relu6": np.clip(rng.normal(4, 3, size=20000), 0, 6),
        "laplace": rng.laplace(size=20000),
        "squares": rng.normal(size=20000) ** 4,
        "even": rng.uniform(-1, 1, size=20000),
        "tiny": 1e-5 * rng.normal(size=20000),
        "two values": np.array([0.25] * 1000 + [-100.0]),
        "one value": np.full(50, -3.0),
    }[kind].astype(np.float32)
    magnitudes = np.abs(drawn.astype(np.float64))
    thresholds = magnitudes.max() * np.arange(1, CANDIDATES + 1) / CANDIDATES
    least = min(squared_error(magnitudes, threshold).sum() for threshold in thresholds)
    found = amax_mse(histogram_of(drawn))
    assert found <= magnitudes.max() * (1 + 1e-6)
    assert squared_error(magnitudes, found).sum() <= 1.05 * least + 1e-12


def test_percentile_against_numpy(values):
    for percentile in (0.5, 50, 99, 99.9):
        expected = np.percentile(np.abs(values), percentile)
        assert amax_percentile(histogram_of(values), percentile) == pytest.approx(expected, rel=0.01)
    assert amax_percentile(histogram_of(values), 100) == pytest.approx(55.5)
    for bad in (0, -1, 100.1):
        with pytest.raises(ValueError, match="percentile in"):
            amax_percentile(histogram_of(values), bad)


def test_the_rounding_integral_by_hand():
    """Half a step: integral of t squared. A whole step: 1/12. Beyond 127: the cube of the excess."""
    found = rounding_integral(np.array([0.5, 1.0, 3.0, 127.0, 130.0]))
    assert found == pytest.approx([1 / 24, 1 / 12, 3 / 12, 127 / 12, 127 / 12 + 9.0])


@pytest.mark.parametrize("steps", [0.25, 0.75, 1.4, 1.6, 126.7, 128.3])
def test_the_rounding_integral_against_a_sum_of_small_parts(steps):
    """Between whole steps as well: above a half it is the next level that is rounded to."""
    t = (np.arange(100000) + 0.5) * steps / 100000
    squares = (t - np.minimum(np.rint(t), LEVELS)) ** 2
    assert rounding_integral(np.array([steps]))[0] == pytest.approx(squares.mean() * steps, rel=1e-6)


def test_entropy_against_a_search_over_exact_linear_bins(values):
    """The same search on numpy's own histogram of the values, written out bin by bin."""
    counts = np.histogram(np.abs(values), 2048, (0, 55.5))[0].astype(float)

    def divergence(bins):
        p = counts[:bins].copy()
        q = np.zeros(bins)
        for level in range(128):
            first, last = level * bins // 128, (level + 1) * bins // 128
            filled = [i for i in range(first, last) if p[i]]
            for i in filled:
                q[i] = p[first:last].sum() / len(filled)
        p[-1] += counts[bins:].sum()
        p, q = p / p.sum(), q / q.sum()
        if ((q == 0) & (p > 0)).any():
            return np.inf
        return sum(a * np.log(a / b) for a, b in zip(p, q) if a)

    for bins in (128, 144, 1000, 2048):
        assert _divergence(counts, bins) == pytest.approx(divergence(bins), rel=1e-9)
    kept = min(range(128, 2049, 16), key=divergence)
    found = amax_entropy(histogram_of(values))
    assert found == pytest.approx(55.5 * kept / 2048, rel=0.15)
    assert found < 0.3 * 55.5  # two outliers are not worth the levels


def test_bins_are_the_upper_bits_of_a_float():
    histogram = histogram_of(np.array([0, 1, -1, 1.004, 1.9, -3e38, 1e-42], np.float32), 1)
    assert histogram.counts[0x3F80] == 3  # 1, -1 and 1.004
    assert histogram.counts[0] == 2
    assert histogram.counts.sum() == 7
    assert histogram.filled() == (0x3F80, 0x7F61 + 1)


def test_how_many_lie_below_a_value(values):
    histogram = histogram_of(values)
    asked = np.array([0.0, 0.01, 0.5, 1.0, 3.3, 39.0, 41.0, 55.5, 99.0])
    below = (np.abs(values)[:, np.newaxis] < asked).sum(axis=0)
    assert histogram.below(asked)[1:] == pytest.approx([*below[1:-2], len(values), len(values)], rel=0.01)
    assert histogram.below(asked)[0] == histogram.counts[0]
    assert Histogram().below(asked).tolist() == [0.0] * len(asked)


def test_the_order_of_pieces_does_not_matter(values):
    whole = histogram_of(values, 1)
    for order in (values, values[::-1], np.sort(values)):
        pieces = histogram_of(order, 50)
        assert np.array_equal(pieces.counts, whole.counts)


@pytest.mark.parametrize("order", [1, -1])
def test_merging_is_adding_whichever_holds_the_largest(values, order):
    first, second = [histogram_of(part) for part in (values[:1000], values[1000:])][::order]
    first.merge(second)
    whole = histogram_of(values)
    assert np.array_equal(first.counts, whole.counts)
    assert first.amax == whole.amax == 55.5


def test_the_largest_magnitude_stays_whatever_comes_after_it(values):
    for order in (values, values[::-1], -values[::-1]):
        assert histogram_of(order, 50).amax == 55.5


def test_zeros_are_values_of_which_a_percentile_is(values):
    """As after a ReLU: with half of all values 0, the 99th percentile is the 98th of the rest."""
    half_zeros = np.concatenate([values, np.zeros(len(values), np.float32)])
    expected = np.percentile(np.abs(half_zeros), 99)
    assert amax_percentile(histogram_of(half_zeros), 99) == pytest.approx(expected, rel=0.01)
    assert expected < 0.95 * np.percentile(np.abs(values), 99)


def test_a_tensor_of_zeros_has_a_positive_scale():
    histogram = histogram_of(np.zeros(10, np.float32))
    for threshold in THRESHOLDS:
        assert amax_from_histogram(histogram, threshold) == SMALLEST_AMAX


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        Histogram().add(np.array([1.0, bad], np.float32))
