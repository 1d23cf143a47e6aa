import filecmp
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgedistill.deployment.local import verify_and_bench
from edgedistill.errors import DeviceError
from edgedistill_device.engine import build, engine_file, precision
from edgedistill_device.errors import BuildError
from edgedistill_device.manifest import read_manifest, write_manifest
from end_to_end import PRIVATE, ROOT, edgedistill
from optional_tools import lacking


def bundle_of(run):
    return run / "runs" / "r" / "bundle" / "bundle"


@pytest.mark.parametrize("left", [[], ["a layer"]])
def test_where_layers_are_to_stay_in_float_no_board_builds_from_ranges_that_quantize_all(finished_run, tmp_path, left):
    """Only of the Q/DQ file was it shown that the limit of the drop holds."""
    shutil.copytree(finished_run / "runs" / "r", tmp_path / "r")
    record = tmp_path / "r" / "quantize" / "quantize.json"
    quantized = json.loads(record.read_text())
    quantized["int8_gate"]["kept_float"] = left
    record.write_text(json.dumps(quantized))
    shutil.copy(tmp_path / "r" / "export" / "student.onnx", tmp_path / "r" / "quantize" / "student_int8_weights.onnx")
    edgedistill("bundle", finished_run / "r.toml", "--run-dir", tmp_path / "r", "--force", "bundle", cwd=tmp_path)
    files = {path.name for path in (tmp_path / "r" / "bundle" / "bundle").iterdir()}
    jetpack6 = {"tensorrt": "10.3.0", "fast_int8": True, "fast_fp16": True, "fp16_flag": True}
    built = precision.choose("int8", 87, {**jetpack6, "int8_flag": True, "calibrator": True}, files)
    assert (built.onnx, built.int8_by) == (
        ("model_int8.onnx", "explicit Q/DQ") if left else ("model_int8_weights.onnx", "calibration cache")
    )
    assert {"calibration.json", "model_int8_weights.onnx"}.isdisjoint(files) == bool(left)


def test_the_bundle_says_what_it_is(finished_run):
    manifest = read_manifest(bundle_of(finished_run))
    assert manifest.classes == ("disc", "square", "stripes")
    assert manifest.precision_requested == "int8"
    assert manifest.input_shape == (1, 3, 32, 32)
    assert (manifest.target, manifest.target_sm, manifest.target_tensorrt) == ("jetson-nano", 53, "8.2")
    assert set(manifest.tolerance) == {"fp32", "fp16", "int8"}
    assert {"model.onnx", "model_int8.onnx", "calibration.json", "golden/logits.npy"} <= set(manifest.files)
    amax = json.loads((bundle_of(finished_run) / "calibration.json").read_text())
    assert all(value > 0 for value in amax.values())


def test_the_device_code_in_it_is_the_repositorys(finished_run):
    import edgedistill_device

    ours = os.path.dirname(edgedistill_device.__file__)
    for name in ("benchmark/bench.py", "classify.service"):
        theirs = bundle_of(finished_run) / "edgedistill_device" / name
        assert filecmp.cmp(os.path.join(ours, name), theirs, shallow=False)


def test_nothing_private_travels(finished_run):
    """No file of the bundle, and no name, tells of this computer, of the user's files, or where a photo was taken."""
    bundle = bundle_of(finished_run)
    sources = sorted((finished_run / "images").rglob("*.png"))
    assert all(PRIVATE.encode() in path.read_bytes() for path in sources), "there is something to be found"
    made_in = (finished_run / "images").resolve().parent
    private = [
        str(made_in),
        made_in.name,
        str(ROOT),
        sys.prefix,
        sys.base_prefix,
        str(Path.home()) + "/",
        PRIVATE,
        *(f"{path.parent.name}/{path.name}" for path in sources),
    ]
    files = [path for path in bundle.rglob("*") if path.is_file()]
    assert len(list((bundle / "golden" / "images").iterdir())) == 6
    assert len(files) > 40
    for path in files:
        content = str(path.relative_to(bundle)).encode() + b"\n" + path.read_bytes()
        found = [word for word in private if word.encode() in content or word.encode("utf-16-le") in content]
        assert not found, path


def test_made_twice_it_has_the_same_bytes(finished_run, tmp_path):
    shutil.copytree(finished_run / "runs" / "r", tmp_path / "again")
    edgedistill(
        "bundle",
        finished_run / "r.toml",
        "--run-dir",
        tmp_path / "again",
        "--force",
        "bundle",
        cwd=tmp_path,
    )
    first, second = (p / "manifest.json" for p in (bundle_of(finished_run), tmp_path / "again" / "bundle" / "bundle"))
    assert first.read_bytes() == second.read_bytes()


def test_a_refusal_on_the_host_is_passed_on_in_its_own_words(finished_run, tmp_path):
    shutil.copytree(bundle_of(finished_run), tmp_path / "b")
    with open(tmp_path / "b" / "model.onnx", "ab") as file:
        file.write(b"x")
    with pytest.raises(DeviceError, match=r"bundle: model.onnx has \d+ bytes, manifest says"):
        verify_and_bench(tmp_path / "b", runs=10)


def test_the_nanos_python_runs_the_bundle(finished_run):
    """Python 3.6.15 with numpy 1.19.5 and ONNX Runtime 1.10.0, made by tests/device_test.sh."""
    python = os.environ.get("EDGEDISTILL_PYTHON36")
    if not python:
        lacking("interpreter in EDGEDISTILL_PYTHON36", "`make device-test` makes one")
    version = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("Python 3.6")
    found = verify_and_bench(bundle_of(finished_run), runs=20, python=python)
    assert found.bench.machine.python.startswith("3.6")
    assert found.verify.top1_agreement_fraction == 1
    assert found.verify.max_relative_difference < 1e-3
    assert sys.version_info >= (3, 11)


@pytest.fixture
def real_compiler():
    """TensorRT for RTX, NVIDIA's own parser and builder; it compiles without a GPU."""
    if find_spec("tensorrt_rtx") is None:
        lacking("tensorrt_rtx", "pip install -e '.[compile]'")
    return "tensorrt_rtx"


def test_the_boards_build_with_a_real_compiler(finished_run, tmp_path, monkeypatch, real_compiler):
    """FP32 for the Nano and Q/DQ for Orin, the latter without external tactics; then a broken file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = tmp_path / "bundle"
    shutil.copytree(bundle_of(finished_run), bundle)
    manifest = read_manifest(bundle)
    record = build.build(bundle, manifest, compiler=real_compiler)
    assert (record["onnx"], record["executed"], record["sm"]) == ("model.onnx", "fp32", 53)
    assert record["reasons"][0].startswith("INT8 is served as FP16: sm_53 has no INT8 hardware")
    assert record["memory"]["process_peak_mib"] > 100
    assert build.build(bundle, manifest, compiler=real_compiler)["timing_cache_used"]

    monkeypatch.setattr(build, "memory_mib", lambda: {"available": 700, "swap_free": 4000})
    manifest = write_manifest(bundle, manifest._replace(target_sm=87, target_tensorrt="10.3"))
    record = build.build(bundle, manifest, compiler=real_compiler)
    assert (record["onnx"], record["executed"]) == ("model_int8.onnx", "int8")
    assert record["int8_by"] == "explicit Q/DQ"
    assert record["tactic_sources"] == ["EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"]

    (bundle / "model_int8.onnx").write_bytes(b"no ONNX file")
    manifest = write_manifest(bundle, manifest)
    with pytest.raises(BuildError, match="does not parse .*Failed to parse the ONNX model"):
        build.build(bundle, manifest, compiler=real_compiler)
    assert engine_file.read_record(bundle) == record


def test_a_bundle_for_a_tensorrt_without_precision_flags(finished_run, tmp_path, monkeypatch):
    """FP16 and INT8 are typed in its files and proved; the real compiler builds them; others get none of it."""
    run = tmp_path / "r"
    shutil.copytree(finished_run / "runs" / "r", run)
    known = json.loads((run / "quantize" / "quantize.json").read_text())
    assert known["typed"] == []
    assert set(json.loads((run / "bundle" / "bundle.json").read_text())["onnx_bytes"]) == {
        "model.onnx",
        "model_int8.onnx",
    }
    words = ("target.device=thor", "target.tensorrt=11.4", "target.precision=fp16")
    done = edgedistill(
        *("run", finished_run / "r.toml", "--run-dir", run, *(w for word in words for w in ("--set", word))),
        cwd=tmp_path,
    )
    assert "] distill: up to date" in done.stderr
    assert "Jetson Thor was never measured here" in done.stderr
    assert "FP16 typed in the file: differs from float by" in done.stderr
    quantized = json.loads((run / "quantize" / "quantize.json").read_text())
    assert [(row["precision"], row["passed"]) for row in quantized["typed"]] == [("fp16", True), ("int8", True)]
    assert (quantized["requested"], quantized["executed"], quantized["reason"]) == ("fp16", "fp16", "")
    images = json.loads((run / "data" / "data.json").read_text())["images"]
    assert quantized["typed"][0]["images"] == images["val"] + images["train"]

    bundle = run / "bundle" / "bundle"
    sizes = json.loads((run / "bundle" / "bundle.json").read_text())["onnx_bytes"]
    assert sizes == {path.name: path.stat().st_size for path in bundle.glob("*.onnx")}
    assert sizes["model_fp16.onnx"] == quantized["typed"][0]["file_bytes"] < 0.6 * sizes["model.onnx"]
    assert f"model_fp16.onnx {sizes['model_fp16.onnx'] / 1e6:.1f} MB" in done.stderr
    assert json.loads((bundle / "provenance.json").read_text())["subject"]

    if find_spec("tensorrt_rtx") is None:
        lacking("tensorrt_rtx", "pip install -e '.[compile]'")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    manifest = read_manifest(bundle)
    assert manifest.target_tensorrt == "11.4"
    for asked, file in (("fp16", "model_fp16.onnx"), ("int8", "model_int8.onnx"), ("fp32", "model.onnx")):
        manifest = write_manifest(bundle, manifest._replace(precision_requested=asked))
        record = build.build(bundle, manifest, compiler="tensorrt_rtx")
        assert (record["onnx"], record["executed"], record["reasons"]) == (file, asked, [])
