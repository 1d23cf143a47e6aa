"""The TensorRT runner and what is refused, against each release; and libcudart by ctypes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import fakes
from bundles import SPEC, WEIGHT, expected_logits, sign
from edgedistill_device.__main__ import main
from edgedistill_device.engine import cuda_memory, engine_file, verify
from edgedistill_device.engine.build import build
from edgedistill_device.engine.layer_times import layer_times
from edgedistill_device.engine.runners import open_runner, tensorrt_runner
from edgedistill_device.errors import BackendError, EngineError, VerifyError
from edgedistill_device.manifest import read_manifest
from edgedistill_device.preprocess import to_input
from tiny_onnx import model_bytes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_children")]

RELEASES = fakes.TRIED


def test_who_asks_for_a_pass_while_verify_is_at_work_is_told_so(bundle, use, capsys):
    use("8.2")
    build(bundle, read_manifest(bundle))
    with engine_file.verifying(bundle):
        with pytest.raises(VerifyError, match="this bundle is locked by another verify"):
            engine_file.require_verified(bundle)
        assert main(["verify", "--bundle", bundle]) == 1
        assert "this bundle is locked by another verify" in capsys.readouterr().err
    with pytest.raises(VerifyError, match="has not passed"):
        engine_file.require_verified(bundle)


def runner_of(bundle):
    return open_runner("tensorrt", bundle, read_manifest(bundle))


def goldens(bundle):
    return np.load(os.path.join(bundle, "golden", "inputs.npy"))


def sidecar(bundle, **changes):
    path = os.path.join(engine_file.engine_folder(bundle), "engine.json")
    with open(path) as file:
        record = json.load(file)
    record.update(changes)
    with open(path, "w") as file:
        json.dump(record, file)
    return record


@pytest.mark.parametrize("release", RELEASES)
def test_the_engine_gives_what_numpy_gives(bundle, use, release):
    use(release)
    record = build(bundle, read_manifest(bundle))
    with runner_of(bundle) as runner:
        assert runner.executed == record["executed"]
        assert runner.engine_sha256 == record["engine_sha256"]
        assert runner.provenance.startswith("measured: TensorRT " + fakes.RELEASES[release])
        found = [runner.infer(to_input(image, SPEC)) for image in goldens(bundle)]
        for image, logits in zip(goldens(bundle), found):  # each is a copy, not one buffer
            assert np.allclose(logits[0], expected_logits(image, record["executed"]), atol=1e-5)
        assert runner.last_compute_ms > 0
        with pytest.raises(ValueError, match="expected float32 "):
            runner.infer(np.zeros((2, 3, 24, 24), np.float32))


def test_an_engine_is_run_whose_tensors_are_the_manifests_in_any_order(bundle, use, monkeypatch):
    use("8.6")  # which takes them by their names
    build(bundle, read_manifest(bundle))
    tensors, seen, given = tensorrt_runner.trt_api.tensors, [], []

    def turned(trt, engine):
        seen[:] = tensors(trt, engine)
        return given or seen[::-1]

    monkeypatch.setattr(tensorrt_runner.trt_api, "tensors", turned)
    image = goldens(bundle)[0]
    with runner_of(bundle) as runner:
        logits = runner.infer(to_input(image, SPEC))[0]
        assert np.allclose(logits, expected_logits(image, runner.executed), atol=1e-5)
    (name, is_input, shape, kind), output = seen
    for other in (
        [(name, is_input, (1, 3, 24, 23), kind), output],
        [(name, is_input, shape, np.float16), output],
        [(name + "s", is_input, shape, kind), output],
        [(name, is_input, shape, kind), output, ("more", False, (1, 2), kind)],
        [output],
    ):
        given[:] = other
        with pytest.raises(EngineError, match="the engine has the tensors .*, the manifest says"), runner_of(bundle):
            pass


@pytest.mark.parametrize("release", RELEASES)
def test_verify_leaves_a_record_of_this_engine_only(bundle, use, release):
    use(release)
    manifest = read_manifest(bundle)
    build(bundle, manifest)
    with pytest.raises(VerifyError, match="has not passed; run: python3 -m edgedistill_device verify"):
        engine_file.require_verified(bundle)
    with runner_of(bundle) as runner:
        found = verify.verify(bundle, manifest, runner)
    assert found["top1_agreement_fraction"] == 1
    assert engine_file.require_verified(bundle) == dict(
        found, engine_sha256=engine_file.read_record(bundle)["engine_sha256"]
    )
    use(release, nan=True)
    with runner_of(bundle) as runner, pytest.raises(VerifyError, match="NaN"):
        verify.verify(bundle, manifest, runner)
    with pytest.raises(VerifyError, match="has not passed"):
        engine_file.require_verified(bundle)


def test_another_engine_has_to_pass_again(bundle, use):
    use("8.2")
    manifest = read_manifest(bundle)
    build(bundle, manifest)
    with runner_of(bundle) as runner:
        verify.verify(bundle, manifest, runner)
    use("8.6")
    build(bundle, manifest)
    with pytest.raises(VerifyError, match="has not passed"):
        engine_file.require_verified(bundle)


NOT_OURS = [
    ({"board": "NVIDIA Jetson Xavier NX"}, "built for board NVIDIA Jetson Xavier NX, this is "),
    ({"tensorrt": "8.5.2"}, "built for tensorrt 8.5.2, this is 8.6.2"),
    ({"sm": 53}, "built for sm 53, this is 87"),
    ({"version": 2}, "is not a sidecar of version 1"),
    ({"onnx_sha256": "0"}, "built from another model.onnx than this bundle's"),
    ({"engine": "../../model.onnx"}, "names '../../model.onnx', which is no file beside it"),
    ({"engine": "none.engine"}, "the engine none.engine is missing"),
]


def test_what_is_not_this_boards_is_not_loaded(bundle, use):
    use("8.6")
    built = build(bundle, read_manifest(bundle))
    record = {key: built[key] for key in engine_file.KEYS}
    sidecar(bundle, compiler="antigravity")  # a sidecar does not say what is imported
    with pytest.raises(BackendError, match="expected a compiler of tensorrt, tensorrt_rtx, got"):
        runner_of(bundle).__enter__()
    sidecar(bundle, **record)
    for changes, line in NOT_OURS:
        sidecar(bundle, **changes)
        with pytest.raises(EngineError) as error:
            runner_of(bundle).__enter__()
        assert line in str(error.value)
        assert str(error.value).endswith("run: python3 -m edgedistill_device build")
        sidecar(bundle, **record)


def test_a_truncated_engine_and_a_changed_model_are_refused(bundle, use):
    use("8.6")
    record = build(bundle, read_manifest(bundle))
    path = os.path.join(engine_file.engine_folder(bundle), record["engine"])
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(content[:-1])
    with pytest.raises(EngineError, match="truncated or another file"):
        runner_of(bundle).__enter__()
    with open(path, "wb") as file:
        file.write(content)
    with open(os.path.join(bundle, "model.onnx"), "wb") as file:
        file.write(model_bytes(WEIGHT, [9.0, 9.0], 24))
    sign(bundle)
    with pytest.raises(EngineError, match="built from another model.onnx"):
        runner_of(bundle).__enter__()


def test_an_engine_that_tensorrt_refuses_is_one_line(bundle, use):
    """The hash is right and the sidecar agrees, and still these are no engine's bytes."""
    use("8.6")
    build(bundle, read_manifest(bundle))
    staged = os.path.join(bundle, "work", "staged")
    with open(staged, "wb") as file:
        file.write(b"no engine")
    record = engine_file.read_record(bundle)
    for key in ("version", "engine", "engine_sha256"):
        del record[key]
    engine_file.publish(bundle, staged, record)
    with pytest.raises(EngineError, match="TensorRT 8.6.2 cannot load this engine"):
        runner_of(bundle).__enter__()


def test_every_verb_as_the_board_runs_it(bundle, use, fresh_children):
    """From the bundle's folder, in a locale without Unicode, as a user runs it."""
    use("8.2", sm=53)
    environment = dict(os.environ, LC_ALL="C", PYTHONDONTWRITEBYTECODE="1")
    lines = {}
    for words in ("build", "verify", "bench --runs 20 --tune off", "classify --top 1 golden/images"):
        done = subprocess.Popen(
            [sys.executable, "-m", "edgedistill_device"] + words.split(),
            cwd=bundle,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        out, error = done.communicate()
        assert done.returncode == 0, error
        lines[words.split()[0]] = [json.loads(line) for line in out.splitlines() if line[:1] == "{"]
    said = {verb: found[-1] for verb, found in lines.items()}
    assert said["build"]["executed"] == said["verify"]["executed"] == "fp16"
    assert said["verify"]["provenance"].startswith("measured: TensorRT 8.2.1.8 on ")
    assert said["bench"]["backend"] == "TensorRTRunner"
    assert said["classify"]["frames"] == 4
    assert lines["classify"][-2]["top"][0]["class"] == "green"  # the last of the four
    assert engine_file.require_verified(bundle)["images"] == 4


@pytest.mark.parametrize("release", RELEASES)
def test_without_pycuda_libcudart_does_the_same(bundle, use, cudart, release):
    use(release, sm=72)  # what that library says of its device
    build(bundle, read_manifest(bundle))
    use(release, sm=72, no_pycuda=True)
    with runner_of(bundle) as runner:
        assert runner.provenance.endswith("memory by ctypes")
        assert cudart.held_now() == 3  # a stream, two events
        for image in goldens(bundle):
            logits = runner.infer(to_input(image, SPEC))
            assert np.allclose(logits[0], expected_logits(image, runner.executed), atol=1e-5)
            assert runner.last_compute_ms == 1.5
        assert cudart.held_now() == 7  # and two arrays on each side; nothing was taken per frame
    assert cudart.held_now() == 0


def test_what_cuda_refuses_is_one_line(cudart, monkeypatch, use):
    use("8.2", no_pycuda=True)
    device = cuda_memory.find_device()
    assert device.facts() == {"sm": 72, "cuda": "10.2", "by": "ctypes"}
    with pytest.raises(BackendError, match="cudaMalloc: CUDA error 2, out of memory"):
        device.allocate(1 << 50)
    monkeypatch.setattr(cuda_memory, "LIBRARIES", ("libnone.so",))
    with pytest.raises(BackendError, match="neither pycuda nor libcudart was found"):
        cuda_memory.find_device()


@pytest.mark.parametrize("release", RELEASES)
def test_the_fake_has_what_the_release_has(use, release):
    """The matrix of names, read the other way round: from the objects."""
    use(release)
    import tensorrt as trt

    builder = trt.Builder(None)
    config = builder.create_builder_config()
    eight, ten, eleven = (release.startswith(major) for major in ("8", "10", "11"))
    assert hasattr(config, "max_workspace_size") == eight
    assert hasattr(config, "set_memory_pool_limit") == (release != "8.2")
    assert hasattr(builder, "platform_has_fast_int8") == (not eleven)
    assert hasattr(trt, "IInt8EntropyCalibrator2") == (eight or ten)
    assert hasattr(trt.BuilderFlag, "FP16") == (not eleven)
    assert hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH") == (not eleven)
    if not eight:
        with pytest.raises(AttributeError, match="max_workspace_size"):
            config.max_workspace_size = 1


@pytest.mark.parametrize("release", RELEASES)
def test_bench_times_only_what_has_passed_and_tells_the_gpus_own_time(bundle, use, release, capsys):
    use(release)
    words = ["--bundle", bundle]
    assert main(["build"] + words) == 0
    bench = ["bench", "--runs", "10", "--tune", "off"] + words
    capsys.readouterr()
    assert main(bench) == 1
    assert "this engine has not passed; run: python3 -m edgedistill_device verify" in capsys.readouterr().err
    assert main(["verify"] + words) == 0
    assert main(bench) == 0
    out = capsys.readouterr().out.splitlines()
    assert "2 layers, profiled apart; the slowest: gemm 0.750 ms, pool 0.250 ms" in out
    report = json.loads(out[-1])
    assert report["layer_times"] == {
        "sum_ms": 1.0,
        "runs": 20,
        "layers": [
            {"name": "pool", "kind": "Reduce", "median_ms": 0.25, "share": 0.25},
            {"name": "gemm", "kind": "CaskConvolution", "median_ms": 0.75, "share": 0.75},
        ],
    }
    assert report["compute_ms"]["p50_ms"] > 0
    assert report["provenance"].startswith("measured: TensorRT " + fakes.RELEASES[release])


def test_a_profiler_that_fails_is_left_out_and_takes_nothing_with_it(bundle, use):
    use("8.2", no_profile=True)
    manifest = read_manifest(bundle)
    build(bundle, manifest)
    batch = to_input(goldens(bundle)[0], SPEC)
    with runner_of(bundle) as runner:
        found, why = layer_times(runner, batch)
        assert found is None
        assert why == "profiling failed: BackendError: TensorRT did not run with its profiler attached"
        assert runner._context.profiler is None, "what is timed after this is not slowed"
        assert np.allclose(runner.infer(batch)[0], expected_logits(goldens(bundle)[0], "fp16"), atol=1e-5)
