"""What an engine computes at each precision, against numpy; a wrong range is seen by `verify`."""

import json
import os

import numpy as np
import pytest

import fakes
from bundles import BIAS, SPEC, WEIGHT, expected_logits, sign
from edgedistill_device.engine import verify
from edgedistill_device.engine.build import build
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.errors import VerifyError
from edgedistill_device.manifest import read_manifest
from edgedistill_device.preprocess import to_input
from tiny_onnx import model_bytes

# They hold the goldens, whose means lie near a step of theirs.
RIGHT = {"image": 2.0, "pooled": 1.72, "flat": 1.72, "logits": 7.5}
CACHED = [release for release in sorted(fakes.RELEASES) if release != "11"]  # a calibration cache is taken


def int8(bundle, amax, **changes):
    with open(os.path.join(bundle, "calibration.json"), "w") as file:
        json.dump(amax, file)
    with open(os.path.join(bundle, "model_int8.onnx"), "wb") as file:
        file.write(model_bytes(WEIGHT, BIAS, 24, int8_scale=RIGHT["image"] / 127))
    sign(bundle, precision_requested="int8", **changes)


def engine_of(bundle):
    """(sidecar, logits of the goldens) of a new build."""
    manifest = read_manifest(bundle)
    record = build(bundle, manifest)
    inputs = np.load(os.path.join(bundle, "golden", "inputs.npy"))
    with open_runner("tensorrt", bundle, manifest) as runner:
        return record, np.concatenate([runner.infer(to_input(image, SPEC)) for image in inputs])


def eight_bits(values, amax):
    """Rounded to 127 levels on each side of zero, and clipped."""
    scale = np.float32(amax / 127.0)
    return np.clip(np.rint(np.asarray(values, np.float32) / scale), -128, 127) * np.float64(scale)


def expected(bundle, image_as, pooled_as, weight, bias):
    """Logits of the tiny model in float64, with a rounding of the image and of its means."""
    inputs = np.load(os.path.join(bundle, "golden", "inputs.npy"))
    means = [image_as(to_input(image, SPEC)[0]).reshape(3, -1).mean(axis=1) for image in inputs]
    return np.stack([pooled_as(mean) for mean in means]).dot(weight.T) + bias


def expected_int8(bundle, amax):
    weight = np.stack([eight_bits(row, np.abs(row).max()) for row in np.array(WEIGHT)])
    return expected(
        bundle, lambda x: eight_bits(x, amax["image"]), lambda x: eight_bits(x, amax["flat"]), weight, np.array(BIAS)
    )


def error_of(logits, bundle):
    """As `verify` measures it: of the largest."""
    float_logits = np.load(os.path.join(bundle, "golden", "logits.npy"))
    return np.abs(logits - float_logits).max() / np.abs(float_logits).max()


@pytest.mark.parametrize("release", CACHED)
def test_fp16_rounds_weights_and_activations_to_half(bundle, use, release):
    use(release)
    record, logits = engine_of(bundle)
    assert record["layers"] == {"fp16": 2}
    inputs = np.load(os.path.join(bundle, "golden", "inputs.npy"))
    wanted = np.stack([expected_logits(image, "fp16") for image in inputs])
    assert np.abs(logits - wanted).max() < 1e-5
    assert 1e-5 < error_of(wanted, bundle) < 3e-2, "half is neither float nor far from it"


def test_a_release_that_is_typed_by_the_file_computes_in_float(bundle, use):
    use("11")
    assert error_of(engine_of(bundle)[1], bundle) < 1e-6


@pytest.mark.parametrize("release", CACHED)
def test_int8_takes_names_and_values_of_the_calibration(bundle, use, release):
    int8(bundle, RIGHT)
    use(release)
    record, logits = engine_of(bundle)
    assert record["layers"] == {"int8": 2}
    assert np.abs(logits - expected_int8(bundle, RIGHT)).max() < 1e-4


def test_explicit_int8_takes_the_ranges_of_its_own_file(bundle, use):
    """A Gemm stays float there, as quantization/qdq.py writes it."""
    int8(bundle, RIGHT)
    use("11")
    record, logits = engine_of(bundle)
    assert record["layers"] == {"int8": 1, "fp32": 1}
    wanted = expected(bundle, lambda x: eight_bits(x, RIGHT["image"]), np.float64, np.array(WEIGHT), np.array(BIAS))
    assert np.abs(logits - wanted).max() < 1e-4


@pytest.mark.parametrize("missing", ["image", "pooled", "flat"])
def test_a_tensor_without_a_range_takes_its_layers_out_of_int8(bundle, use, missing, capfd):
    int8(bundle, {name: amax for name, amax in RIGHT.items() if name != missing})
    use("8.2")
    record, logits = engine_of(bundle)
    assert record["layers"] == {"int8": 1, "fp16": 1}
    assert "Missing scale and zero-point for tensor %s," % (missing,) in capfd.readouterr().err
    assert np.abs(logits - expected_int8(bundle, RIGHT)).max() > 1e-3


def refusal(bundle, manifest, runner):
    try:
        return str(verify.compare(bundle, manifest, runner))
    except VerifyError as error:
        return str(error)


WRONG = {
    "every range doubled": {name: 2 * amax for name, amax in RIGHT.items()},
    "every range halved": {name: amax / 2 for name, amax in RIGHT.items()},
    "the ranges of two tensors exchanged": dict(RIGHT, image=RIGHT["logits"], logits=RIGHT["image"]),
    "a unit error": dict(RIGHT, image=127 * RIGHT["image"]),
}


@pytest.mark.parametrize("release", CACHED)
def test_verify_sees_a_wrong_range(bundle, use, release):
    """With the tolerance that the right ranges just keep."""
    tolerance = {"fp32": 1e-3, "fp16": 3e-2, "int8": float(1.2 * error_of(expected_int8(bundle, RIGHT), bundle))}
    use(release)
    int8(bundle, RIGHT, tolerance=tolerance)
    engine_of(bundle)
    manifest = read_manifest(bundle)
    with open_runner("tensorrt", bundle, manifest) as runner:
        assert verify.compare(bundle, manifest, runner)["executed"] == "int8"
    for what, amax in sorted(WRONG.items()) if release == "8.6" else [("doubled", WRONG["every range doubled"])]:
        int8(bundle, amax, tolerance=tolerance)
        manifest = read_manifest(bundle)
        build(bundle, manifest)
        with open_runner("tensorrt", bundle, manifest) as runner:
            assert "logits differ from the workstation's" in refusal(bundle, manifest, runner), what
