"""How long each layer takes: in a run of its own after the timed ones, for a profiler slows what it times.

The sum over the layers is not the latency: copies, gaps between layers and the runtime around them
belong to none.
"""

import json
import math

RUNS = 20
MOST_LETTERS = 300  # TensorRT names a fused layer after all that went into it


def layer_times(runner, batch, runs=RUNS):
    """Profile an entered runner.

    Args:
        runner: its `profile(batch, runs)` gives [[(layer, kind or None, ms)]], run by run.
        batch: (1, 3, H, W) float32.

    Returns:
        (found, None), or (None, why there is nothing): it raises nothing. `found` is JSON-able: `layers` in
        the order they run in, each with name, kind, median_ms and share of sum_ms; sum_ms; runs.
    """
    try:
        rows = runner.profile(batch, runs + 1)[1:]  # the first warms up
    except Exception as error:  # whatever a profiler does, the benchmark is done and stands
        reason = " ".join(str(error).split())[:MOST_LETTERS]
        return None, "profiling failed: %s: %s" % (type(error).__name__, reason)
    if not rows or not rows[0]:
        return None, "the profiler named no layer"
    if any([row[:2] for row in run] != [row[:2] for row in rows[0]] for run in rows):
        return None, "the profiler named other layers from run to run"
    medians = [_median([run[place][2] for run in rows]) for place in range(len(rows[0]))]
    total = sum(medians)
    if not total or not math.isfinite(total):  # 0 us each: too short for the profiler's clock
        return None, "the profiler's times come to %r ms in sum" % (total,)
    layers = [
        {"name": name[:MOST_LETTERS], "kind": kind, "median_ms": round(ms, 6), "share": round(ms / total, 6)}
        for (name, kind, _), ms in zip(rows[0], medians)
    ]
    return {"layers": layers, "sum_ms": round(total, 6), "runs": len(rows)}, None


def kinds_from_text(text):
    """{layer: its type} of TensorRT's engine inspector; empty where the engine has only names."""
    try:
        layers = json.loads(text)["Layers"]
    except (TypeError, ValueError, KeyError):
        return {}
    return {
        layer["Name"]: str(layer["LayerType"])
        for layer in layers
        if isinstance(layer, dict) and {"Name", "LayerType"} <= set(layer)
    }


def rows_from_events(events):
    """[[(layer, kind, ms)]], run by run, of ONNX Runtime's profile.

    Args:
        events: its JSON, of 1.10 or newer: a node's `_kernel_time` in us, and at the end of each run
            `model_run`.
    """
    runs, run, suffix = [], [], "_kernel_time"
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(suffix):
            kind = event.get("args", {}).get("op_name")
            run.append((event["name"][: -len(suffix)], kind, event["dur"] / 1e3))
        elif event["name"] == "model_run":
            runs.append(run)
            run = []
    return runs


def _median(values):
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2.0
