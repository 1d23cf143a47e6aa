"""From the stages' JSON to report.json: every figure with where it comes from."""

from __future__ import annotations

import math
import platform
from importlib import metadata
from typing import Any

from edgedistill import __version__
from edgedistill.config import Recipe
from edgedistill.predict.published import published_rows

_PACKAGES = ("torch", "timm", "albumentations", "opencv-python", "onnx", "onnxruntime", "numpy")
_TEST = "measured: PyTorch on this computer, test images"
_SMALL_TEST = 200  # images; below this an interval is wider than most gains
WELL_RETAINED = 0.9  # student over teacher; below it the report advises


def report_from_stages(stages: dict[str, dict[str, Any]], recipe: Recipe) -> dict[str, Any]:
    """Gather and compare.

    Args:
        stages: stage name -> its JSON.
        recipe: of the run.

    Returns:
        JSON-able; see docs/report.md for every key.
    """
    metric = recipe.data.metric
    evaluated, exported = stages["evaluate"], stages["export"]
    nets = {
        "teacher": _net(stages["teacher"], evaluated["teacher"], exported["teacher"]),
        "baseline": _net(stages["baseline"], evaluated["baseline"], exported["student"]),
        "student": _net(stages["distill"], evaluated["student"], exported["student"]),
    }
    retention = nets["student"][metric] / max(nets["teacher"][metric], 1e-9)
    host = stages["deploy"]["hosts"][0]
    quantized = stages["quantize"]
    report = {
        **nets,
        "metric": metric,
        "test_images": evaluated["images"],
        "chance": evaluated["chance"],
        "retention_fraction": retention,
        "gain_over_baseline_points": 100 * (nets["student"][metric] - nets["baseline"][metric]),
        "gain": _gain(evaluated, metric),
        "teacher_agreement_fraction": evaluated["teacher_agreement_fraction"],
        "size_ratio": nets["teacher"]["file_bytes"] / nets["student"]["file_bytes"],
        "macs_ratio": nets["teacher"]["macs"] / nets["student"]["macs"],
        "speedup": stages["deploy"]["speedup_here"],
        "accuracy_ladder": quantized["ladder"],
        "device": _device(host, quantized, recipe),
        "published": _published(recipe, quantized["executed"]),
        "preflight": exported["preflight"],
        "histories": {name: stages[stage]["history"]
                      for name, stage in (("teacher", "teacher"), ("baseline", "baseline"),
                                          ("student", "distill"))},
        "data": {key: stages["data"][key] for key in (
            "classes", "images", "counts", "exact_duplicates", "near_duplicate_groups",
            "images_in_groups", "leak_count", "leaks", "unreadable_count")},
        "cost": {"unit": "seconds", **{name: values["cost"]["seconds"]
                                       for name, values in stages.items()}},
        "provenance": _provenance(stages, recipe),
    }  # fmt: skip
    report["warnings"] = _warnings(report)
    report["advice"] = _advice(report, recipe)
    return report


def _net(trained: dict, evaluated: dict, exported: dict) -> dict[str, Any]:
    kept = ("top1_fraction", "top1_interval", "balanced_accuracy_fraction", "per_class_recall",
            "confusion")  # fmt: skip
    return {
        "model": trained["model"],
        "weights": trained["weights"],
        **{key: evaluated[key] for key in kept},
        "parameters": trained["parameters"],
        "macs": exported["macs"],
        "file_bytes": exported["file_bytes"],
        "provenance": _TEST,
    }


def _gain(evaluated: dict, metric: str) -> dict[str, Any]:
    """The difference in top-1 with its 95 % interval, from the images on which the two differ.

    Source of the interval: Wald interval of paired proportions, Agresti, Categorical Data
    Analysis, section 11.1.
    """
    n = evaluated["images"]
    better, worse = evaluated["student_only_correct"], evaluated["baseline_only_correct"]
    difference = (better - worse) / n
    half = 1.959964 * math.sqrt(max(better + worse - (better - worse) ** 2 / n, 0.0)) / n
    low, high = 100 * (difference - half), 100 * (difference + half)
    if low > 0:
        sentence = "The student is better than the same student trained without a teacher."
    elif high < 0:
        sentence = "The student is WORSE than the same student trained without a teacher."
    else:
        sentence = (
            "No gain is shown: the interval of the difference in top-1 holds zero. More test "
            "images or more seeds would tell."
        )
    return {
        "top1_points": 100 * difference,
        "top1_points_interval": [low, high],
        "student_only_correct": better,
        "baseline_only_correct": worse,
        "mcnemar_p": evaluated["mcnemar_p"],
        "sentence": sentence,
        "seeds": 1,
    }


def _device(host: dict, quantized: dict, recipe: Recipe) -> dict[str, Any]:
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
        "latency_ms": {"host": bench["host_ms"], "end_to_end": bench["end_to_end_ms"]},
        "fps": bench["fps"],
        "memory": bench["memory"],
        "verify": host["verify"],
        "samples_ms": host["samples_ms"],
        "provenance": host["provenance"],
        "warnings": bench["warnings"],
    }


def _published(recipe: Recipe, executed: str) -> dict[str, Any]:
    rows = published_rows(
        recipe.target.device, recipe.student.model, executed, recipe.data.image_px
    )
    what = (
        f"{recipe.student.model} at {recipe.data.image_px} px, {executed.upper()}, TensorRT, on "
        f"{recipe.target.device}"
    )
    reason = "" if rows else f"unknown: no published measurement of {what}"
    return {"of": what, "rows": rows, "reason": reason}


def _warnings(report: dict) -> list[str]:
    device, data = report["device"], report["data"]
    found = []
    if device["host"] == "local":
        found.append(f"Speed and memory were not measured on a board ({device['provenance']}).")
    if device["reason"]:
        found.append(device["reason"] + ".")
    if report["student"]["top1_fraction"] <= report["chance"]["top1_fraction"]:
        found.append(
            f"The student's top-1 is no better than always saying {report['chance']['majority_class']!r}."
        )
    if data["leak_count"]:
        found.append(
            f"{data['leak_count']} pairs of alike images stand in different splits: the test "
            "figures are too good."
        )
    if report["test_images"] < _SMALL_TEST:
        found.append(f"Only {report['test_images']} test images: look at the intervals.")
    return found + [f"Bench: {line}." for line in device["warnings"]]


def _advice(report: dict, recipe: Recipe) -> list[dict[str, str]]:
    """What to try when the student keeps less than WELL_RETAINED of the teacher, best first."""
    if report["retention_fraction"] >= WELL_RETAINED:
        return []
    distill = recipe.distill
    steps = [("a bigger student", "student.model=mobilenetv3_large_100"),
             ("another temperature", f"distill.temperature={distill.temperature * 2:g}")]  # fmt: skip
    if distill.feature_weight == 0:
        steps.append(("feature matching", "distill.feature_weight=0.1"))
    steps.append(("longer training", f"distill.epochs={distill.epochs * 2}"))
    return [{"try": what, "command": f"edgedistill run RECIPE.toml --set {setting}"}
            for what, setting in steps]  # fmt: skip


def _provenance(stages: dict, recipe: Recipe) -> dict[str, Any]:
    return {
        "edgedistill": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "recipe": recipe.model_dump(mode="json"),
        "artifacts": {name: values["artifact"]["digest"] for name, values in stages.items()},
        "finished": {name: values["artifact"]["finished"] for name, values in stages.items()},
        "bundle_manifest_sha256": stages["bundle"]["manifest_sha256"],
        "bundle_signed": stages["bundle"]["signed"],
    }
