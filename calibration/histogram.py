"""Streaming histogram of |x|: memory does not grow with the number of images."""

import numpy as np

BINS = 4096


class Histogram(object):
    """Counts of |x| in equal bins over [0, width); the width doubles when a value lies outside.

    Doubling merges bins in pairs, which is exact: no value ever moves to a wrong bin.
    """

    def __init__(self):
        self.counts = np.zeros(BINS, np.int64)
        self.width = 0.0  # upper end of the last bin; 0 until a value other than 0 came
        self.amax = 0.0
        self.zeros = 0

    def add(self, values):
        """Count an array of any shape.

        Raises:
            ValueError: NaN or infinity in it.
        """
        magnitudes = np.abs(np.asarray(values, np.float32)).ravel()
        if not magnitudes.size:
            return
        largest = float(magnitudes.max())
        if not np.isfinite(largest):
            raise ValueError("expected finite values, got NaN or infinity")
        nonzero = magnitudes[magnitudes > 0]
        self.zeros += magnitudes.size - nonzero.size
        if not nonzero.size:
            return
        self._reach(largest)
        bins = np.minimum((nonzero * (BINS / self.width)).astype(np.int64), BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)

    def merge(self, other):
        """Add another histogram's counts; the widths are powers of two times each other."""
        self.zeros += other.zeros
        if not other.width:
            return
        copy = Histogram.from_dict(other.to_dict())
        self._reach(other.amax)
        while self.width < copy.width:
            self._double()
        while copy.width < self.width:
            copy._double()
        self.counts += copy.counts
        self.amax = max(self.amax, copy.amax)

    def centres(self):
        """(BINS,) float64, the middle of each bin."""
        return (np.arange(BINS) + 0.5) * (self.width / BINS)

    def to_dict(self):
        """JSON-able; `from_dict` gives the same histogram back."""
        return {
            "width": self.width,
            "amax": self.amax,
            "zeros": int(self.zeros),
            "counts": self.counts.tolist(),
        }

    @classmethod
    def from_dict(cls, stored):
        made = cls()
        made.width, made.amax, made.zeros = stored["width"], stored["amax"], stored["zeros"]
        made.counts = np.array(stored["counts"], np.int64)
        if made.counts.shape != (BINS,):
            raise ValueError("expected %d bins, got %r" % (BINS, made.counts.shape))
        return made

    def _reach(self, largest):
        self.amax = max(self.amax, largest)
        if not largest:
            return
        if not self.width:
            self.width = 2.0 ** np.ceil(np.log2(largest))
        while largest > self.width:
            self._double()

    def _double(self):
        self.counts = np.concatenate(
            [self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)]
        )
        self.width *= 2.0
