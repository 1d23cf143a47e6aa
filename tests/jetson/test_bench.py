import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import boards
from boards import sample
from bundles import ROOT
from edgedistill_device.benchmark import benchreport
from edgedistill_device.benchmark.bench import bench, measure_ms, pipelined, runs_for, summary_ms
from edgedistill_device.board import sampler, trace
from edgedistill_device.engine import trtexec
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.engine.verify import golden_images
from edgedistill_device.errors import BenchError, ImageError
from edgedistill_device.manifest import read_manifest


def test_percentiles_are_nearest_rank():
    found = summary_ms([float(i) for i in range(1000, 0, -1)])
    assert (found["p50_ms"], found["p90_ms"], found["p95_ms"], found["p99_ms"]) == (
        500,
        900,
        950,
        990,
    )
    assert found["max_ms"] == 1000
    assert found["mean_ms"] == 500.5


def test_too_few_samples_give_no_p99():
    found = summary_ms([1.0] * 20)
    assert found["p95_ms"] == 1
    assert found["p99_ms"] is None
    with pytest.raises(BenchError, match="no samples"):
        summary_ms([])


def test_the_warm_up_is_outside_the_samples():
    ticks = iter(range(100))
    calls = []
    samples = measure_ms(lambda: calls.append(1), warmup=5, runs=3, clock=lambda: next(ticks))
    assert len(calls) == 8
    assert samples == [1000.0, 1000.0, 1000.0]


def test_calls_after_other_work_are_not_timed():
    """`also` works after the second timed call: two calls follow that are in no sample."""
    ticks, calls, starts = iter(range(100)), [], []
    worked = iter([False, True, False, False])
    samples = measure_ms(lambda: calls.append(1), 0, 4, lambda: next(ticks), lambda: next(worked), starts)
    assert len(calls) == 4 + 2
    assert (samples, starts) == ([1000.0] * 4, [0, 2, 4, 6])


def test_a_percentile_needs_one_sample_beyond_it():
    assert [runs_for(p) for p in (50, 90, 95, 99)] == [2, 10, 20, 100]
    for percentile in (50, 90, 95, 99):
        runs = runs_for(percentile)
        key = "p%d_ms" % percentile
        assert summary_ms([1.0] * runs)[key] == 1
        assert summary_ms([1.0] * (runs - 1))[key] is None


def test_the_report_refuses_what_is_not_its_version():
    with pytest.raises(BenchError, match="not JSON"):
        benchreport.report_from_line("{")
    with pytest.raises(BenchError, match="expected version 2"):
        benchreport.report_from_line(json.dumps({"version": 1}))
    with pytest.raises(BenchError, match="keys differ"):
        benchreport.report_from_line(json.dumps({"version": 2, "surprise": 1}))
    report = dict.fromkeys(benchreport.KEYS)
    with pytest.raises(BenchError, match="expected state"):
        benchreport.report_from_line(json.dumps(dict(report, version=2, state="fine")))
    older = dict(report, version=2, state="locked")  # of a bundle from before there were such keys
    assert benchreport.report_from_line(json.dumps(older)) == older
    layer = {"name": "a", "kind": None, "median_ms": 1.0, "share": 1.0}
    newer = dict(
        older,
        trace=trace.trace([], 0.0, [("host", 0.0, 1.0)]),
        layer_times={"layers": [layer], "sum_ms": 1.0, "runs": 20},
    )
    assert benchreport.report_from_line(json.dumps(newer)) == newer
    for changed in (
        {"trace": []},
        {"trace": dict(newer["trace"], at_s=[1.0], gpu_mhz=[])},
        {"trace": dict(newer["trace"], at_s=[float("nan")])},
        {"layer_times": {"layers": 3}},
        {"layer_times": dict(newer["layer_times"], layers=[dict(layer, name=5)])},
        {"layer_times": dict(newer["layer_times"], runs=10**400)},
    ):
        with pytest.raises(BenchError, match="has another form: "):
            benchreport.report_from_line(json.dumps(dict(newer, **changed)))


def test_pipelined_overlaps_and_hands_every_image_on_once():
    filled, seen, together = [], [], threading.Barrier(2, timeout=30)

    def fill(buffer):
        filled.append(len(filled))
        if filled[-1] == 9:
            together.wait()  # the image before is in the network meanwhile, or this waits in vain
        buffer[0] = filled[-1]

    def infer(buffer):
        if buffer[0] == 8:
            together.wait()
        seen.append(int(buffer[0]))

    done, start, end = pipelined(fill, infer, [np.zeros(1) for _ in range(3)], 20, 0)
    assert done == 20
    assert seen == list(range(23))  # the first three fill the pipeline, outside the timing
    assert end - start > 0
    done, start, end = pipelined(fill, infer, [np.zeros(1) for _ in range(3)], 1, 0.1)
    assert end - start >= 0.1
    assert done > 1


def test_pipelined_raises_what_preparing_raised():
    def fill(buffer):
        raise ImageError("x.jpg: a truncated JPEG")

    with pytest.raises(ImageError, match="truncated"):
        pipelined(fill, len, [np.zeros(1)] * 2, 5, 0)


class Timed(object):
    """The real runner, with a timing of its own as TensorRT's will have."""

    def __init__(self, runner):
        self._runner, self.last_compute_ms = runner, None
        self.executed, self.provenance = runner.executed, runner.provenance

    def profile(self, batch, runs):  # the tiny model's layers take less than a microsecond
        found = self._runner.profile(batch, runs)
        return [[(name, kind, ms + 1.0) for name, kind, ms in run] for run in found]

    def infer(self, batch):
        self.last_compute_ms = 0.25
        return self._runner.infer(batch)


def test_bench_on_a_locked_nano(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("edgedistill_device.benchmark.bench.POWER_SECONDS", 0.8)
    boards.nano(tmp_path / "nano")
    manifest = read_manifest(bundle)
    with open_runner("onnxruntime", bundle, manifest) as runner:
        report = bench(bundle, manifest, Timed(runner), golden_images(bundle), 12, root=str(tmp_path / "nano"))
    assert benchreport.report_from_line(benchreport.line_from_report(report)) == json.loads(json.dumps(report))
    assert report["state"] == "locked"
    assert report["compute_ms"]["p50_ms"] == 0.25
    assert "compute_ms" not in report["absent"]
    assert report["power"]["input_rail"] == "POM_5V_IN"
    assert report["power"]["energy_mj"] == pytest.approx(4200 / report["fps"]["pipelined"], rel=0.01)
    assert report["warnings"] == ["p95 needs 20 runs, got 12", "p99 needs 100 runs, got 12"]
    with open(os.path.join(bundle, report["samples_file"])) as file:
        samples = json.load(file)
    assert {name: len(values) for name, values in samples.items()} == {
        "compute_ms": 12,
        "host_ms": 12,
        "end_to_end_ms": 12,
        "host_start_s": 12,
        "end_to_end_start_s": 12,
    }
    for scope in ("host", "end_to_end"):  # of 12, nearest rank: the sixth
        assert report["fps"][scope] == pytest.approx(1000 / sorted(samples[scope + "_ms"])[5], rel=0.02)
    found, readings = report["layer_times"], report["trace"]
    assert [layer["kind"] for layer in found["layers"]] == ["GlobalAveragePool", "Flatten", "Gemm"]
    assert found["runs"] == 20
    assert sum(layer["share"] for layer in found["layers"]) == pytest.approx(1, abs=1e-5)
    assert [loop["scope"] for loop in readings["loops"]] == ["host", "end_to_end", "pipelined"]
    at = readings["at_s"]
    assert 0 <= at[0] <= readings["loops"][0]["end_s"], "the first reading is under load"
    assert at == sorted(at)
    assert readings["temperatures_c"]["gpu"] == [35.5] * len(at)
    assert readings["gpu_mhz"] == [921.6] * len(at)
    assert readings["cpu_mhz"] == [1479.0] * len(at)
    assert readings["input_mw"] == [4200.0] * len(at)
    for loop in readings["loops"][:2]:
        begun = samples[loop["scope"] + "_start_s"]
        assert begun == sorted(begun)
        assert loop["start_s"] == pytest.approx(begun[0], abs=1e-3)


def test_readings_between_calls_are_rare(tmp_path):
    now = [0.0]
    watch = sampler.Sampler(str(tmp_path), clock=lambda: now[0])
    read = []
    for _ in range(40):
        read.append(watch.tick_if_due())
        now[0] += 0.125
    assert [place for place, due in enumerate(read) if due] == list(range(0, 40, 4))
    assert len(watch.readings) == 10


def test_bench_says_throttled_first(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("edgedistill_device.benchmark.bench.POWER_SECONDS", 0.0)
    boards.nano(tmp_path / "nano", now=307200000)
    manifest = read_manifest(bundle)
    with open_runner("onnxruntime", bundle, manifest) as runner:
        report = bench(bundle, manifest, runner, golden_images(bundle), 10, root=str(tmp_path / "nano"))
    assert report["state"] == "throttled"
    assert report["warnings"][0].startswith("the board throttled")
    assert report["absent"]["compute_ms"] == "this backend does not time its own computing"
    assert "power samples, expected at least 3" in report["power"]["reason"]


def test_bench_without_images(bundle):
    manifest = read_manifest(bundle)
    runner = open_runner("onnxruntime", bundle, manifest)
    with runner, pytest.raises(ImageError, match="at least one image"):
        bench(bundle, manifest, runner, [], 10)


def test_trtexec_of_two_releases():
    nano = trtexec.summary_from_text(sample("trtexec_nano_8.0.txt"))
    assert nano["throughput_qps"] == 24.8341
    assert nano["latency_ms"]["p50_ms"] == 40.1902  # not the End-to-End Host Latency
    assert nano["compute_ms"]["p99_ms"] == 41.0718
    assert nano["enqueue_ms"]["mean_ms"] == 24.6768
    orin = trtexec.summary_from_text(sample("trtexec_orin_10.3.txt"))
    assert orin["compute_ms"] == {
        "min_ms": 3.12671,
        "max_ms": 3.15479,
        "mean_ms": 3.14068,
        "p50_ms": 3.14062,
        "p90_ms": 3.14587,
        "p95_ms": 3.14771,
        "p99_ms": 3.15039,
    }
    assert orin["host_to_device_ms"]["max_ms"] == 0
    assert trtexec.summary_from_text("&&&& FAILED TensorRT.trtexec [TensorRT v8201]") is None


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Write a program called trtexec that comes first on PATH."""
    monkeypatch.setattr(trtexec, "FOLDER", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])

    def write(text, code=0):
        (tmp_path / "said.txt").write_text(text)
        path = tmp_path / "trtexec"
        path.write_text("#!/bin/sh\ncat '%s/said.txt'; exit %d\n" % (tmp_path, code))
        path.chmod(0o755)

    return write


def test_trtexec_is_run_on_the_engine(program):
    program(sample("trtexec_orin_10.3.txt"))
    found = trtexec.compare("/a/model.engine")
    assert found["summary"]["throughput_qps"] == 318.007
    assert found["command"] == "--loadEngine=/a/model.engine --percentile=99"
    assert found["reason"] is None


def test_trtexec_that_is_missing_or_fails_is_a_reason(program, monkeypatch):
    assert "no TensorRT engine" in trtexec.compare(None)["reason"]
    program("[E] Engine could not be loaded\n&&&& FAILED", code=1)
    assert trtexec.compare("e")["reason"] == "trtexec, exit code 1: [E] Engine could not be loaded"
    monkeypatch.setenv("PATH", "/nowhere")
    assert "no trtexec in " in trtexec.compare("e")["reason"]


def test_importing_jetson_takes_nothing_that_a_verb_may_not_need():
    """What it costs is printed by benchmarks/device_overhead.py."""
    heavy = {
        "cv2",
        "onnxruntime",
        "tensorrt",
        "pycuda",
        "edgedistill_device.engine.build",
        "edgedistill_device.inference.classify",
    }
    code = "import sys, edgedistill_device.__main__; print(sorted(set(sys.modules) & %r))" % (heavy,)
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT).decode()
    assert said.strip() == "[]"
