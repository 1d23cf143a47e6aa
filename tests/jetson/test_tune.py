"""What `bench` finds faster is kept, in the engine's sidecar; what gives other numbers, or ends a process, is not.

The fakes spend simulated time, which is the clock here: no other program on this computer disturbs it.
"""

import json
import os
import shutil

import numpy as np
import pytest

import fakes
from bundles import SPEC, expected_logits, make_bundle
from edgedistill_device.__main__ import main
from edgedistill_device.benchmark import tune, tune_build
from edgedistill_device.engine import engine_file
from edgedistill_device.engine.build import build
from edgedistill_device.engine.execution import PLAIN, Execution
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.engine.verify import verify
from edgedistill_device.errors import VerifyError
from edgedistill_device.manifest import read_manifest
from edgedistill_device.preprocess import to_input

# A forked process looks for libcudart where its server does: builds find pycuda's fake.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_children")]

SLOW_TO_QUEUE = {"queue_ms": 0.5, "copy_ms": 0.25}
NEWEST = fakes.TRIED[-1]
BY_CTYPES = {"sm": 72, "no_pycuda": True}  # what fake_cudart.c says of its device


def clock():
    return fakes.SPENT_MS[0] / 1e3


def passed(bundle):
    """The manifest of a bundle whose engine was built and has passed."""
    build(bundle, read_manifest(bundle))
    return verified(bundle)


def verified(bundle):
    manifest = read_manifest(bundle)
    with open_runner("tensorrt", bundle, manifest) as runner:
        verify(bundle, manifest, runner)
    return manifest


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    """Simulated time has no noise that more calls would average out."""
    for module in (tune, tune_build):
        monkeypatch.setattr(module, "CALLS", 1)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A bundle with an engine of the newest release that has passed: building it takes most of a test's time."""
    folder = make_bundle(tmp_path_factory.mktemp("template") / "bundle")
    patch = pytest.MonkeyPatch()
    for switch in fakes.switching(tmp_path_factory.mktemp("fakes"), patch):
        switch(NEWEST, sm=72)
        passed(folder)
    patch.undo()
    return folder


@pytest.fixture
def built(tmp_path, template):
    return shutil.copytree(template, str(tmp_path / "built"))


def measured(bundle):
    """(Execution, {what was tried: its row})."""
    manifest = read_manifest(bundle)
    with open_runner("tensorrt", bundle, manifest, verified=True) as runner:
        execution, rows = tune.measure(runner, manifest, bundle, clock, seed=0)
    return execution, {row["tried"]: row for row in rows}


def goldens(bundle):
    return np.load(os.path.join(bundle, "golden", "inputs.npy"))


@pytest.mark.parametrize("release", fakes.TRIED)
def test_each_faster_way_is_kept_and_gives_the_same_numbers(bundle, use, cudart, release):
    use(release, sm=72)
    build(bundle, read_manifest(bundle))
    use(release, **dict(BY_CTYPES, **SLOW_TO_QUEUE))
    manifest = verified(bundle)
    execution, rows = measured(bundle)
    assert execution == Execution(cuda_graph=True, mapped_memory=True)
    assert rows["a CUDA graph"]["ratio"]["a_over_b"] == pytest.approx(1.75 / 1.25)
    assert rows["mapped memory"]["ratio"]["a_over_b"] == pytest.approx(1.25 / 1.0)  # against what was kept before
    assert cudart.held_now() == 0, "graphs, streams and both sorts of memory are given back"
    with open_runner("tensorrt", bundle, manifest) as runner:
        for image in goldens(bundle):
            batch = to_input(image, SPEC)
            plain = runner.infer_as(PLAIN, batch)
            assert np.array_equal(runner.infer_as(execution, batch), plain)
            assert np.allclose(plain[0], expected_logits(image, runner.executed), atol=1e-5)
        held = cudart.held_now()
        runner.infer_as(execution, batch)
        assert cudart.held_now() == held, "nothing is taken per frame"
    assert cudart.held_now() == 0


CASES = {
    "slower": ({"mapped_ms": 2.0}, Execution(True, False), {}),
    "no difference": ({"queue_ms": 0.0, "copy_ms": 0.0}, PLAIN, {}),
    "another graph": (
        {"graph_adds": 0.01},
        Execution(False, True),
        {"a CUDA graph": "gives other logits than without"},
    ),
    "other memory": ({"mapped_adds": 0.01}, Execution(True, False), {"mapped memory": "by up to 0.01"}),
    "not even itself": ({"wavers": True}, Execution(True, True), {}),
    "no capture": (
        {"no_capture": True},
        Execution(False, True),
        {"a CUDA graph": "TensorRT did not queue the inference while it was recorded"},
    ),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_what_is_no_faster_or_gives_other_numbers_is_not_kept(built, use, cudart, case):
    does, expected, reasons = CASES[case]
    use(NEWEST, **dict(BY_CTYPES, **dict(SLOW_TO_QUEUE, **does)))
    execution, rows = measured(built)
    assert execution == expected
    for words, row in rows.items():
        assert reasons.get(words, "None") in str(row["reason"])
        assert (row["ratio"] is None) is (words in reasons)
        assert row["kept"] is getattr(expected, {"a CUDA graph": "cuda_graph"}.get(words, "mapped_memory"))


def test_pycuda_has_no_graphs_and_maps_memory(built, use):
    use(NEWEST, sm=72, **SLOW_TO_QUEUE)
    execution, rows = measured(built)
    assert execution == Execution(False, True)
    assert rows["a CUDA graph"]["reason"] == "pycuda has no CUDA graphs; without it, ctypes on libcudart has them"


def test_a_gpu_with_a_memory_of_its_own_maps_none(built, use, cudart, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA_SHARES", "0")
    use(NEWEST, **dict(BY_CTYPES, **SLOW_TO_QUEUE))
    execution, rows = measured(built)
    assert execution == Execution(True, False)
    assert rows["mapped memory"]["reason"] == "this GPU has a memory of its own"


def options(bundle):
    with open(os.path.join(engine_file.engine_folder(bundle), "options.json")) as file:
        return json.load(file)


def report_of(capsys, bundle, *words):
    assert main(["bench", "--runs", "10", "--bundle", bundle] + list(words)) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_bench_decides_once_and_all_verbs_run_the_engine_so(built, use, cudart, capsys, monkeypatch):
    use(NEWEST, **BY_CTYPES)
    manifest = read_manifest(built)
    both, rows = Execution(True, True), [tune.trial("a CUDA graph", True), tune.trial("mapped memory", True)]
    monkeypatch.setattr(tune, "_in_a_child", lambda _: (both, rows))
    assert report_of(capsys, built, "--tune", "off")["execution"] == {"cuda_graph": False, "mapped_memory": False}
    report = report_of(capsys, built)
    assert report["execution"] == {"cuda_graph": True, "mapped_memory": True}
    assert report["provenance"].endswith("memory by ctypes, with a CUDA graph and mapped memory")
    assert report["tuning"] == rows
    monkeypatch.setattr(tune, "_in_a_child", lambda _: pytest.fail("it was measured"))
    assert report_of(capsys, built)["tuning"] == rows
    record = engine_file.read_verified_engine(built, manifest)[0]
    assert record["execution"] == both._asdict()
    for name in ("engine.json", "verified.json"):  # as agents of before read them
        with open(os.path.join(engine_file.engine_folder(built), name)) as file:
            stored = json.load(file)
        assert set(stored.get("sidecar", stored)) == set(engine_file.KEYS)
    assert main(["verify", "--bundle", built]) == 0
    assert "with a CUDA graph" in capsys.readouterr().out
    use(NEWEST, sm=72)
    build(built, manifest)  # another engine: nothing is known of it
    assert engine_file.read_record(built)["execution"] is None


def test_what_verify_refuses_is_not_served(built, use, cudart, capsys, monkeypatch):
    """It had given the same numbers when it was measured; the driver was changed, say."""
    use(NEWEST, **BY_CTYPES)
    manifest = read_manifest(built)
    rows = [tune.trial("a CUDA graph", True)]
    monkeypatch.setattr(tune, "_in_a_child", lambda _: (Execution(True, False), rows))
    use(NEWEST, **BY_CTYPES, graph_adds=0.001)  # far within the tolerance
    report = report_of(capsys, built)
    assert report["execution"] == {"cuda_graph": False, "mapped_memory": False}
    (row,) = report["tuning"]
    assert row["kept"] is False
    assert "with a CUDA graph the engine gives other logits than without, by up to 0.001" in row["reason"]
    sha256 = engine_file.read_record(built)["engine_sha256"]
    engine_file.keep_options(built, sha256, execution={"cuda_graph": True, "mapped_memory": False})
    with open_runner("tensorrt", built, manifest) as runner, pytest.raises(VerifyError, match="gives other logits"):
        verify(built, manifest, runner)
    with pytest.raises(VerifyError, match="has not passed"):
        engine_file.read_verified_engine(built, manifest)


def test_options_of_another_engine_or_none_at_all_are_passed_over(built, use):
    use(NEWEST, sm=72)
    manifest = read_manifest(built)
    sha256 = engine_file.read_record(built)["engine_sha256"]
    for digest, execution in (("0" * 64, {"cuda_graph": True, "mapped_memory": True}), (sha256, {"cuda_graph": 1})):
        engine_file.keep_options(built, digest, execution=execution)
        assert engine_file.read_record(built)["execution"] is None
        assert engine_file.read_verified_engine(built, manifest)[0]["execution"] is None
    with open(os.path.join(engine_file.engine_folder(built), "options.json"), "w") as file:
        file.write("no JSON")
    assert engine_file.read_record(built)["execution"] is None


@pytest.mark.parametrize("does", [{"dies_in_capture": True}, {}], ids=["the capture ends it", "both are timed"])
def test_it_is_measured_in_a_process_of_its_own(built, use, cudart, capsys, fresh_children, does):
    """By the real clock; a driver that dies is no end of the benchmark."""
    use(NEWEST, **dict(BY_CTYPES, **does))
    report = report_of(capsys, built)
    rows = {row["tried"]: row["reason"] for row in report["tuning"]}
    kept = {"cuda_graph": False, "mapped_memory": False}
    kept.update({name: row["kept"] for name, row in zip(("cuda_graph", "mapped_memory"), report["tuning"])})
    assert report["execution"] == options(built)["execution"] == kept
    assert rows == ({"a CUDA graph": "it died of SIGSEGV"} if does else {"a CUDA graph": None, "mapped memory": None})
    assert options(built)["tuning"] == report["tuning"]


def test_an_engine_that_is_built_otherwise_is_kept_where_it_is_faster(bundle, use):
    use("8.6", level_ms={3: 1.0}, timed_ms={32: 0.5})
    manifest = passed(bundle)
    before = engine_file.read_record(bundle)
    found = {row["tried"]: row for row in tune_build.tune_build(bundle, manifest, clock, seed=0)}
    assert {words: row["kept"] for words, row in found.items()} == {
        "optimization level 5": True,
        "32 timings a kernel": False,
    }
    assert found["optimization level 5"]["ratio"]["a_over_b"] == pytest.approx(2.0)
    assert found["32 timings a kernel"]["ratio"]["a_over_b"] == pytest.approx(1 / 1.5)
    record = engine_file.read_verified_engine(bundle, manifest)[0]
    assert record["builder"] == {"timing_iterations": 8, "optimization_level": 5}
    assert record["engine_sha256"] != before["engine_sha256"]
    assert before["builder"] is None
    assert not os.path.exists(os.path.join(bundle, "work", "tune"))
    read_manifest(bundle)  # nothing of it lies in the bundle


def test_an_engine_that_cannot_be_built_or_has_no_such_setting_leaves_the_one_in_force(bundle, use):
    use("8.2")
    manifest = passed(bundle)
    before = engine_file.read_verified_engine(bundle, manifest)
    use("8.2", dies=True)
    found = {row["tried"]: row["reason"] for row in tune_build.tune_build(bundle, manifest, clock) if not row["kept"]}
    assert found == {
        "optimization level 5": "this TensorRT has no optimization level",
        "32 timings a kernel": "the build died of signal 6 (SIGABRT); the last lines above say where",
    }
    assert engine_file.read_verified_engine(bundle, manifest) == before
