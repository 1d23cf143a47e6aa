"""`verify` near its limits: one logit of one image, just within and just beyond, and whose tolerance."""

import json
import os

import cv2
import numpy as np
import pytest

from bundles import make_bundle, sign
from edgedistill_device.engine import verify
from edgedistill_device.errors import VerifyError
from edgedistill_device.manifest import read_manifest

TOLERANCE = {"fp32": 1e-3, "fp16": 3e-2, "int8": 0.3}


class Answers(object):
    """A runner that gives these logits, an image at a time."""

    backend, engine_sha256 = "onnxruntime", None

    def __init__(self, logits, executed="fp16"):
        self._rows, self.executed = iter(logits), executed

    def infer(self, batch):
        return next(self._rows)[np.newaxis].astype(np.float32)


@pytest.fixture
def bundle(tmp_path):
    folder = make_bundle(tmp_path / "bundle")
    sign(folder, tolerance=TOLERANCE)
    return folder


def goldens(bundle):
    return np.load(os.path.join(bundle, "golden", "logits.npy")).astype(np.float64)


def compared(bundle, logits, executed="fp16"):
    return verify.compare(bundle, read_manifest(bundle), Answers(logits, executed))


@pytest.mark.parametrize("executed", sorted(TOLERANCE))
@pytest.mark.parametrize("sign_of_it", [-1, 1])
@pytest.mark.parametrize("place", [(0, 0), (2, 1), (3, 0)])
def test_one_wrong_logit_of_one_image_counts_whole(bundle, executed, sign_of_it, place):
    """Of the workstation's largest logit, neither a mean over all nor of what came out here."""
    expected = goldens(bundle)
    limit = TOLERANCE[executed] * np.abs(expected).max()
    for share, passes in ((0.99, True), (1.01, False)):
        logits = expected.copy()
        logits[place] += sign_of_it * share * limit
        if passes:
            found = compared(bundle, logits, executed)
            assert found["max_relative_difference"] == pytest.approx(0.99 * TOLERANCE[executed], rel=1e-2)
            assert found["tolerance"] == TOLERANCE[executed]
        else:
            with pytest.raises(VerifyError, match="logits differ from the workstation's by .* for " + executed):
                compared(bundle, logits, executed)


def test_the_difference_is_of_the_workstations_largest_logit(bundle):
    """An engine that gives logits twice too large must not widen its own limit."""
    expected = goldens(bundle)
    tolerance = dict(TOLERANCE, fp16=0.75)
    sign(bundle, tolerance=tolerance)
    with pytest.raises(VerifyError, match="by 1 of the largest, limit 0.75 for fp16"):
        compared(bundle, 2 * expected)


def test_agreement_is_with_the_workstation_and_accuracy_with_the_labels(bundle):
    """One image whose two logits change places, within the tolerance of int8."""
    expected = goldens(bundle)
    near = np.abs(expected[:, 0] - expected[:, 1]).argmin()
    sign(bundle, tolerance=dict(TOLERANCE, int8=3.0))
    logits = expected.copy()
    logits[near] = logits[near, ::-1]
    found = compared(bundle, logits, "int8")
    assert (found["images"], found["executed"]) == (4, "int8")
    assert found["top1_agreement_fraction"] == found["top1_fraction"] == 0.75


@pytest.mark.parametrize(("first", "last", "passes"), [(0, 1, True), (0, 2, False), (0, 4, False), (2, 4, False)])
def test_the_same_output_for_several_images_is_refused_within_any_tolerance(bundle, first, last, passes):
    """Of two images already, though its classes differ; of a single one nothing can be said."""
    golden = os.path.join(bundle, "golden")
    for name in ("inputs", "logits"):
        path = os.path.join(golden, name + ".npy")
        np.save(path, np.load(path)[first:last])
    images = verify.golden_images(bundle)
    for path in images[:first] + images[last:]:
        os.remove(path)
    with open(os.path.join(golden, "labels.json"), "w") as file:
        json.dump([0, 0, 1, 1][first:last], file)
    sign(bundle, tolerance=dict(TOLERANCE, int8=1e3))
    logits = np.repeat([[1.0, -2.0]], last - first, axis=0)
    if passes:
        assert compared(bundle, logits, "int8")["images"] == 1
    else:
        with pytest.raises(VerifyError, match="the same output for every image"):
            compared(bundle, logits, "int8")


def test_each_golden_input_has_its_image(bundle):
    os.remove(verify.golden_images(bundle)[-1])
    sign(bundle, tolerance=TOLERANCE)
    with pytest.raises(VerifyError, match="3 golden images for 4 inputs"):
        compared(bundle, goldens(bundle))


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(("added", "passes"), [(1, True), (3, False)])
def test_pixels_of_each_image_are_compared(bundle, number, added, passes):
    """The limit is of the worst image, in grey levels; the mean over all of them would hide one."""
    path = os.path.join(bundle, "golden", "images", "%04d.png" % (number,))
    assert cv2.imwrite(path, cv2.imread(path) + added)  # all values are below 211
    sign(bundle, tolerance=TOLERANCE)
    if passes:
        assert compared(bundle, goldens(bundle))["mean_pixel_difference"] == pytest.approx(added, abs=0.01)
    else:
        with pytest.raises(VerifyError, match="images decoded here differ by 3.0 grey levels"):
            compared(bundle, goldens(bundle))
