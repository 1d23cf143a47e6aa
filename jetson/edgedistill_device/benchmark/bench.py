"""Latency of one image: warm-up excluded, raw samples kept, nearest-rank percentiles.

The method is MLPerf Inference's SingleStream (inference_rules.adoc) in this: one image at a time,
the next is given when the last has come back, latencies are percentiles of all of them, accuracy is
checked in a run of its own (`verify`). It is not in this: we take `--runs` calls and not 600 s, a
percentile needs only as many runs that one lies beyond it (MLPerf's early stopping wants many more),
LoadGen does not choose the images, and nothing is audited.
"""

import itertools
import math
import os
import threading
import time

from edgedistill_device.benchmark import benchreport
from edgedistill_device.board import sampler, telemetry, trace
from edgedistill_device.board.conditions import conditions, energy, warnings
from edgedistill_device.board.power import assumed_by, slower_mode_warnings
from edgedistill_device.decode import read_image
from edgedistill_device.engine import layer_times
from edgedistill_device.errors import BenchError, ImageError
from edgedistill_device.json_text import json_text
from edgedistill_device.overlap import overlapped
from edgedistill_device.preprocess import Preparer

WARMUP = 20
SETTLE = 2  # calls that are not timed after something else ran: its data lies in the caches
PERCENTILES = (50, 90, 95, 99)
BUFFERS = 3  # inputs in flight when pipelined: one decoded, one waiting, one in the network
POWER_SECONDS = 3.0  # the pipelined run lasts at least that where power can be read
NO_COMPUTE = "this backend does not time its own computing"


def measure_ms(call, warmup, runs, clock=time.perf_counter, also=None, starts=None):
    """Wall times of `runs` calls after `warmup` more, in ms.

    `call` must return only when its result is in host memory, or this times the launch. `also` is
    called after each timed call, outside the timing; if it returns true, it did work of its own, and
    SETTLE calls follow that are not timed. `starts` gets the clock at the start of each timed call.
    """
    for _ in range(warmup):
        call()
    samples = []
    for _ in range(runs):
        start = clock()
        call()
        samples.append((clock() - start) * 1e3)
        if starts is not None:
            starts.append(start)
        if also is not None and also():
            for _ in range(SETTLE):
                call()
    return samples


def runs_for(percentile):
    """The smallest number of runs of which one lies beyond the percentile: 100 for 99."""
    return int(math.ceil(100.0 / (100 - percentile)))


def summary_ms(samples):
    """Nearest-rank percentiles of a list of ms; p99 only from 100 samples on.

    Raises:
        BenchError: no samples.
    """
    if not samples:
        raise BenchError("no samples; expected --runs of at least 10")
    ordered = sorted(samples)
    summary = {"runs": len(ordered), "max_ms": ordered[-1], "mean_ms": sum(ordered) / len(ordered)}
    for percentile in PERCENTILES:
        rank = max(0, int(math.ceil(percentile * len(ordered) / 100.0)) - 1)
        enough = len(ordered) >= runs_for(percentile)
        summary["p%d_ms" % percentile] = ordered[rank] if enough else None
    return summary


def pipelined(fill, infer, buffers, images, seconds, clock=time.perf_counter):
    """Throughput with a thread that prepares inputs while the network works, as `classify` serves them.

    Args:
        fill: fill(buffer) prepares the next image into it.
        infer: infer(buffer) returns when its result is in host memory.
        buffers: arrays in flight, at least two.
        images: at least so many.
        seconds: and at least so long.

    Returns:
        images done, start and end by the clock; as many images as there are buffers went before.

    Raises:
        whatever `fill` raised, here.
    """
    ending, ends = threading.Event(), []

    def timed(buffer):
        infer(buffer)
        ends.append(clock())
        if len(ends) >= images + len(buffers) and ends[-1] - ends[len(buffers) - 1] >= seconds:
            ending.set()

    overlapped(itertools.repeat(None), lambda _, buffer: fill(buffer), timed, lambda *_: None, buffers, ending)
    return len(ends) - len(buffers), ends[len(buffers) - 1], ends[-1]


def bench(
    folder,
    manifest,
    runner,
    images,
    runs,
    warmup=WARMUP,
    clock=time.perf_counter,
    baseline=None,
    root="/",
    least=None,
):
    """Time the network alone and the whole path from an image file, one by one and pipelined.

    Args:
        folder: the bundle; raw samples go into its `work` folder.
        manifest: Manifest.
        runner: entered. Where it has `last_compute_ms`, the device's own timing of the last
            `infer`, that is a third scope.
        images: paths of image files, taken in turn.
        runs: timed calls of each scope, as benchreport.require_runs takes them.
        baseline: `telemetry.memory()` from before the runner was entered; now, when None.
        root: where /sys and /proc hang.
        least: of decode.read_image, as `classify` decodes the files; None: whole.

    Returns:
        JSON-able, see benchreport.KEYS.
    """
    benchreport.require_runs(runs)
    baseline = baseline or telemetry.memory()
    clocks, mode, watch = sampler.clocks(root), sampler.power_mode(), sampler.Sampler(root, clock=clock)
    zero = clock()
    spec = manifest.preprocess
    turn = Turn(images, spec.sixteen_bit, least)
    samples, starts = _one_by_one(spec, runner, turn, runs, warmup, clock, watch)
    done, start, end = _in_a_stream(spec, runner, turn, runs, clock, watch)
    watch.finish()
    scopes = {name: summary_ms(values) for name, values in samples.items()}
    measured_conditions = conditions(watch, clocks, mode)
    if "compute_ms" not in scopes:
        measured_conditions["absent"]["compute_ms"] = NO_COMPUTE
    few = ["p%d needs %d runs, got %d" % (p, runs_for(p), runs) for p in PERCENTILES if runs < runs_for(p)]
    loops = _loops(samples, starts) + [("pipelined", start, end)]
    report = dict(
        measured_conditions,
        version=benchreport.VERSION,
        verb="bench",
        model=manifest.model,
        backend=type(runner).__name__,
        provenance=runner.provenance,
        requested=manifest.precision_requested,
        executed=runner.executed,
        machine=telemetry.machine(),
        compute_ms=scopes.get("compute_ms"),
        host_ms=scopes["host_ms"],
        end_to_end_ms=scopes["end_to_end_ms"],
        fps={
            "host": 1e3 / scopes["host_ms"]["p50_ms"],
            "end_to_end": 1e3 / scopes["end_to_end_ms"]["p50_ms"],
            "pipelined": done / (end - start),
        },
        memory=_memory(baseline, watch),
        power=energy(watch, start, end, done),
        warmup=warmup,
        samples_file=keep_samples(folder, "bench_samples.json", _rounded(samples, starts, zero)),
        trace=trace.trace(watch.readings, zero, loops),
        trtexec=None,
        warnings=warnings(measured_conditions) + slower_mode_warnings(root, assumed_by(manifest)) + few,
    )
    batch = Preparer(spec)(turn.read())
    report["layer_times"], reason = layer_times.layer_times(runner, batch)
    if reason:
        report["absent"]["layer_times"] = reason
    return report


def _one_by_one(spec, runner, turn, runs, warmup, clock, watch):
    """Raw samples of each scope, and the clock at the start of each call of `host` and `end_to_end`."""
    prepare, compute = Preparer(spec), []
    prepare(turn.read())
    starts = {"host": [], "end_to_end": []}

    def note():
        compute.append(runner.last_compute_ms)
        return watch.tick_if_due()

    runner.infer(prepare.batch)
    has_compute = getattr(runner, "last_compute_ms", None) is not None
    host = measure_ms(
        lambda: runner.infer(prepare.batch),
        warmup,
        runs,
        clock,
        note if has_compute else watch.tick_if_due,
        starts["host"],
    )
    watch.tick()
    whole = measure_ms(
        lambda: runner.infer(prepare(turn.read())),
        warmup,
        runs,
        clock,
        watch.tick_if_due,
        starts["end_to_end"],
    )
    watch.tick()
    samples = {"host_ms": host, "end_to_end_ms": whole}
    return dict(samples, compute_ms=compute) if has_compute else samples, starts


def _in_a_stream(spec, runner, turn, runs, clock, watch):
    """What `pipelined` gives, with telemetry read all the time."""
    seconds = POWER_SECONDS if watch.has_rails or watch.has_tegrastats else 0
    prepare = Preparer(spec)
    buffers = [prepare.batch.copy() for _ in range(BUFFERS)]
    with watch:
        return pipelined(lambda out: prepare(turn.read(), out), runner.infer, buffers, runs, seconds, clock)


def _loops(samples, starts):
    """(scope, clock at its start, clock at its end) of the loops of single calls."""
    return [(scope, begun[0], begun[-1] + samples[scope + "_ms"][-1] / 1e3) for scope, begun in starts.items()]


def _rounded(samples, starts, zero):
    """The raw samples that are stored: ms of each call, and its start in seconds of the bench; to 0.1 us and 0.1 ms."""
    rounded = {scope: [round(ms, 4) for ms in values] for scope, values in samples.items()}
    for scope, begun in starts.items():
        rounded[scope + "_start_s"] = [round(start - zero, 4) for start in begun]
    return rounded


class Turn(object):
    """Image files in turn, without end.

    Args:
        images: paths.
        sixteen_bit, least: of decode.read_image.
    """

    def __init__(self, images, sixteen_bit, least=None):
        if not images:
            raise ImageError("bench needs at least one image file, the bundle has none")
        self._images, self._sixteen_bit, self._least, self._next = images, sixteen_bit, least, 0

    def read(self):
        path = self._images[self._next % len(self._images)]
        self._next += 1
        return read_image(path, self._sixteen_bit, self._least)


def _memory(before, watch):
    after = telemetry.memory()
    return {
        "process_before_mib": before["process_peak_mib"],
        "process_peak_mib": after["process_peak_mib"],
        "available_before_mib": before["available_mib"],
        "available_least_mib": watch.least_available_mib,
        "available_delta_mib": _delta(watch.least_available_mib, before["available_mib"]),
        "nvmap_before_mib": before["nvmap_mib"],
        "nvmap_most_mib": watch.most_nvmap_mib,
        "nvmap_delta_mib": _delta(before["nvmap_mib"], watch.most_nvmap_mib),
        "method": "VmHWM of this process, Python and libraries included; MemAvailable and "
        "NvMapMemUsed of the system, from before the network was loaded",
    }


def _delta(low, high):
    return None if low is None or high is None else round(high - low, 1)


def keep_samples(folder, name, samples):
    """Raw samples in `work/`, which is no part of the bundle; its name, or None if read-only."""
    name = os.path.join("work", name)
    path = os.path.join(str(folder), name)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".tmp", "w", encoding="utf-8") as file:
            file.write(json_text(samples))
        os.replace(path + ".tmp", path)
    except (IOError, OSError):
        return None
    return name
