"""From the stages' JSON to report.json: every figure with where it comes from."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from edgedistill import __version__
from edgedistill.config import Recipe
from edgedistill.predict.published import published_rows
from edgedistill.report.advice import advice_of, warnings_of
from edgedistill.report.guards import guards_of
from edgedistill.report.uncertainty import balanced_interval, over_seeds, paired_interval
from edgedistill.target import load_target

VERSION = 1  # of report.json
_PACKAGES = ("torch", "torchvision", "timm", "albumentations", "opencv-python", "onnx",
             "onnxruntime", "onnxslim", "numpy")  # fmt: skip
_TEST = "measured: PyTorch on this computer, test images"


def report_from_stages(stages: dict[str, dict[str, Any]], recipe: Recipe) -> dict[str, Any]:
    """Gather and compare.

    Args:
        stages: stage name -> its JSON; all stages before `report`.
        recipe: of the run.

    Returns:
        JSON-able. Fractions are in 0..1, points are of 100, `macs` are multiply-adds of one image,
        `size_ratio` and `macs_ratio` are teacher over student; `device` is what was timed, `target`
        what it is for. A figure that is not known is None, with a `reason` beside it.
    """
    metric = recipe.data.metric
    evaluated, exported, deployed = stages["evaluate"], stages["export"], stages["deploy"]
    nets = {
        "teacher": _net(stages["teacher"], evaluated["teacher"], exported["teacher"]),
        "baseline": _net(stages["baseline"], evaluated["baseline"], exported["student"]),
        "student": _net(stages["distill"], evaluated["student"], exported["student"]),
    }
    teacher, student = nets["teacher"], nets["student"]
    gain = _gain(evaluated, metric)
    report = {
        "version": VERSION,
        **nets,
        "metric": metric,
        "test_images": evaluated["images"],
        "chance": evaluated["chance"],
        "retention_fraction": student[metric] / teacher[metric] if teacher[metric] else None,
        "gain_over_baseline_points": gain["points"],
        "gain": gain,
        "method": recipe.distill.method,
        "links": evaluated.get("links", []),
        "taught": _taught(stages),
        "teacher_agreement_fraction": evaluated["teacher_agreement_fraction"],
        "size_ratio": teacher["file_bytes"] / student["file_bytes"],
        "macs_ratio": teacher["macs"] / student["macs"],
        "speedup": _speedup(deployed),
        "accuracy_ladder": stages["quantize"]["ladder"],
        "int8_gate": stages["quantize"]["int8_gate"],
        "qad": stages["quantize"]["qad"],
        "fp16_findings": stages["quantize"]["fp16_findings"],
        "target": _target(stages["quantize"], recipe),
        "device": _device(deployed["hosts"], stages["quantize"], recipe),
        "published": _published(recipe, stages["quantize"]["executed"]),
        "preflight": exported["preflight"],
        "proof": {key: exported["student"][key] for key in (
            "max_abs_difference", "max_relative_difference", "top1_agreement_fraction", "opset",
            "ir")},
        "histories": {name: stages[stage]["history"]
                      for name, stage in (("teacher", "teacher"), ("baseline", "baseline"),
                                          ("student", "distill"))},
        "data": {key: stages["data"][key] for key in (
            "classes", "images", "counts", "majority_fraction", "exact_duplicates",
            "near_duplicate_groups", "images_in_groups", "leak_count", "leaks",
            "unreadable_count")},
        "cost": {"unit": "seconds", **{name: values["artifact"]["seconds"]
                                       for name, values in stages.items()}},
        "provenance": _provenance(stages, recipe),
    }  # fmt: skip
    warnings = [*warnings_of(report), *guards_of(stages, recipe)]
    return {**report, "warnings": warnings, "advice": advice_of(report, recipe)}


def _net(trained: dict, evaluated: dict, exported: dict) -> dict[str, Any]:
    """`exported` of the baseline is the student's: it is the same network with other weights."""
    kept = ("top1_fraction", "top1_interval", "balanced_accuracy_fraction", "per_class_recall",
            "confusion")  # fmt: skip
    return {
        "model": trained["model"],
        "weights": Path(trained["weights"]).name,  # a path would tell of this computer
        **{key: evaluated[key] for key in kept},
        "parameters": trained["parameters"],
        "macs": exported["macs"],
        "file_bytes": exported["file_bytes"],
        "provenance": _TEST,
    }


def _taught(stages: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """On how many images student and baseline were trained, and where the student's came from."""
    synthetic = stages.get("synthesise")
    return {
        "student_images": stages["distill"]["training_images"],
        "baseline_images": stages["baseline"]["training_images"],
        "pool_images": stages["data"].get("pool_images", 0),
        "synthesised": synthetic
        and {key: synthetic[key] for key in ("images", "wanted_fraction")},
    }


def _gain(evaluated: dict, metric: str) -> dict[str, Any]:
    """Student minus baseline in the recipe's metric and in top-1, each with its 95 % interval."""
    student, baseline = evaluated["student"], evaluated["baseline"]
    better, worse = evaluated["student_only_correct"], evaluated["baseline_only_correct"]
    top1_interval = [100 * v for v in paired_interval(better, worse, evaluated["images"])]
    if metric == "top1_fraction":
        interval, method = top1_interval, "paired, from the images on which the two differ"
    else:
        interval = [100 * v for v in balanced_interval(evaluated["only_correct_by_class"])]
        method = "paired, from the images of each class on which the two differ"
    points = 100 * (student[metric] - baseline[metric])
    return {
        "metric": metric,
        "points": points,
        "interval_points": interval,
        "interval_method": method,
        "shown": not interval[0] <= 0 <= interval[1],
        "sentence": _gain_sentence(interval),
        "top1_points": 100 * (student["top1_fraction"] - baseline["top1_fraction"]),
        "top1_points_interval": top1_interval,
        "student_only_correct": better,
        "baseline_only_correct": worse,
        "mcnemar_p": evaluated["mcnemar_p"],
        "seeds": len(evaluated["seeds"]),
        "over_seeds": over_seeds(evaluated["seeds"], metric),
    }


def _gain_sentence(interval: list[float]) -> str:
    low, high = interval
    if low > 0:
        return f"the teacher helped: the 95 % interval is {low:+.1f} to {high:+.1f} points"
    if high < 0:
        return f"the teacher did harm: the 95 % interval is {low:+.1f} to {high:+.1f} points"
    return f"no gain shown: the 95 % interval, {low:+.1f} to {high:+.1f} points, holds zero"


def _speedup(deployed: dict) -> dict[str, Any]:
    measured = deployed.get("speedup_here")
    if measured is None:
        return {"ratio": None, "reason": "the teacher was not timed beside the student"}
    return {**measured, "reason": ""}


def _target(quantized: dict, recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.target.device,
        "title": load_target(recipe.target.device).title,
        "requested": quantized["requested"],
        "executed": quantized["executed"],
        "reason": quantized["reason"],
        "wanted_fps": recipe.target.fps,
        "wanted_memory_mib": recipe.target.memory_mib,
    }


def _device(hosts: list[dict], quantized: dict, recipe: Recipe) -> dict[str, Any] | None:
    """What the first host said; None when there was none."""
    if not hosts:
        return None
    host = hosts[0]
    bench = host["bench"]
    return {
        "target": recipe.target.device,
        "requested": quantized["requested"],
        "executed_on_target": quantized["executed"],
        "reason": quantized["reason"],
        "executed": bench["executed"],
        "host": host["host"],
        "backend": host["backend"],
        "machine": bench["machine"],
        "latency_ms": {"compute": bench["compute_ms"], "host": bench["host_ms"],
                       "end_to_end": bench["end_to_end_ms"]},
        "fps": bench["fps"],
        "memory": bench["memory"],
        "conditions": {key: bench[key] for key in ("state", "clocks_mhz", "power_mode", "temperatures_c",
                                                   "throttle", "absent")},
        "power": bench["power"],
        "verify": host["verify"],
        "samples_ms": host.get("samples_ms"),
        "provenance": host["provenance"],
        "warnings": bench["warnings"],
    }


def _published(recipe: Recipe, executed: str) -> dict[str, Any]:
    target, model, px = recipe.target.device, recipe.student.model, recipe.data.image_px
    rows = published_rows(target, model, executed, px)
    what = f"{model} at {px} px, {executed.upper()}, TensorRT, on {load_target(target).title}"
    reason = "" if rows else f"unknown: no published measurement for {what}"
    return {"of": what, "rows": rows, "reason": reason}


def _provenance(stages: dict, recipe: Recipe) -> dict[str, Any]:
    values = recipe.model_dump(mode="json")
    for key in ("train", "val", "test", "unlabelled"):  # a path would tell of this computer, and of no other
        values["data"][key] = values["data"][key] and Path(values["data"][key]).name
    for section in ("teacher", "student"):
        values[section]["weights"] = Path(values[section]["weights"]).name
    return {
        "edgedistill": __version__,
        "commit": _commit(Path(__file__).parents[2]),
        "date": max(values["artifact"]["finished"] for values in stages.values()),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "recipe": values,
        "recipe_sha256": hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest(),
        "artifacts": {name: values["artifact"]["digest"] for name, values in stages.items()},
        "bundle_manifest_sha256": stages["bundle"]["manifest_sha256"],
        "bundle_signed": stages["bundle"]["signed"],
    }


def _commit(checkout: Path) -> str | None:
    """Of the git checkout that this code runs from; None when it is installed or has none."""
    head = checkout / ".git" / "HEAD"
    try:
        text = head.read_text(encoding="ascii").strip()
        if text.startswith("ref: "):
            text = (head.parent / text.removeprefix("ref: ")).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None  # no checkout, a worktree, or packed refs
    return text if len(text) in {40, 64} else None
