"""From the answers to single frames of a camera or video to one that does not flicker.

A bundle carries the rule in its manifest's provenance, where agents of before pass it over:
{"smoothing": {"by": "votes", "frames": 15, "margin": 0.2, "hold": 3}}. A bundle without it smooths nothing.
"""

import collections
from typing import NamedTuple

import numpy as np

from edgedistill_device.errors import ManifestError
from edgedistill_device.inference.decide import UNKNOWN, probabilities_of

SMOOTHING = "smoothing"
WAYS = ("votes", "mean")

Rule = NamedTuple(
    "Rule",
    [
        ("by", str),  # of WAYS
        ("frames", int),  # votes: of the last so many; mean: exponential, the newest counts 2 / (frames + 1)
        ("margin", float),  # of the shares, by which another answer has to lead the one that is given, 0 to below 1
        ("hold", int),  # frames in a row for which it has to lead so, at least 1
    ],
)


def rule_of(manifest):
    """The Rule of a bundle; None of bundles that have none.

    Raises:
        ManifestError: what stands there is not what edgedistill writes.
    """
    stored = manifest.provenance.get(SMOOTHING)
    try:
        return None if stored is None else rule_from_json(stored)
    except (KeyError, TypeError, ValueError):
        raise ManifestError(
            "manifest.json: smoothing is %.80r, which edgedistill does not write; deploy bundle and "
            "edgedistill_device/ from the same commit" % (stored,)
        )


def rule_from_json(row):
    """The Rule of what stands in a manifest.

    Raises:
        KeyError, TypeError, ValueError: it is not what edgedistill writes.
    """
    rule = Rule(**row)
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in (rule.frames, rule.hold))
    if rule.by not in WAYS or not whole or rule.frames < 2 or rule.hold < 1 or not 0 <= rule.margin < 1:
        raise ValueError("expected votes or a mean over at least 2 frames")
    return rule


class Smoother(object):
    """The answers to the frames of one camera or video, in their order.

    Every frame gives shares that add up to 1. By votes: all to its own answer. By mean: each class its probability,
    where the likeliest class is the answer; all to the answer where a threshold or `unknown` decided. What is smoothed
    is the mean of the shares, over a window or exponential. Another answer takes the place of the given one when it has
    led it by `margin` for `hold` frames in a row; the first answer of all needs no margin.
    """

    def __init__(self, rule, classes, temperature=1.0):
        self._rule, self._names, self._temperature = rule, list(classes) + [UNKNOWN], temperature
        self._votes = collections.deque(maxlen=rule.frames)
        self._mean, self._weight = np.zeros(len(self._names)), 0.0
        self._given = self._leader = None
        self._led = self._frames = self._since = 0

    def __call__(self, said, logits):
        """What is said of one more frame.

        Args:
            said: what `decide.answer` says of it.
            logits: (classes,) float.

        Returns:
            {"class", "share", "frames"}: the smoothed answer, None until one has led for `hold` frames; its share of
            what was seen; for how many frames it has been given, this one included.
        """
        shares = self._smoothed(self._shares(said, logits))
        self._frames += 1
        leader = int(np.argmax(shares))
        needed = 0.0 if self._given is None else shares[self._given] + self._rule.margin
        if leader == self._given or shares[leader] < needed - 1e-9:  # of sums of shares
            self._leader, self._led = None, 0
        else:
            self._led = self._led + 1 if leader == self._leader else 1
            self._leader = leader
            if self._led >= self._rule.hold:
                self._given, self._since, self._leader, self._led = leader, self._frames, None, 0
        if self._given is None:
            return {"class": None, "share": None, "frames": 0}
        share = round(float(shares[self._given]), 4)
        return {"class": self._names[self._given], "share": share, "frames": self._frames - self._since + 1}

    def _shares(self, said, logits):
        """(classes + 1,) of one frame; the last is of UNKNOWN."""
        name = said.get("class", said["top"][0]["class"])
        place, shares = self._names.index(name), np.zeros(len(self._names))
        if self._rule.by == "mean" and said.get("decided_by", "probability") == "probability":
            shares[:-1] = probabilities_of(logits, self._temperature)
            shares[:-1][shares[:-1] > shares[place]] = 0  # classes that did not reach their threshold
            return shares / shares.sum()
        shares[place] = 1
        return shares

    def _smoothed(self, shares):
        """(classes + 1,): the mean of the shares so far."""
        if self._rule.by == "votes":
            self._votes.append(shares)
            return np.mean(self._votes, axis=0)
        newest = 2.0 / (self._rule.frames + 1)
        self._mean += newest * (shares - self._mean)
        self._weight += newest * (1 - self._weight)  # of all frames so far: the mean begins at 0
        return self._mean / self._weight
