"""May a picture be made small in a cheaper way than training did? The network's answers to both, side by side.

The cheaper way gives other pixels. It passes where it moves the logits little and the first class of at most one
picture in a hundred; docs/board.md has the measurement behind these limits. What it costs is told either way.
"""

import time

import numpy as np

from edgedistill_device.errors import BackendError
from edgedistill_device.preprocess import Framer, to_input

FEWEST = 16  # pictures that a verdict needs
MOST_LOGIT_CHANGE = 0.05  # largest change of a logit / largest logit, mean over the pictures
MOST_CHANGED = 0.01  # of the pictures, those whose first class may change; none of fewer than 100
CONFIDENCE = 0.95


class Looks(object):
    """What the network sees of pictures and answers, one way of making them small.

    Attributes:
        views: [(H, W, 3) uint8], of the input's size.
        logits: (pictures, classes) float64.
        cpu_s: (pictures,) CPU time of this process, all its threads, for each view: reading, decoding, scaling.
    """

    def __init__(self, views, logits, cpu_s):
        self.views, self.logits, self.cpu_s = views, logits, cpu_s

    @classmethod
    def at(cls, pictures, spec, runner, bgr=False):
        """Looks at (height, width, 3) uint8 `pictures`; what the iterable does to give one is part of its CPU time.

        Raises:
            BackendError: an answer is NaN or infinite.
        """
        framer, views, clock = Framer(spec), [], [time.process_time()]
        for picture in pictures:
            views.append(framer(picture)[:, :, :: -1 if bgr else 1].copy())
            clock.append(time.process_time())
        logits = np.array([runner.infer(to_input(seen, spec))[0] for seen in views], np.float64)
        if not np.isfinite(logits).all():
            raise BackendError("the network gives NaN or infinity here; run: python3 -m edgedistill_device verify")
        return cls(views, logits, np.diff(clock))

    def of(self, numbers):
        """Looks at those pictures alone."""
        return Looks([self.views[number] for number in numbers], self.logits[numbers], self.cpu_s[numbers])


def compared(whole, small, labels=None, most_changed=MOST_CHANGED):
    """How far one way is from the other, JSON-able.

    Args:
        whole, small: Looks of the same pictures, in the same order.
        labels: (pictures,) int, or None.
        most_changed: fraction of the pictures whose first class may change.

    Returns:
        images; mean_pixel_difference in grey levels; mean_logit_change and largest_logit_change of the largest logit;
        top1_agreement_fraction and least_agreement_fraction (its lower bound at CONFIDENCE); top1_fraction_whole and
        top1_fraction against the labels, or null; cpu_ms_whole and cpu_ms of a picture; passes: the limits are kept and
        CPU time is saved.
    """
    first, second, images = whole.logits, small.logits, len(whole.views)
    pixels = [np.abs(a.astype(np.int16) - b).mean() for a, b in zip(whole.views, small.views)]
    changes = np.abs(second - first).max(axis=1) / np.abs(first).max(axis=1)
    changed = int((first.argmax(1) != second.argmax(1)).sum())
    mean_change = float(changes.mean())
    kept = mean_change <= MOST_LOGIT_CHANGE and changed <= int(most_changed * images)
    return {
        "images": images,
        "mean_pixel_difference": float(np.mean(pixels)),
        "mean_logit_change": mean_change,
        "largest_logit_change": float(changes.max()),
        "top1_agreement_fraction": 1 - changed / float(images),
        "least_agreement_fraction": 1 - most_fraction(changed, images),
        "top1_fraction_whole": None if labels is None else float((first.argmax(1) == labels).mean()),
        "top1_fraction": None if labels is None else float((second.argmax(1) == labels).mean()),
        "cpu_ms_whole": 1e3 * float(whole.cpu_s.mean()),
        "cpu_ms": 1e3 * float(small.cpu_s.mean()),
        "passes": kept and bool(small.cpu_s.sum() < whole.cpu_s.sum()),
    }


def most_fraction(count, images):
    """The upper bound of a fraction of which `count` in `images` were seen, one-sided at CONFIDENCE.

    Source: Clopper and Pearson, Biometrika 26, 1934; without scipy by bisection.
    """
    low, high = count / float(images), 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(count, images, middle) > 1 - CONFIDENCE else (low, middle)
    return high


def _at_most(count, images, fraction):
    """The probability of at most `count` in `images` where each has the probability `fraction` < 1."""
    term, total = (1 - fraction) ** images, 0.0
    for number in range(count + 1):
        total, term = total + term, term * (images - number) / (number + 1.0) * fraction / (1 - fraction)
    return total
