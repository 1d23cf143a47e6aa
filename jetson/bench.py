"""How long one image takes: warm-up outside, raw samples kept, nearest-rank percentiles."""

import json
import math
import os
import time

from jetson import benchreport, telemetry
from jetson.errors import BenchError
from jetson.preprocess import read_image, to_input, view

WARMUP = 20
PERCENTILES = (50, 90, 95, 99)


def measure_ms(call, warmup, runs, clock=time.perf_counter):
    """Wall times of `runs` calls after `warmup` more, in ms.

    `call` must return only when its result is in host memory, or this times the launch.
    """
    for _ in range(warmup):
        call()
    samples = []
    for _ in range(runs):
        start = clock()
        call()
        samples.append((clock() - start) * 1e3)
    return samples


def summary_ms(samples):
    """Nearest-rank percentiles of a list of ms; p99 only from 100 samples on.

    Raises:
        BenchError: no samples.
    """
    if not samples:
        raise BenchError("no samples; expected --runs of at least 10")
    ordered = sorted(samples)
    found = {"runs": len(ordered), "max_ms": ordered[-1], "mean_ms": sum(ordered) / len(ordered)}
    for percentile in PERCENTILES:
        enough = len(ordered) * (100 - percentile) >= 100
        rank = max(0, int(math.ceil(percentile * len(ordered) / 100.0)) - 1)
        found["p%d_ms" % percentile] = ordered[rank] if enough else None
    return found


def bench(folder, manifest, runner, images, runs, warmup=WARMUP, clock=time.perf_counter):
    """Time the network alone and the whole way from an image file.

    Args:
        folder: the bundle; raw samples go into its `work` folder.
        manifest: Manifest.
        runner: entered.
        images: paths of image files, taken in turn.
        runs: timed calls of each scope, at least 10.

    Returns:
        JSON-able, see benchreport.KEYS. One image at a time, the next one after the last has
        ended, as in MLPerf SingleStream; unlike there, for `runs` calls and not for 600 seconds.
    """
    if runs < 10:
        raise BenchError("--runs %d: expected at least 10" % (runs,))
    before = telemetry.memory()
    spec = manifest.preprocess
    batch = to_input(view(read_image(images[0]), spec), spec)
    host = measure_ms(lambda: runner.infer(batch), warmup, runs, clock)
    turn = iter(images * ((warmup + runs) // len(images) + 1))
    whole = measure_ms(
        lambda: runner.infer(to_input(view(read_image(next(turn)), spec), spec)),
        warmup, runs, clock,
    )  # fmt: skip
    after = telemetry.memory()
    host_ms, end_to_end_ms = summary_ms(host), summary_ms(whole)
    return {
        "version": benchreport.VERSION,
        "verb": "bench",
        "model": manifest.model,
        "backend": type(runner).__name__,
        "provenance": runner.provenance,
        "requested": manifest.precision_requested,
        "executed": runner.executed,
        "machine": telemetry.machine(),
        "host_ms": host_ms,
        "end_to_end_ms": end_to_end_ms,
        "fps": {"host": 1e3 / host_ms["p50_ms"], "end_to_end": 1e3 / end_to_end_ms["p50_ms"]},
        "memory": _memory(before, after),
        "warmup": warmup,
        "samples_file": _keep(folder, {"host_ms": host, "end_to_end_ms": whole}),
        "warnings": ["clocks and power mode were not read or locked"],
    }


def _memory(before, after):
    delta = None
    if before["available_mib"] is not None and after["available_mib"] is not None:
        delta = round(before["available_mib"] - after["available_mib"], 1)
    return {
        "process_peak_mib": after["process_peak_mib"],
        "available_before_mib": before["available_mib"],
        "available_after_mib": after["available_mib"],
        "available_delta_mib": delta,
        "method": "VmHWM of this process, Python and libraries included; MemAvailable of the system",
    }


def _keep(folder, samples):
    """Raw samples in `work/`, which is no part of the bundle; its name, or None if read-only."""
    name = os.path.join("work", "bench_samples.json")
    path = os.path.join(str(folder), name)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".tmp", "w", encoding="utf-8") as file:
            json.dump(samples, file)
        os.replace(path + ".tmp", path)
    except (IOError, OSError):
        return None
    return name
