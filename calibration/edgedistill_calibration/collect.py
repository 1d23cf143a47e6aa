"""Histograms of many tensors over many images, kept on disk so that a killed run goes on."""

import os
import time

import numpy as np

from edgedistill_calibration.histogram import Histogram, codes_of, largest_of

SAVE_SECONDS = 3.0  # between two states on disk: what a kill can lose
COUNTED = 1 << 20  # values of one tensor, of all images together, from which large ones are sampled
LEAST_COUNTED = 1 << 11  # values of one tensor and image that are always counted
_WAITING = 1 << 16  # codes of one tensor that are counted together


class Collector(object):
    """One histogram a tensor, and how many images are in them.

    Args:
        names: tensors.
        images: how many will come.
        path: file of the state, or None to keep none. A state of another `key` is thrown away.
        key: str that says what is counted: model, images and their order.
        clock: seconds, for tests.
    """

    def __init__(self, names, images, path=None, key="", clock=time.time):
        self.histograms = {name: Histogram() for name in names}
        self.images = 0
        self._waiting = {}
        self._each = max(LEAST_COUNTED, COUNTED // max(1, images))
        self._path, self._key, self._clock = path, key, clock
        self._saved_at = clock()
        if path is not None and os.path.exists(path):
            self._load()

    def add(self, values):
        """Count one piece of images, the next in order, and save when it is time.

        Args:
            values: {tensor name: (n, ...) float32}, n the same in all.

        Raises:
            ValueError: a tensor with NaN or infinity, named, with the image's number.
        """
        for name, tensor in values.items():
            tensor = np.ascontiguousarray(tensor, np.float32)
            try:
                largest = largest_of(tensor)
            except ValueError as error:
                bad = [i for i in range(len(tensor)) if not np.isfinite(tensor[i]).all()]
                raise ValueError("image %d: tensor %s: %s" % (self.images + bad[0], name, error))
            histogram = self.histograms[name]
            histogram.amax = max(histogram.amax, largest)
            self._wait(name, codes_of(sampled(tensor, self.images, self._each)))
        self.images += len(tensor)
        if self._path is not None and self._clock() - self._saved_at >= SAVE_SECONDS:
            self.save()

    def _wait(self, name, codes):
        """Few large counts are much faster than many small ones."""
        waiting = self._waiting.setdefault(name, [])
        waiting.append(codes.copy())  # not a view that would keep the whole tensor
        if sum(len(piece) for piece in waiting) >= _WAITING:
            self._count(name)

    def _count(self, name):
        waiting = self._waiting.pop(name, None)
        if waiting:
            self.histograms[name].count(np.concatenate(waiting))

    def finish(self):
        """The histograms, all values counted."""
        for name in self.histograms:
            self._count(name)
        return self.histograms

    def save(self):
        """Write beside and rename: the state on disk is whole at any instant."""
        self.finish()
        arrays = {"key": np.array(self._key), "images": np.array(self.images)}
        for number, name in enumerate(sorted(self.histograms)):
            histogram = self.histograms[name]
            filled = np.flatnonzero(histogram.counts)
            arrays["bins%d" % number] = filled.astype(np.uint16)
            arrays["counts%d" % number] = histogram.counts[filled]
            arrays["amax%d" % number] = np.array(histogram.amax)
        beside = str(self._path) + ".tmp"
        with open(beside, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, str(self._path))
        self._saved_at = self._clock()

    def _load(self):
        """Continue with what is kept; from a damaged file, or one of something else, nothing is taken."""
        try:
            # allow_pickle: numpy below 1.16.3 says True
            with open(str(self._path), "rb") as file, np.load(file, allow_pickle=False) as stored:
                state = {name: stored[name] for name in stored.files}
        except Exception:  # of damaged bytes zipfile, zlib and numpy make a dozen types
            return
        if str(state.get("key")) != self._key:
            return
        self.images = int(state["images"])
        for number, name in enumerate(sorted(self.histograms)):
            histogram = self.histograms[name]
            histogram.counts[state["bins%d" % number]] = state["counts%d" % number]
            histogram.amax = float(state["amax%d" % number])


def sampled(values, first, wanted):
    """(N,) float32 of an array (n, ...): all, or of large images every k-th row.

    k shares no factor with the number of rows in a channel, and the first row jumps from piece to
    piece, so that over many pieces every place is seen.

    Args:
        first: number of the first image.
        wanted: values of one image from which rows are left out; the amax is taken of all.
    """
    each = values.size // len(values)
    if each <= wanted or values.ndim < 3:
        return values.reshape(-1)
    rows = values.reshape(-1, values.shape[-1])
    step = -(-each // wanted)
    while _common_divisor(step, values.shape[-2]) > 1:
        step += 1
    start = (first * 40503 >> 7) % step  # scattered: pieces may share a factor with the step
    return rows[start::step].reshape(-1)


def _common_divisor(a, b):
    while b:
        a, b = b, a % b
    return a
