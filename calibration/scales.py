"""Where an INT8 range is cut: amax from a histogram. The scale is amax / 127, symmetric."""

import numpy as np

LEVELS = 127  # INT8, symmetric: -127..127
CANDIDATES = 128  # thresholds tried by the MSE search
SMALLEST_AMAX = 1e-8  # of a tensor that was always zero: any positive scale is exact


def amax_minmax(histogram):
    """The largest |x| that was seen."""
    return max(histogram.amax, SMALLEST_AMAX)


def amax_percentile(histogram, percentile):
    """|x| below which `percentile` per cent of all values lie, zeros included.

    Args:
        histogram: Histogram.
        percentile: in (0, 100].
    """
    if not 0 < percentile <= 100:
        raise ValueError("expected a percentile in (0, 100], got %r" % (percentile,))
    total = histogram.zeros + int(histogram.counts.sum())
    if not total or not histogram.width:
        return SMALLEST_AMAX
    below = histogram.zeros + np.cumsum(histogram.counts)
    position = int(np.searchsorted(below, total * percentile / 100.0))
    edge = (min(position, len(below) - 1) + 1) * histogram.width / len(below)
    return max(min(edge, histogram.amax), SMALLEST_AMAX)


def amax_mse(histogram):
    """The threshold with the least squared error of values rounded to INT8 and clipped.

    Candidates run evenly from 1/CANDIDATES of the largest value to the largest value. Values are
    taken at the middle of their bin.
    """
    if not histogram.width:
        return SMALLEST_AMAX
    filled = np.flatnonzero(histogram.counts)
    values = np.minimum(histogram.centres()[filled], histogram.amax)
    weights = histogram.counts[filled].astype(np.float64)
    thresholds = histogram.amax * np.arange(1, CANDIDATES + 1) / CANDIDATES
    errors = [float((weights * squared_error(values, amax)).sum()) for amax in thresholds]
    return max(float(thresholds[int(np.argmin(errors))]), SMALLEST_AMAX)


def squared_error(values, amax):
    """Squared difference between values >= 0 and their INT8 rounding with range `amax`."""
    scale = amax / LEVELS
    rounded = np.minimum(np.rint(values / scale), LEVELS) * scale
    return (values - rounded) ** 2
