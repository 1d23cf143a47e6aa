import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bundles import BIAS, WEIGHT, expected_logits, pretend_verified, sign
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.manifest import read_manifest
from tiny_onnx import model_bytes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_children")]
PYTHON = sys.executable


def jetson(bundle, *words, code=0):
    """The verb as the board runs it: own process, own folder, a locale without Unicode."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment.update(LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONDONTWRITEBYTECODE="1")
    process = subprocess.Popen(
        [sys.executable, "-m", "edgedistill_device"] + list(words),
        cwd=bundle,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    out, error = process.communicate()
    assert process.returncode == code, error
    assert "Traceback" not in error
    return out.strip().splitlines()[-1] if code == 0 else error.strip().splitlines()[-1]


def test_the_runner_gives_what_numpy_gives(bundle):
    manifest = read_manifest(bundle)
    inputs = np.load(os.path.join(bundle, "golden", "inputs.npy"))
    from edgedistill_device.preprocess import to_input

    with open_runner("onnxruntime", bundle, manifest) as runner:
        for image in inputs:
            got = runner.infer(to_input(image, manifest.preprocess))
            assert got.shape == (1, 2)
            assert np.allclose(got[0], expected_logits(image), atol=1e-5)


def test_verify(bundle):
    found = json.loads(jetson(bundle, "verify", "--backend", "onnxruntime"))
    assert found["images"] == 4
    assert found["top1_fraction"] == found["top1_agreement_fraction"] == 1
    assert found["max_relative_difference"] < 1e-5
    assert found["mean_pixel_difference"] == 0
    assert found["executed"] == "fp32"
    assert found["provenance"].startswith("stand-in: ONNX Runtime on ")


@pytest.mark.parametrize(
    ("weight", "bias", "line"),
    [
        ([[5.0, -1.0, 0.5], [-1.0, 3.0, 0.0]], BIAS, "logits differ from the workstation's by"),
        ([[0.0] * 3, [0.0] * 3], BIAS, "the same output for every image"),
        ([[float("nan")] * 3, [0.0] * 3], BIAS, "gives NaN or infinity here"),
    ],
)
def test_verify_catches_a_wrong_network(bundle, weight, bias, line):
    with open(os.path.join(bundle, "model.onnx"), "wb") as file:
        file.write(model_bytes(weight, bias, 24))
    sign(bundle)
    assert line in jetson(bundle, "verify", "--backend", "onnxruntime", code=1)


def test_verify_passes_nothing_against_goldens_that_are_no_numbers(bundle):
    path = os.path.join(bundle, "golden", "logits.npy")
    np.save(path, np.load(path) * np.nan)
    sign(bundle)
    assert "differ from the workstation's by nan" in jetson(bundle, "verify", "--backend", "onnxruntime", code=1)


def test_verify_catches_another_preprocessing(bundle):
    path = os.path.join(bundle, "golden", "inputs.npy")
    inputs = np.load(path)
    inputs = np.clip(inputs.astype(int) + 9, 0, 255).astype(np.uint8)
    np.save(path, inputs)
    logits = np.stack([expected_logits(image) for image in inputs]).astype(np.float32)
    np.save(os.path.join(bundle, "golden", "logits.npy"), logits)
    sign(bundle)
    assert "images decoded here differ by" in jetson(bundle, "verify", "--backend", "onnxruntime", code=1)


def test_bench(bundle):
    sign(bundle, model="mod\u00e8le")
    assert "model.onnx has not passed; run: python3 -m edgedistill_device verify --backend onnxruntime" in jetson(
        bundle, "bench", "--backend", "onnxruntime", "--runs", "120", code=1
    )
    jetson(bundle, "verify", "--backend", "onnxruntime")
    report = json.loads(jetson(bundle, "bench", "--backend", "onnxruntime", "--runs", "120"))
    assert report["host_ms"]["runs"] == 120
    assert 0 < report["host_ms"]["p50_ms"] <= report["host_ms"]["p99_ms"] <= report["host_ms"]["max_ms"]
    assert report["end_to_end_ms"]["p50_ms"] > report["host_ms"]["p50_ms"]
    assert report["fps"]["pipelined"] > 0
    assert report["compute_ms"] is None
    assert report["trtexec"] is None
    assert report["memory"]["process_peak_mib"] > 10
    assert report["requested"] == "fp16"
    assert report["executed"] == "fp32"
    with open(os.path.join(bundle, report["samples_file"])) as file:
        assert len(json.load(file)["host_ms"]) == 120
    read_manifest(bundle)  # the samples did not make it another bundle


def test_classify(bundle):
    image = os.path.join("golden", "images")
    pretend_verified(bundle)
    stats = os.path.join(bundle, "work", "stats", "stats.json")
    os.makedirs(os.path.dirname(stats))
    line = jetson(bundle, "classify", "--backend", "onnxruntime", "--top", "1", "--stats", stats, image)
    summary = json.loads(line)
    assert (summary["frames"], summary["dropped"], summary["stopped"]) == (4, 0, False)
    assert summary["fps"] > 0
    with open(stats) as file:
        stored = json.load(file)
    assert stored["frames"] == 4
    assert stored["top"][0]["class"] == "green"  # the last of the four
    assert os.listdir(os.path.dirname(stats)) == ["stats.json"]


def test_build_without_tensorrt_is_nothing_but_a_proof_that_the_model_opens(bundle):
    found = json.loads(jetson(bundle, "build", "--backend", "onnxruntime"))
    assert (found["engine"], found["executed"], found["requested"]) == (None, "fp32", "fp16")


@pytest.mark.parametrize("verb", ["verify", "bench", "classify"])
def test_without_an_engine_every_verb_names_build(bundle, verb):
    words = [verb] + (["golden/images"] if verb == "classify" else [])
    assert "no engine was built here; run: python3 -m edgedistill_device build" in jetson(bundle, *words, code=1)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["bench", "--backend", "onnxruntime", "--runs", "-3"], "--runs -3: expected 10 to 50000"),
        (["bench", "--backend", "onnxruntime", "--runs", "50001"], "--runs 50001: expected 10 to 50000"),
        (
            ["bench", "--backend", "onnxruntime", "--runs", "50", "--percentile", "99"],
            "--percentile 99 needs --runs of at least 100, got 50",
        ),
        (["classify", "--backend", "onnxruntime", "csi://front"], "expected csi:// and the sensor"),
        (
            ["classify", "--backend", "onnxruntime", "v4l2:///dev/video99"],
            "no such device; is the camera plugged in?",
        ),
        (["classify", "--backend", "onnxruntime", "none.mp4"], "none.mp4: no such file"),
        (
            ["classify", "--backend", "onnxruntime", "--overlay", "o.mp4", "golden/images"],
            "--overlay o.mp4: expected one video or camera, got golden/images",
        ),
        (
            ["classify", "--backend", "onnxruntime", "--stats", "no/folder/s.json", "golden"],
            "--stats no/folder/s.json: cannot be written",
        ),
        (
            ["classify", "--backend", "onnxruntime", "--overlay", "work/a.avi", "work/a.avi"],
            "--overlay work/a.avi: that is the source, name another file",
        ),
        (
            ["classify", "--backend", "onnxruntime", "/dev/video99"],
            "no such file or folder; a camera is v4l2:///dev/video99",
        ),
        (
            ["classify", "--backend", "onnxruntime", "nowhere.jpg"],
            "nowhere.jpg: no such file or folder",
        ),
        (["verify", "--bundle", "elsewhere"], "no manifest; run this from the bundle's folder"),
    ],
)
def test_mistakes_are_one_line(bundle, words, line):
    if words[0] != "verify":
        pretend_verified(bundle)
    os.makedirs(os.path.join(bundle, "work"), exist_ok=True)
    open(os.path.join(bundle, "work", "a.avi"), "w").close()
    assert line in jetson(bundle, *words, code=1)


def test_wrong_usage_is_exit_code_two(bundle):
    jetson(bundle, "fly", code=2)
    jetson(bundle, "classify", "--top", "0", "golden/images", code=2)


@pytest.mark.parametrize("place", ["/dev/full", None])
def test_a_stdout_that_is_full_or_closed_is_no_traceback(bundle, place):
    close = None if place else lambda: os.close(1)
    pretend_verified(bundle)
    with open(place or os.devnull, "w") as out:
        process = subprocess.Popen(
            [PYTHON, "-m", "edgedistill_device", "classify", "--backend", "onnxruntime", "golden/images"],
            cwd=bundle,
            stdout=out,
            stderr=subprocess.PIPE,
            preexec_fn=close,
            env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=""),
        )
        error = process.communicate()[1].decode("ascii")
    assert process.returncode == (1 if place else 0)
    assert error.splitlines()[-1:] == (
        ["edgedistill_device classify: [Errno 28] No space left on device"]
        if place
        else [line for line in error.splitlines() if line.startswith("4 frames")]
    )
    assert "Traceback" not in error
    assert "ignored" not in error


def test_weights_are_the_tiny_models(bundle):
    assert len(WEIGHT) == len(BIAS) == len(read_manifest(bundle).classes)
