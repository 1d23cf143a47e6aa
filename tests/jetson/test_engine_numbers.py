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
from edgedistill_device.errors import BuildError, EngineError, ManifestError, VerifyError
from edgedistill_device.manifest import read_manifest
from edgedistill_device.preprocess import to_input
from tiny_onnx import integer_attribute, model_bytes, node_bytes

pytestmark = pytest.mark.usefixtures("forked_children")

# They hold the goldens, whose means lie near a step of theirs.
RIGHT = {"image": 2.0, "pooled": 1.72, "flat": 1.72, "logits": 7.5}
# At least one of each kind, whatever the set.
TYPED = [release for release in fakes.TRIED if release.startswith("11")] or ["11"]  # no flags, no calibrators
CACHED = [release for release in fakes.TRIED if release not in TYPED]  # a calibration cache is taken


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


def typed_fp16(bundle, weight=WEIGHT, **changes):
    with open(os.path.join(bundle, "model_fp16.onnx"), "wb") as file:
        file.write(model_bytes(weight, BIAS, 24, half=True))
    sign(bundle, **changes)


def test_a_bundle_without_a_typed_file_is_computed_in_float_where_precision_flags_are_gone(bundle, use):
    use("11")
    record, logits = engine_of(bundle)
    assert error_of(logits, bundle) < 1e-6
    assert (record["requested"], record["executed"], record["onnx"]) == ("fp16", "fp32", "model.onnx")
    assert record["reasons"] == [
        "FP16 is served as FP32: TensorRT 11.0.0 takes its types from the ONNX file, and this bundle has none in FP16; "
        "bundle again with target.tensorrt of this release"
    ]


@pytest.mark.parametrize("release", TYPED)
def test_the_typed_file_is_fp16_where_precision_flags_are_gone(bundle, use, release):
    typed_fp16(bundle)
    use(release)
    record, logits = engine_of(bundle)
    assert (record["requested"], record["executed"], record["onnx"]) == ("fp16", "fp16", "model_fp16.onnx")
    assert (record["reasons"], record["flags"], record["layers"]) == ([], [], {"fp16": 2})
    inputs = np.load(os.path.join(bundle, "golden", "inputs.npy"))
    wanted = np.stack([expected_logits(image, "fp16") for image in inputs])
    assert np.abs(logits - wanted).max() < 2.0**-8, "a step of half"
    assert (logits == logits.astype(np.float16)).all()


@pytest.mark.parametrize("release", CACHED)
def test_flags_and_the_float_file_where_they_stand(bundle, use, release):
    typed_fp16(bundle, weight=[[9.0, 9.0, 9.0], [9.0, 9.0, 9.0]])  # would be seen
    use(release)
    record, logits = engine_of(bundle)
    assert (record["executed"], record["onnx"], record["flags"]) == ("fp16", "model.onnx", ["FP16"])
    assert error_of(logits, bundle) < 3e-2


def test_fp32_is_the_float_file_everywhere(bundle, use):
    typed_fp16(bundle, precision_requested="fp32")
    use("11")
    record, logits = engine_of(bundle)
    assert (record["executed"], record["onnx"]) == ("fp32", "model.onnx")
    assert error_of(logits, bundle) < 1e-6


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        ([[4.4, -1.0, 0.5], [-1.0, 3.0, 0.0]], "logits differ from the workstation's"),
        ([[6e4, -6e4, 0.0], [-1.0, 3.0, 0.0]], "the network gives NaN or infinity here"),
    ],
)
def test_verify_sees_a_wrong_typed_file(bundle, use, weight, said):
    typed_fp16(bundle, weight)
    use("11")
    manifest = read_manifest(bundle)
    assert build(bundle, manifest)["executed"] == "fp16"
    with open_runner("tensorrt", bundle, manifest) as runner:
        assert said in refusal(bundle, manifest, runner)


def test_types_that_meet_without_a_cast_are_refused(bundle, use):
    """float16 weights in a network whose image stays float32."""
    content = model_bytes(WEIGHT, BIAS, 24, half=True)
    first = node_bytes("Cast", ["image"], ["narrow"], integer_attribute("to", 10))
    assert content.count(first) == 1
    with open(os.path.join(bundle, "model_fp16.onnx"), "wb") as file:
        file.write(content.replace(first, first.replace(b"\x18\x0a", b"\x18\x01")))
    sign(bundle)
    use("11")
    with pytest.raises(BuildError, match="does not parse .*model_fp16.onnx .*do not match in a strongly typed network"):
        build(bundle, read_manifest(bundle))


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


def test_explicit_int8_with_fp16_around_it(bundle, use):
    """Image, scale, weight and bias are half; the Gemm is no INT8 layer."""
    int8(bundle, RIGHT)
    with open(os.path.join(bundle, "model_int8.onnx"), "wb") as file:
        file.write(model_bytes(WEIGHT, BIAS, 24, int8_scale=RIGHT["image"] / 127, half=True))
    sign(bundle, precision_requested="int8")
    use("11")
    record, logits = engine_of(bundle)
    assert (record["executed"], record["onnx"], record["int8_by"]) == ("int8", "model_int8.onnx", "explicit Q/DQ")
    assert record["layers"] == {"int8": 1, "fp16": 1}

    def half(values):
        return np.asarray(values, np.float16).astype(np.float64)

    scale = half(RIGHT["image"] / 127)
    wanted = expected(bundle, lambda x: half(eight_bits(half(x), 127 * scale)), half, half(WEIGHT), half(BIAS))
    assert np.abs(logits - half(wanted)).max() < 2e-3
    assert np.abs(logits - wanted).max() < 5e-3


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


EMBEDDING = {
    "task": "embedding",
    "provenance": {"min_cosine": {"fp32": 0.9999, "fp16": 0.995, "int8": 0.95}, "embedding_width": 2},
}


def verified(bundle):
    manifest = read_manifest(bundle)
    build(bundle, manifest)
    with open_runner("tensorrt", bundle, manifest) as runner:
        return verify.compare(bundle, manifest, runner)


@pytest.mark.parametrize("release", CACHED)
def test_a_range_that_turns_an_embedding_is_seen_by_its_cosine(bundle, use, release):
    """The tolerance of values is so wide here that it refuses nothing."""
    use(release, sm=72, fast_int8=True)
    tolerance = {"int8": 9.0}
    int8(bundle, RIGHT, tolerance=tolerance, **EMBEDDING)
    found = verified(bundle)
    assert (found["executed"], found["min_cosine"]) == ("int8", 0.95)
    assert 0.95 < found["lowest_cosine"] <= found["mean_cosine"] <= 1
    assert found["recall_at_1_fraction"] == found["workstation_recall_at_1_fraction"] == 1
    int8(bundle, dict(RIGHT, flat=0.01), tolerance=tolerance, **EMBEDDING)
    with pytest.raises(VerifyError, match="an embedding has a cosine of .* at least 0.9500 is expected"):
        verified(bundle)


@pytest.mark.parametrize("release", CACHED)
def test_another_network_s_embeddings_are_seen_by_their_cosine(bundle, use, release):
    use(release)
    with open(os.path.join(bundle, "model.onnx"), "wb") as file:
        file.write(model_bytes([WEIGHT[1], WEIGHT[0]], BIAS, 24))
    sign(bundle, tolerance={"fp16": 9.0}, **EMBEDDING)
    with pytest.raises(VerifyError, match="at least 0.9950 is expected"):
        verified(bundle)


@pytest.mark.parametrize("release", CACHED)
def test_an_embedding_is_as_wide_as_the_bundle_says_and_not_as_its_classes_are_many(bundle, use, release):
    use(release)
    wide, golden = [*WEIGHT, [0.5, 0.5, 2.0]], os.path.join(bundle, "golden", "logits.npy")
    with open(os.path.join(bundle, "model.onnx"), "wb") as file:
        file.write(model_bytes(wide, [*BIAS, 0.3], 24))
    inputs = np.load(os.path.join(bundle, "golden", "inputs.npy"))
    means = np.stack([to_input(image, SPEC)[0].reshape(3, -1).mean(axis=1) for image in inputs])
    np.save(golden, (means.dot(np.array(wide).T) + [*BIAS, 0.3]).astype(np.float32))
    provenance = dict(EMBEDDING["provenance"], embedding_width=3)
    sign(bundle, task="embedding", provenance=provenance)
    assert verified(bundle)["lowest_cosine"] > 0.999
    sign(bundle, **EMBEDDING)
    with pytest.raises(EngineError, match="the manifest says"):
        verified(bundle)
    sign(bundle, task="embedding", provenance={"min_cosine": provenance["min_cosine"]})
    with pytest.raises(ManifestError, match="embedding_width is None"):
        verified(bundle)
