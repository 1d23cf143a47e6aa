"""What more training images would bring: the error on test images as a power of how many a network learnt from.

Source: Cortes et al. 1993, NIPS 6, 327-334 (learning curves from smaller training sets); Hestness et al. 2017,
arXiv:1712.00409, section 3 (the error falls as a power of the number of images).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgedistill.evaluation.intervals import CONFIDENCE

FEWEST = 3  # different numbers of images: a line goes through two of them whatever they are


@dataclass(frozen=True)
class PowerLaw:
    """log(error) = level - exponent * (log(images) - middle), by least squares.

    Attributes:
        exponent: above 0 where the error falls.
        level: log error in the middle.
        middle: mean log number of images.
        width: sum of squared distances from the middle.
        deviation: standard deviation of one training around the line, of the log error.
        trainings: that the line was fitted to.
    """

    exponent: float
    level: float
    middle: float
    width: float
    deviation: float
    trainings: int

    def expected(self, images: float) -> tuple[float, float, float]:
        """Error of one further training on so many images, and low and high of its 95 % prediction interval; 0..1.

        The interval holds the line, the spread of trainings around it, and how far it is extended; not the case that
        the law itself ends, as at the error of the teacher.
        """
        from scipy.special import stdtrit  # scipy.stats takes a second to import

        distance = math.log(images) - self.middle
        middle = self.level - self.exponent * distance
        spread = self.deviation * math.sqrt(1 + 1 / self.trainings + distance**2 / self.width)
        half = float(stdtrit(self.trainings - 2, (1 + CONFIDENCE) / 2)) * spread
        return (
            math.exp(min(middle, 0.0)),
            math.exp(min(middle - half, 0.0)),
            math.exp(min(middle + half, 0.0)),
        )


def fit_power_law(images: list[int], errors: list[float], test_images: int) -> PowerLaw | None:
    """Fit the line, each training with the same weight.

    Args:
        images: that each training learnt from, at least 1.
        errors: of each on the test images, 0..1; less than half a test image counts as half of one.
        test_images: how many there are.

    Returns:
        None with fewer than FEWEST different numbers of images.
    """
    if len(set(images)) < FEWEST:
        return None
    x, y = np.log(images), np.log(np.maximum(errors, 0.5 / test_images))
    distance = x - x.mean()
    width = float(distance @ distance)
    slope = float(distance @ y) / width
    left = y - y.mean() - slope * distance
    deviation = math.sqrt(float(left @ left) / (len(x) - 2))
    return PowerLaw(-slope, float(y.mean()), float(x.mean()), width, deviation, len(x))
