"""The build against each release of TensorRT, in its own child process as on the board."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

import fakes
from bundles import BIAS, WEIGHT, sign
from edgedistill_device.board import identity
from edgedistill_device.engine import build, engine_file
from edgedistill_device.errors import BuildError
from edgedistill_device.lock import held
from edgedistill_device.manifest import read_manifest, sha256_of
from tiny_onnx import model_bytes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_children")]
PYTHON = sys.executable

FLAGS = {"8.2": ["FP16"], "8.6": ["FP16"], "10.3": ["FP16"], "10.16": ["FP16"], "11": [], "11.4": []}


@pytest.fixture
def use(use_in_children):
    return use_in_children


def int8(bundle, **changes):
    """Give the bundle both forms of INT8, and ask for it."""
    with open(os.path.join(bundle, "calibration.json"), "w") as file:
        json.dump({"image": 3.2, "pooled": 2.5, "flat": 2.5, "logits": 9.0}, file)
    with open(os.path.join(bundle, "model_int8.onnx"), "wb") as file:
        file.write(model_bytes(WEIGHT, BIAS, 24, int8_scale=3.2 / 127))
    sign(bundle, precision_requested="int8", **changes)


def built(bundle, **options):
    return build.build(bundle, read_manifest(bundle), **options)


def files(bundle):
    return sorted(os.listdir(engine_file.engine_folder(bundle)))


@pytest.mark.parametrize("release", fakes.TRIED)
def test_an_engine_and_a_sidecar_that_binds_it(bundle, use, release):
    use(release)
    started = time.monotonic()
    record = built(bundle)
    assert 0 <= record["build_seconds"] <= time.monotonic() - started
    engine = os.path.join(engine_file.engine_folder(bundle), record["engine"])
    assert files(bundle) == sorted(["engine.json", record["engine"]])
    assert record == engine_file.read_record(bundle)
    assert sha256_of(engine) == record["engine_sha256"]
    assert record["onnx_sha256"] == sha256_of(os.path.join(bundle, "model.onnx"))
    assert record["tensorrt"] == fakes.RELEASES[release]
    assert record["cuda"] == "%d.%d" % fakes.CUDA[release][:2]
    assert record["sm"] == fakes.SM[release]
    assert record["flags"] == FLAGS[release]
    assert record["requested"] == "fp16"
    assert record["executed"] == ("fp32" if release.startswith("11") else "fp16")
    assert bool(record["reasons"]) == (release.startswith("11"))
    assert record["layers"] == {record["executed"]: 2}
    assert record["workspace_mib"] == 512
    assert record["tactic_sources"] is None
    assert record["attempts"] == ["built"]
    assert record["memory"]["process_peak_mib"] > 10
    assert not os.path.exists(os.path.join(bundle, "work", "build"))
    read_manifest(bundle)  # what was built did not make it another bundle


@pytest.mark.parametrize("release", fakes.TRIED)
def test_int8_by_what_the_release_takes(bundle, use, release):
    int8(bundle)
    use(release)
    record = built(bundle)
    assert record["executed"] == "int8"
    assert record["int8_by"] == ("explicit Q/DQ" if release.startswith("11") else "calibration cache")
    assert record["onnx"] == ("model_int8.onnx" if release.startswith("11") else "model.onnx")
    assert record["layers"] == ({"int8": 1, "fp32": 1} if release.startswith("11") else {"int8": 2})
    assert record["reasons"] == []


@pytest.mark.parametrize("release", [release for release in fakes.TRIED if not release.startswith("11")])
def test_int8_by_ranges_is_built_from_the_weights_that_they_are_of(bundle, use, release):
    shutil.copyfile(os.path.join(bundle, "model.onnx"), os.path.join(bundle, "model_int8_weights.onnx"))
    int8(bundle)
    use(release)
    assert built(bundle)["onnx"] == "model_int8_weights.onnx"
    as_fp16 = read_manifest(bundle)._replace(precision_requested="fp16")
    assert build.build(bundle, as_fp16)["onnx"] == "model.onnx"


@pytest.mark.parametrize("release", fakes.TRIED)
def test_int8_without_the_hardware_is_served_as_what_there_is(bundle, use, release):
    int8(bundle)
    use(release, sm=53)
    record = built(bundle)
    assert record["requested"] == "int8"
    assert record["executed"] == ("fp32" if release.startswith("11") else "fp16")
    assert record["reasons"][0].startswith("INT8 is served as FP16: sm_53 has no INT8 hardware")


def test_a_calibration_cache_that_is_skipped_is_no_engine(bundle, use):
    int8(bundle)
    use("8.6", ignores_cache=True)
    with pytest.raises(BuildError, match="8.6.2 did not take the calibration cache"):
        built(bundle)


def test_a_builder_that_denies_int8_is_believed(bundle, use):
    int8(bundle)
    use("8.6", fast_int8=False)
    assert built(bundle)["executed"] == "fp16"


@pytest.mark.parametrize(
    ("release", "how"),
    [(release, "no_memory_above_mib") for release in fakes.TRIED] + [("8.2", "killed_above_mib")],
)
def test_a_build_without_memory_is_tried_smaller(bundle, use, release, how):
    use(release, **{how: 300})
    record = built(bundle)
    assert record["workspace_mib"] == 256
    assert record["tactic_sources"] == ([] if release == "8.2" else ["EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"])
    assert record["attempts"][1:] == ["built"]
    words = "OutOfMemory" if how == "no_memory_above_mib" else "killed (exit code 137)"
    assert words in record["attempts"][0]


FAILURES = [
    ({"killed_above_mib": 1}, "out of memory in all 4 attempts, the last with 32 MiB"),
    ({"dies": True}, "the build died of signal 6 (SIGABRT)"),
    ({"hangs": True}, "no engine within 1 s (exit code 124)"),
    (
        {"parser_error": "No importer registered for op: HardSwish"},
        "model.onnx (1 errors): No importer registered for op: HardSwish",
    ),
    ({"disk_full": True}, "cannot be written to; is the disk full?"),
    ({"sm": 89}, "this bundle is for sm_87 and this GPU is sm_89"),
]


def test_a_build_that_fails_leaves_the_engine_before(bundle, use):
    sign(bundle, target_sm=87, target_tensorrt="8.6")
    use("8.6")
    record, before = built(bundle), files(bundle)
    for does, line in FAILURES:
        use("8.6", **does)
        with pytest.raises(BuildError) as error:
            built(bundle, timeout_s=1 if "hangs" in does else 60)
        assert line in str(error.value)
        assert "\n" not in str(error.value)
        assert files(bundle) == before
        assert engine_file.read_record(bundle) == record
        assert not os.path.exists(os.path.join(bundle, "work", "build"))


def test_another_release_than_the_manifest_names_is_a_warning(bundle, use):
    sign(bundle, target_sm=72, target_tensorrt="8.5")
    use("8.2")
    expected = ["the ONNX file was checked for TensorRT 8.5, this is 8.2.1.8"]
    assert built(bundle)["warnings"] == expected


def test_the_timing_cache_is_kept_for_the_release(bundle, use, tmp_path):
    use("8.6")
    assert built(bundle)["timing_cache_used"] is False
    assert built(bundle)["timing_cache_used"] is True
    folder = tmp_path / "cache" / "edgedistill" / "timing"
    (name,) = os.listdir(str(folder))
    assert "-sm87-tensorrt-8.6.2" in name
    (folder / name).write_bytes(b"damaged")
    assert built(bundle)["timing_cache_used"] is False
    use("10.3")
    assert built(bundle)["timing_cache_used"] is False


def test_what_the_builder_chose_is_what_was_executed(bundle, use):
    use("8.6", float_layers=True)
    record = built(bundle)
    assert record["executed"] == "fp32"
    assert record["reasons"] == ["the builder chose no FP16 layer (layers: 2 fp32)"]


def test_no_memory_and_no_disk_are_said_before_anything_starts(bundle, use, monkeypatch):
    monkeypatch.setattr(build, "memory_mib", lambda: {"available": 200, "swap_free": 9000})
    with pytest.raises(BuildError, match="200 MiB of memory are available and a build needs 382"):
        built(bundle)
    monkeypatch.setattr(build, "memory_mib", lambda: {"available": 4000, "swap_free": 4000})
    monkeypatch.setattr(identity.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1 << 20}))
    with pytest.raises(BuildError, match="1 MiB of disk are free and a build needs 65"):
        built(bundle)


def test_of_two_builds_at_once_the_second_takes_the_firsts_engine(bundle, use, tmp_path, monkeypatch):
    """Twice the minutes, and an engine that is another than the one just verified, help nobody."""
    use("8.2")
    record, kept = built(bundle), str(tmp_path / "kept")
    os.rename(engine_file.engine_folder(bundle), kept)
    manifest, ends, said, attempts = read_manifest(bundle), [], threading.Event(), []

    def say(text):
        if "waiting for its engine" in text:
            said.set()
        if "attempt 1 of" in text:
            attempts.append(text)

    monkeypatch.setattr(build, "_say", say)
    second = threading.Thread(target=lambda: ends.append(build.build(bundle, manifest)))
    with held(os.path.join(bundle, "work", "build.lock"), None):
        with pytest.raises(BuildError, match="this bundle is locked by another build; wait"):
            build.build(bundle, manifest, timeout_s=0)
        said.clear()
        second.start()
        assert said.wait(60)
        os.rename(kept, engine_file.engine_folder(bundle))  # the first one is done
    second.join()
    assert (ends, attempts) == ([record], [])
    said.clear()
    third = threading.Thread(target=lambda: ends.append(build.build(bundle, manifest)))
    with held(os.path.join(bundle, "work", "build.lock"), None):
        third.start()
        assert said.wait(60)  # and the other one ends without an engine: what lies there is from before
    third.join()
    assert len(attempts) == 1
    built(bundle)  # without another at work, who asks for a build gets one
    assert len(attempts) == 2


def test_a_model_that_changes_under_the_build_is_not_kept(bundle, use):
    use("8.2")
    manifest = read_manifest(bundle)
    with open(os.path.join(bundle, "model.onnx"), "wb") as file:
        file.write(model_bytes(WEIGHT, [9.0, 9.0], 24))
    with pytest.raises(BuildError, match="model.onnx changed while it was built"):
        build.build(bundle, manifest)


def test_the_build_dies_with_the_one_who_asked(bundle, use):
    """SIGKILL of `jetson build` must not leave a child that eats the board's memory."""
    use("8.2", hangs=True)
    environment = dict(os.environ, LC_ALL="C", PYTHONDONTWRITEBYTECODE="1")
    parent = subprocess.Popen(
        [PYTHON, "-m", "edgedistill_device", "build"],
        cwd=bundle,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    seen = b""
    while b" builds " not in seen:
        line = parent.stderr.readline()
        assert line, seen
        seen += line
    with open("/proc/%d/task/%d/children" % (parent.pid, parent.pid)) as file:
        child = int(file.read().split()[0])
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.time() + 10
    while alive(child):
        assert time.time() < deadline, "the child lives on"
        time.sleep(0.02)


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (IOError, OSError):
        return False


def test_the_bundles_budget_is_what_the_build_plans_by(bundle, use):
    sign(bundle, memory_budget_mib=500)
    use("8.2")
    record = built(bundle)
    assert (record["workspace_mib"], record["tactic_sources"]) == (64, [])
