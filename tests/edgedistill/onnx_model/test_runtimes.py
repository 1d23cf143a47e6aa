"""The runtimes of the workstation, and the steps of docs/extend_runtime.md on a copy of the package."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import onnx.parser
import pytest

from documents import FENCE
from edgedistill.config.target import load_target, target_names
from edgedistill.errors import RecipeError
from edgedistill.onnx_model.backends import BACKENDS, backend_here, backend_named, backend_of, executed_precision
from edgedistill.onnx_model.backends.opencv_backend import BACKEND, PARSES
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill_device.engine import runners

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "extend_runtime.md"
NETWORK = """<ir_version: 7, opset_import: ["" : 13]>
g (float[1,3,32,32] image) => (float[1,2] logits)
<float[2,3] w = {4.0, -1.0, 0.5, -1.0, 3.0, 0.0}, float[2] b = {0.1, -0.2}>
{ pooled = GlobalAveragePool(image) flat = Flatten(pooled) logits = Gemm<transB = 1>(flat, w, b) }"""


def saved(path: Path, text: str = NETWORK) -> Path:
    onnx.save(onnx.parser.parse_model(text), str(path))
    return path


def with_opencv():
    return load_target("local").model_copy(update={"backend": "opencv", "title": "a computer"})


@pytest.mark.parametrize("name", BACKENDS)
def test_a_row_has_a_file_on_each_side(name):
    here, there = backend_named(name), runners.backend_named(name)
    assert (here.name, here.title) == (there.name, there.title)
    assert here.stand_in == (name != "tensorrt")


def test_every_target_names_a_runtime_that_is_known():
    assert {name: backend_of(load_target(name)).name for name in target_names()} == {
        name: "onnxruntime" if name == "local" else "tensorrt" for name in target_names()
    }


def test_a_bundle_runs_here_in_its_own_runtime_or_in_the_stand_in():
    assert backend_here(with_opencv()).name == "opencv"
    assert backend_here(load_target("local")).name == "onnxruntime"
    assert backend_here(load_target("jetson-nano")).name == "onnxruntime"


def test_an_unknown_runtime_is_refused_with_those_that_are_known():
    with pytest.raises(RecipeError, match="backend 'openvino' is unknown; known: tensorrt, onnxruntime"):
        executed_precision(load_target("local").model_copy(update={"backend": "openvino"}), "fp16")


def test_a_precision_that_is_not_executed_is_said_in_the_runtimes_own_words():
    assert executed_precision(with_opencv(), "fp32") == ("fp32", "")
    executed, why = executed_precision(with_opencv(), "int8")
    assert (executed, why) == ("fp32", "a computer computes in FP32 with OpenCV, so INT8 is served as FP32")
    assert "TensorRT would accept" in executed_precision(load_target("jetson-nano"), "int8")[1]


def test_opencv_is_asked_whether_it_reads_the_file(tmp_path):
    assert check_onnx(saved(tmp_path / "m.onnx"), with_opencv()) == []
    asked = BACKEND.compiled(tmp_path / "m.onnx", 60, 4000, only_parse=True)
    assert (asked["verdict"], asked["said"], asked["version"]) == (PARSES, [], cv2.__version__)
    assert 0 < asked["seconds"] < 60
    bad = onnx.parser.parse_model(NETWORK)
    bad.graph.node[0].op_type = "Nonesuch"
    onnx.save(bad, str(tmp_path / "bad.onnx"))
    (finding,) = check_onnx(tmp_path / "bad.onnx", with_opencv())
    assert (finding.level, finding.rule) == ("error", "opencv-reads")
    assert finding.why.startswith("OpenCV ")
    assert "refused by the parser" in finding.why
    assert check_onnx(tmp_path / "bad.onnx", load_target("local")) == []  # ONNX Runtime has no rules here


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The package as it was before the page: without the row and the two files."""
    place = tmp_path_factory.mktemp("copy")
    for package in ("edgedistill", "jetson", "calibration"):
        shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
    text = PAGE.read_text(encoding="utf-8")
    blocks = {word: body for word, body in FENCE.findall(text) if word in ("diff", "toml")}
    (place / "row.diff").write_text(blocks["diff"], encoding="utf-8")
    (place / "edgedistill" / "config" / "targets" / "pc-opencv.toml").write_text(blocks["toml"], encoding="utf-8")
    applied(place, "--reverse")
    for name in files():
        (place / name).unlink()
    return place


def files() -> list[str]:
    """The two that the page names."""
    text = PAGE.read_text(encoding="utf-8")
    found = [line.split("`")[1] for line in text.splitlines() if line.startswith("`")]
    names = [name for name in found if name.endswith("opencv_backend.py")]
    assert len(names) == 2
    return names


def applied(place: Path, *options: str) -> None:
    done = subprocess.run(
        ["git", "apply", "--unidiff-zero", *options, "row.diff"],
        cwd=place,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(place.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"docs/extend_runtime.md no longer fits the code: {done.stderr}"


def run(place: Path, *words: object) -> subprocess.CompletedProcess:
    paths = os.pathsep.join(str(place / folder) for folder in (".", "jetson", "calibration"))
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=place,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_runtime_is_two_files_and_a_row(copy, tmp_path):
    model = saved(tmp_path / "m.onnx")
    bench = ("edgedistill", "bench", model, "--backend", "opencv", "--runs", "20", "--json")
    check = ("edgedistill", "check", model, "--target", "pc-opencv", "--json")
    verify = ("edgedistill_device", "verify", "--backend", "opencv")
    for words in (bench, verify):
        refused = run(copy, *words)
        assert refused.returncode == 2
        assert "invalid choice: 'opencv' (choose from" in refused.stderr
        assert "tensorrt" in refused.stderr
    refused = run(copy, *check)
    assert refused.returncode == 1
    assert refused.stderr.strip().endswith("backend: expected one of tensorrt, onnxruntime, got 'opencv'")

    applied(copy)
    for name in files():
        shutil.copyfile(ROOT / name, copy / name)
    checked = run(copy, *check, "--compile")
    assert checked.returncode == 0, checked.stderr
    said = json.loads(checked.stdout)
    assert (said["fits"], said["findings"], said["compile"]["compiler"]) == (True, [], "OpenCV")
    assert said["basis"].startswith("OpenCV of this computer read it")
    timed = run(copy, *bench)
    assert timed.returncode == 0, timed.stderr
    found = json.loads(timed.stdout)
    assert (found["backend"], found["executed"], found["build"]["engine"]) == ("opencv", "fp32", None)
    assert found["provenance"].startswith("stand-in: OpenCV on ")
    assert found["verify"]["max_relative_difference"] <= found["verify"]["tolerance"]
    assert found["bench"]["host_ms"]["runs"] == 20
    assert "no manifest" in run(copy, *verify).stderr  # known now, and this folder is no bundle
