"""Where an INT8 range is cut: amax from a histogram. The scale is amax / 127, symmetric."""

import numpy as np

from edgedistill_calibration.histogram import PER_DOUBLING, edges_of

LEVELS = 127  # INT8, symmetric: -127..127
CANDIDATES = 128  # thresholds tried by the MSE search
SMALLEST_AMAX = 1e-8  # of a tensor that was always zero: any positive scale is exact
THRESHOLDS = ("mse", "entropy", "percentile", "minmax")
_KL_BINS, _KL_LEVELS, _KL_STEP = 2048, 128, 16


def amax_from_histogram(histogram, threshold, percentile=99.99):
    """Largest |x| kept, by one of THRESHOLDS; `percentile` is for that one alone."""
    if threshold == "percentile":
        return amax_percentile(histogram, percentile)
    return {"mse": amax_mse, "entropy": amax_entropy, "minmax": amax_minmax}[threshold](histogram)


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
    first, last = histogram.filled()
    if not last:
        return SMALLEST_AMAX
    below = histogram.counts[0] + np.cumsum(histogram.counts[first:last])
    position = int(np.searchsorted(below, below[-1] * percentile / 100.0))
    edge = edges_of(first, last)[min(position, len(below) - 1) + 1]
    return max(min(float(edge), histogram.amax), SMALLEST_AMAX)


def amax_mse(histogram):
    """The threshold with the least squared error of values rounded to INT8 and clipped.

    Candidates run evenly from 1/CANDIDATES of the largest value to the largest value: first every
    eighth, then all around the best of those, since the error falls to one valley and rises again.
    """
    edges, counts = _spread(histogram)
    if not len(counts):
        return SMALLEST_AMAX
    density = counts / np.diff(edges)

    def best(numbers):
        scales = (histogram.amax / (CANDIDATES * LEVELS)) * numbers[:, np.newaxis]
        errors = np.diff(scales**3 * rounding_integral(edges / scales), axis=1).dot(density)
        return int(numbers[int(np.argmin(errors))])

    coarse = best(np.arange(8, CANDIDATES + 1, 8))
    fine = best(np.arange(max(1, coarse - 8), min(CANDIDATES, coarse + 8) + 1))
    return max(histogram.amax * fine / CANDIDATES, SMALLEST_AMAX)


def rounding_integral(steps):
    """Integral of the squared error of rounding and clipping, from 0 to `steps`, in steps cubed.

    A bin's mean squared error is the difference at its edges over its width: exact for values that
    are spread evenly in the bin, however wide it is against a step.
    """
    inside = np.minimum(steps, LEVELS)
    whole = np.floor(inside + 0.5)
    return whole / 12 + (inside - whole) ** 3 / 3 + (steps - inside) ** 3 / 3


def amax_entropy(histogram):
    """The threshold whose 128 levels lose the least information (Kullback-Leibler divergence).

    Every 16th of 2048 equal bins is tried, from the 128th on.

    Source: S. Migacz, 8-bit inference with TensorRT, GTC 2017, slides 38-39. Not NVIDIA's code.
    """
    if not histogram.amax:
        return SMALLEST_AMAX
    edges = histogram.amax * np.arange(_KL_BINS + 1) / _KL_BINS
    counts = np.diff(histogram.below(edges))
    candidates = range(_KL_LEVELS, _KL_BINS + 1, _KL_STEP)
    divergences = [_divergence(counts, bins) for bins in candidates]
    best = candidates[int(np.argmin(divergences))]
    return max(float(edges[best]), SMALLEST_AMAX)


def _divergence(counts, bins):
    """KL of the first `bins` bins, outliers added to the last, from their 128-level version."""
    reference = counts[:bins].copy()
    filled = reference > 0
    starts = np.arange(_KL_LEVELS) * bins // _KL_LEVELS
    sizes = np.diff(np.append(starts, bins))
    shared = np.add.reduceat(reference, starts) / np.maximum(np.add.reduceat(filled.astype(np.float64), starts), 1)
    coarse = np.where(filled, np.repeat(shared, sizes), 0.0)
    reference[-1] += counts[bins:].sum()
    if not coarse.sum():
        return np.inf
    p, q = reference / reference.sum(), coarse / coarse.sum()
    lost = (p > 0) & (q == 0)  # the outliers' bin, when it was empty
    both = (p > 0) & (q > 0)
    penalty = np.inf if lost.any() else 0.0
    return float((p[both] * np.log(p[both] / q[both])).sum()) + penalty


def _spread(histogram):
    """(N + 1,) edges and (N,) counts, zeros left out; below the largest values 16 bins become one."""
    first, last = histogram.filled()
    if not last:
        return np.empty(1), np.empty(0)
    first = max(first, last - 24 * PER_DOUBLING)  # what is smaller adds nothing to an error
    fine = max(first, last - 2 * PER_DOUBLING)
    codes = np.concatenate([np.arange(first, fine, 16), np.arange(fine, last)])
    counts = np.add.reduceat(histogram.counts[first:last], codes - first).astype(np.float64)
    edges = edges_of(first, last)[np.append(codes, last) - first]
    # The last bin may hold one single value (ReLU6's 6): it needs a width, not a wide one.
    edges[-1] = max(min(edges[-1], histogram.amax), edges[-2] * (1 + 1e-6))
    return edges, counts
