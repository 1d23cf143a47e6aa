"""Collect each host's measurements of the bundle, published measurements and predictions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgedistill.config.recipe import Recipe
from edgedistill.config.target import load_target, wanted_target
from edgedistill.config.task import task_of
from edgedistill.config.values import size_text
from edgedistill.errors import PreflightError, RecipeError
from edgedistill.prediction.features import features_from_file
from edgedistill.prediction.int8_worth import int8_speedup, int8_worth
from edgedistill.prediction.model import is_file, predict
from edgedistill.prediction.published import other_rows, published_rows
from edgedistill.prediction.user_measurements import NOTHING
from edgedistill.records.base import Record
from edgedistill.records.benchmark import BenchAnswer
from edgedistill.records.deployment import BoardDeployment, DeployRecord, TimedBundle
from edgedistill.records.provenance import Kind, Provenance
from edgedistill.records.quantization import QuantizationRecord
from edgedistill.records.report_speed import Int8Verdict, Predicted, Published, ReportDevice, ReportTarget, Speedup
from edgedistill_device.benchmark.benchreport import LATER

_CONDITIONS = ("state", "clocks_mhz", "power_mode", "temperatures_c", "throttle")
_STARTS = "_start_s"
_OLDER = "its bench did not take them yet; make and time the bundle again"


def devices_of(deployed: DeployRecord, quantized: QuantizationRecord, recipe: Recipe) -> list[ReportDevice]:
    """Return one entry for each host, boards first.

    Args:
        deployed: of stage `deploy`.
        quantized: of stage `quantize`.
    """
    devices = [_device(host, quantized, recipe) for host in deployed.hosts]
    return sorted(devices, key=is_stand_in)


def is_stand_in(device: ReportDevice) -> bool:
    """Return whether the figures come from a computer other than the board."""
    return device.provenance.is_stand_in


def spot_of(device: ReportDevice) -> str:
    """Return `this computer` or the host's name."""
    return "this computer" if device.host == "local" else device.host


def place_of(device: ReportDevice) -> str:
    """Return `spot_of` with the name that the board reports of itself."""
    board = device.machine.board
    return f"{spot_of(device)} ({board})" if board else spot_of(device)


def board_mib(device: ReportDevice) -> float | None:
    """Return the peak memory of serving the student, MiB; None when the process was not measured.

    On a Jetson the CPU and GPU share memory, and the resident set of the process excludes what the GPU
    driver holds (NvMap). Both are added; memory that they share is counted twice.
    """
    memory = device.memory
    peak = memory.process_peak_mib
    return None if peak is None else peak + max(0.0, memory.nvmap_delta_mib or 0.0)


def speedup_of(deployed: DeployRecord) -> Speedup:
    """Return the teacher's time over the student's, in one runtime on one computer."""
    measured = deployed.speedup_here
    if measured is None:
        return Speedup(ratio=None, reason="the teacher was not timed beside the student")
    return Speedup(**measured.given(), reason="")


def target_of(quantized: QuantizationRecord, recipe: Recipe) -> ReportTarget:
    """Describe the recipe's board: requested precision, executed precision, budget."""
    return ReportTarget(
        name=recipe.target.device,
        title=wanted_target(recipe.target).title,
        requested=quantized.requested,
        executed=quantized.executed,
        reason=quantized.reason,
        wanted_fps=recipe.target.fps,
        wanted_memory_mib=recipe.target.memory_mib,
        wanted_retention_fraction=recipe.target.min_retention_fraction,
    )


def published_of(recipe: Recipe, executed: str) -> Published:
    """Return published measurements of this network, size, precision and board, or why there are none."""
    target, model, px = recipe.target.device, recipe.student.model, recipe.data.image_px
    asked = (target, model, executed, px)
    rows = published_rows(*asked)
    what = f"{model} at {size_text(px)} px, {executed.upper()}, TensorRT, on {load_target(target).title}"
    reason = "" if rows else f"unknown: no published measurement for {what}"
    return Published(of=what, rows=rows, others=other_rows(*asked), reason=reason)


def predicted_of(model: Path | str, recipe: Recipe) -> Predicted:
    """Return the prediction of `edgedistill estimate` for this network on the board, or why there is none.

    The user's own measurements are ignored, so that equal runs give equal reports on every computer.
    """
    keys = ("fps", "fps_low", "fps_high", "interval_share", "memory_mib")
    try:
        prediction = predict(model, recipe.target.device, recipe.target.precision, learned=NOTHING)
    except (RecipeError, PreflightError) as error:
        return Predicted(
            **dict.fromkeys(keys),
            extrapolated=False,
            notes=[],
            provenance=Provenance(Kind.UNKNOWN),
            reason=str(error),
        )
    return Predicted(
        int8_speedup=_int8_speedup(Path(model), recipe) if is_file(model) else None,
        **{key: getattr(prediction, key) for key in keys},
        notes=list(prediction.notes),
        extrapolated=prediction.extrapolated,
        provenance=Provenance.from_text(prediction.provenance),
        reason="",
    )


def _int8_speedup(model: Path, recipe: Recipe) -> float | None:
    return int8_speedup(features_from_file(model), recipe.target.device)


def int8_of(predicted: Predicted | None, quantized: QuantizationRecord, recipe: Recipe) -> Int8Verdict:
    """Return whether INT8 is worth it: the predicted speed-up beside the simulated drop of top-1."""
    found = int8_worth(
        recipe.target.device,
        predicted.int8_speedup if predicted else None,
        quantized.ladder["int8"].drop_points,
        quantized.int8_gate.max_drop_points,
        task_of(recipe),
    )
    return Int8Verdict(**asdict(found))


def _device(host: BoardDeployment | TimedBundle, quantized: QuantizationRecord, recipe: Recipe) -> ReportDevice:
    bench, verified = host.bench, host.verify
    if bench is None or verified is None:
        raise ValueError(f"{host.host!r} was not timed; stage deploy stops a board after its benchmark at the earliest")
    samples = host.samples_ms or {}
    values = {
        "target": recipe.target.device,
        "requested": quantized.requested,
        "executed_on_target": quantized.executed,
        "reason": quantized.reason,
        "executed": bench.executed,
        "host": host.host,
        "backend": host.backend,
        "machine": bench.machine,
        "latency_ms": {
            "compute": _json(bench.compute_ms),
            "host": _json(bench.host_ms),
            "end_to_end": _json(bench.end_to_end_ms),
        },
        "fps": _json(bench.fps),
        "memory": bench.memory,
        "conditions": _conditions(bench),
        "power": bench.power,
        "verify": verified,
        "layer_times": _json(bench.layer_times),
        "trace": _json(bench.trace),
        "samples_ms": {name: values for name, values in samples.items() if not name.endswith(_STARTS)} or None,
        "samples_start_s": {
            name.removesuffix(_STARTS): values for name, values in samples.items() if name.endswith(_STARTS)
        }
        or None,
        "provenance": host.provenance,
        "warnings": bench.warnings,
    }
    return ReportDevice.from_json(values, f"what {host.host!r} said in deploy.json")


def _conditions(bench: BenchAnswer) -> dict[str, Any]:
    older = {name: _OLDER for name in LATER if name not in bench.model_fields_set}
    return {**{key: getattr(bench, key) for key in _CONDITIONS}, "absent": {**(bench.absent or {}), **older}}


def _json(part: Record | None) -> dict[str, Any] | None:
    """Return the JSON of a nested record."""
    return None if part is None else part.to_json()
