"""What a cheaper way of making pictures small changes, and when that is borne."""

import math

import numpy as np
import pytest

from edgedistill_device.errors import BackendError
from edgedistill_device.inference.parity import FEWEST, Looks, compared, most_fraction
from edgedistill_device.preprocess_spec import Preprocess

SPEC = Preprocess(4, 4, "area", (0.5,) * 3, (0.5,) * 3)


def looks(logits, grey=10, cpu_s=1.0):
    logits = np.array(logits, float)
    return Looks([np.full((4, 4, 3), grey, np.uint8)] * len(logits), logits, np.full(len(logits), cpu_s))


def sure(images=100):
    """First class by far, largest logit 10."""
    return np.tile([10.0, 2.0, 1.0], (images, 1))


def test_the_figures_by_hand():
    small = sure(4)
    small[0] = [9.5, 2.0, 1.0]
    small[1] = [1.0, 10.0, 1.0]
    labels = np.array([0, 1, 0, 2])
    found = compared(looks(sure(4), 10, 0.008), looks(small, 13, 0.002), labels)
    assert (found["images"], found["mean_pixel_difference"]) == (4, 3)
    assert found["mean_logit_change"] == pytest.approx((0.05 + 0.9) / 4)
    assert found["largest_logit_change"] == pytest.approx(0.9)
    assert found["top1_agreement_fraction"] == 0.75
    assert (found["top1_fraction_whole"], found["top1_fraction"]) == (0.5, 0.75)
    assert (found["cpu_ms_whole"], found["cpu_ms"]) == (pytest.approx(8), pytest.approx(2))
    assert found["passes"] is False
    assert compared(looks(sure(4)), looks(sure(4)))["top1_fraction"] is None


@pytest.mark.parametrize(
    ("images", "changed", "change", "cpu_s", "passes"),
    [
        (100, 1, 0.0, 0.5, True),
        (100, 2, 0.0, 0.5, False),
        (99, 1, 0.0, 0.5, False),  # of fewer than a hundred none
        (99, 0, 0.049, 0.5, True),
        (99, 0, 0.051, 0.5, False),
        (99, 0, 0.0, 1.0, False),  # saves nothing
    ],
)
def test_what_is_borne(images, changed, change, cpu_s, passes):
    small = sure(images)
    small[:, 2] += 10 * change
    small[:changed] = [9.99, 10.0, 1.0]  # the first class changes, the logits of the others decide on the mean
    whole = sure(images)
    whole[:changed] = [10.0, 9.99, 1.0]
    assert compared(looks(whole), looks(small, cpu_s=cpu_s))["passes"] is passes
    if changed == 2:
        assert compared(looks(whole), looks(small, cpu_s=cpu_s), None, 0.02)["passes"] is True


@pytest.mark.parametrize(("count", "images"), [(0, 16), (0, 32), (1, 32), (3, 100), (128, 128)])
def test_the_bound_is_clopper_and_pearsons(count, images):
    """Written another way: with that fraction, so few or fewer are seen once in twenty times."""
    bound = most_fraction(count, images)
    if count == images:
        assert bound == 1
        return

    def ways(number):
        return math.factorial(images) // (math.factorial(number) * math.factorial(images - number))

    seen = sum(ways(number) * bound**number * (1 - bound) ** (images - number) for number in range(count + 1))
    assert seen == pytest.approx(0.05, abs=1e-4)
    if count == 0:
        assert bound == pytest.approx(1 - 0.05 ** (1.0 / images), abs=1e-5)
    assert FEWEST == 16  # what docs/board.md says of it: 83 of 100 at least
    assert 1 - most_fraction(0, 16) == pytest.approx(0.829, abs=1e-3)


class MeanColour(object):
    def infer(self, batch):
        return batch.mean(axis=(2, 3))


def test_looks_are_at_what_the_network_sees():
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[..., 2] = 255
    for bgr, channel in ((False, 2), (True, 0)):
        seen = Looks.at(iter([picture, picture]), SPEC, MeanColour(), bgr)
        assert [view.shape for view in seen.views] == [(4, 4, 3)] * 2
        assert seen.logits.shape == (2, 3)
        assert seen.logits[0].argmax() == channel
        assert (seen.cpu_s >= 0).all()
        assert len(seen.of(np.array([1])).views) == len(seen.of(np.array([1])).cpu_s) == 1


def test_an_answer_that_is_no_number_ends_it():
    class Broken(object):
        def infer(self, batch):
            return np.array([[np.nan, 1.0]])

    with pytest.raises(BackendError, match="gives NaN or infinity here"):
        Looks.at([np.zeros((4, 4, 3), np.uint8)], SPEC, Broken())
