"""Stage `export`: ONNX of student and teacher, proved against PyTorch; pre-flight for the board."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from edgedistill.config.target import wanted_target
from edgedistill.config.task import task_of
from edgedistill.core.files import sha256_of
from edgedistill.errors import PreflightError
from edgedistill.models.weights import load_weights
from edgedistill.onnx_model.backends import backend_of
from edgedistill.onnx_model.export import Pixels, onnx_from_model, spec_of_pixels
from edgedistill.onnx_model.graph import count
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images
from edgedistill.records.export import ExportedNetwork, ExportRecord, Preflight, PreflightFinding
from edgedistill.records.layout import STUDENT, TEACHER, WEIGHTS
from edgedistill.records.result import Result
from edgedistill.training.fit import spec_for
from edgedistill_device.preprocess import to_input
from edgedistill_device.preprocess_spec import Preprocess, dict_from_preprocess

PROBE_IMAGES = 32


def run(context: StageContext) -> Result:
    images = open_images(context)
    target = wanted_target(context.recipe.target)
    frames = np.concatenate(list(images.frames("val")))[:PROBE_IMAGES]
    networks: dict[str, Any] = {}
    task = task_of(context.recipe)
    for name, stage, file in (("student", "distill", STUDENT), ("teacher", "teacher", TEACHER)):
        model, about = load_weights(context.file(stage, WEIGHTS))
        spec = spec_for(about["model"], context.recipe)
        probe, pixels, stored = _inputs(frames, spec), None, spec
        if name == "student" and context.recipe.export.normalise_in_graph:
            stored = spec_of_pixels(spec)
            pixels = Pixels(_inputs(frames, stored), spec)
        metadata = {
            "model": about["model"],
            "classes": json.dumps(about["classes"]),
            "preprocess": json.dumps(dict_from_preprocess(stored)),
            **({"values": json.dumps([value._asdict() for value in images.values])} if images.values else {}),
            **({"task": task.name} if task.multiple else {}),
        }
        path = context.out / file
        # A teacher never goes to the board, and may be of a kind that does not fold.
        proof = onnx_from_model(model, probe, path, metadata, pixels=pixels, for_board=name == "student")
        networks[name] = ExportedNetwork(
            file=file,
            sha256=sha256_of(path),
            **proof.given(),
            **count(path),
            normalise_in_graph=pixels is not None,
        )
    findings = check_onnx(context.out / STUDENT, target)
    preflight = Preflight(
        target=target.name,
        tensorrt=target.tensorrt,
        findings=[PreflightFinding(**asdict(finding)) for finding in findings],
    )
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        first = errors[0]
        raise PreflightError(
            f"{target.title} ({backend_of(target).release_of(target)}) does not accept the student: {len(errors)} "
            f"faults, first at {first.node}: {first.why}; {first.mend}"
        )
    return Result(ExportRecord(probe_images=len(frames), **networks, preflight=preflight), (STUDENT, TEACHER))


def _inputs(frames: np.ndarray, spec: Preprocess) -> np.ndarray:
    return np.concatenate([to_input(frame, spec) for frame in frames])
