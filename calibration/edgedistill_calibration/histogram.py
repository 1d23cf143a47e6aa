"""Streaming histogram of |x|: memory does not grow with the number of images.

The bins are those of the float32 format itself: exponent and the upper 7 bits of the mantissa, 128
bins for each doubling. So a bin is the upper half of a value's bits, nothing has to be known of the
range before the first value, and two histograms merge by adding their counts.
"""

import numpy as np

BINS = 0x7F80  # the codes of finite magnitudes; infinity and NaN come after
PER_DOUBLING = 128
_NEGATIVE = 0x8000  # the sign bit of a code
_LITTLE = np.dtype("<f4")


class Histogram(object):
    """Counts of |x| over all magnitudes of float32; bin 0 holds zero and what is below 1e-40."""

    def __init__(self):
        self.counts = np.zeros(BINS, np.int64)
        self.amax = 0.0  # the largest |x|, exact

    def add(self, values):
        """Count an array of any shape.

        Raises:
            ValueError: NaN or infinity in it; nothing of it is counted then.
        """
        flat = np.ascontiguousarray(values, _LITTLE).reshape(-1)
        if flat.size:
            largest = largest_of(flat)
            self.count(codes_of(flat))
            self.amax = max(self.amax, largest)

    def count(self, codes):
        """Count what `codes_of` gave; `amax` is left alone."""
        counts = np.bincount(codes, minlength=2 * _NEGATIVE)
        self.counts += counts[:BINS]
        self.counts += counts[_NEGATIVE : _NEGATIVE + BINS]

    def merge(self, other):
        """Add another histogram's counts."""
        self.counts += other.counts
        self.amax = max(self.amax, other.amax)

    def filled(self):
        """(first, last + 1) of the bins from the smallest to the largest value that is not 0.

        Both 0 when there is none.
        """
        bins = np.flatnonzero(self.counts[1:])
        return (int(bins[0]) + 1, int(bins[-1]) + 2) if bins.size else (0, 0)

    def below(self, values):
        """(N,) float64: how many counted |x| lie below each of (N,) values >= 0.

        Inside a bin the counts are taken as evenly spread.
        """
        first, last = self.filled()
        if not last:
            return np.full(len(values), float(self.counts[0]))
        edges = np.minimum(edges_of(first, last), self.amax)
        sums = self.counts[0] + np.concatenate([[0], np.cumsum(self.counts[first:last])])
        return np.interp(values, edges, sums, left=float(self.counts[0]))


def largest_of(values):
    """The largest |x| of a float32 array that is not empty.

    Raises:
        ValueError: NaN or infinity in it.
    """
    largest = max(float(values.max()), -float(values.min()))
    if not np.isfinite(largest):
        raise ValueError("expected finite values, got NaN or infinity")
    return largest


def codes_of(values):
    """(N,) uint16: sign, exponent and 7 bits of the mantissa of (N,) contiguous float32."""
    return values.astype(_LITTLE, copy=False).view("<u2")[1::2]


def edges_of(first, last):
    """(last - first + 1,) float64: lower edges of bins first..last-1 and the last one's upper edge."""
    codes = np.arange(first, last + 1, dtype=np.uint32)
    edges = (codes << np.uint32(16)).view(np.float32).astype(np.float64)
    return np.where(codes < BINS, edges, 2.0**128)
