"""Make the table of models/students.json: export, pre-flight and compile every student."""

from __future__ import annotations

import datetime
import importlib.metadata
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgedistill.config.target import load_target, releases
from edgedistill.core.files import write_json
from edgedistill.core.text import printable
from edgedistill.errors import EdgeDistillError, RunFolderError
from edgedistill.models.build import build_model, parameter_count
from edgedistill.models.families import STUDENTS
from edgedistill.models.students import CLASSES, IMAGE_PX, SEED, verdict_word
from edgedistill.onnx_model.compile import COMPILERS, compile_onnx, compiler_here
from edgedistill.onnx_model.export import onnx_from_model
from edgedistill.onnx_model.graph import count
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.records.export import Proof

_LIBRARIES = ("torch", "torchvision", "timm", "onnx", "onnxruntime", "onnxslim", "tensorrt-rtx")


def refresh(path: Path, say: Callable[[str], None], names: tuple[str, ...] = STUDENTS) -> dict[str, Any]:
    """Export, check and compile every student again, and write the table to `path`.

    Raises:
        RunFolderError: the file cannot be written.
    """
    if not path.parent.is_dir():  # asked before the work of minutes
        folder = printable(str(path.parent))
        raise RunFolderError(f"{printable(path.name)}: there is no folder {folder}; make it, or name another file")
    started, rows = time.monotonic(), []
    for number, name in enumerate(names, start=1):
        rows.append(_examined(name))
        say(f"{number}/{len(names)} {name}: {verdict_word(rows[-1]['export'])} ({time.monotonic() - started:.0f} s)")
    compiler = compiler_here()
    table = {
        "made": datetime.date.today().isoformat(),
        "seconds": round(time.monotonic() - started, 1),
        "image_px": IMAGE_PX,
        "classes": CLASSES,
        "seed": SEED,
        "libraries": {name: _version(name) for name in _LIBRARIES if _version(name)},
        "compiler": COMPILERS[compiler] if compiler else "none",
        "rows": rows,
    }
    write_json(path, table)
    return table


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _examined(name: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model": name,
        "parameters": None,
        "macs": None,
        "export": None,
        "preflight": {},
        "compile": None,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        try:
            model = randomised(name)
            row["parameters"] = parameter_count(model)
            proof = _export(model, path)
        except EdgeDistillError as error:
            return {**row, "export": {"verdict": "fails", "reason": str(error)}}
        row["macs"] = count(path)["macs"]
        row["export"] = {
            "verdict": "proved",
            "relative_difference": proof.max_relative_difference,
        }
        for release in releases():
            findings = check_onnx(path, load_target("jetson-nano", release))
            errors = [finding for finding in findings if finding.level == "error"]
            verdict = {
                "verdict": "does not fit" if errors else "fits",
                "warnings": len(findings) - len(errors),
            }
            if errors:
                verdict["reason"] = f"{len(errors)} faults, first at {errors[0].node}: {errors[0].why}"
            row["preflight"][release] = verdict
        row["compile"] = _compiled(path)
    return row


def randomised(name: str):
    """The model in eval mode, with random weights and random BatchNorm statistics of a fixed seed.

    Fresh statistics are 0 and 1, with which a normalisation that was folded wrongly goes unseen.
    """
    torch.manual_seed(SEED)
    model = build_model(name, CLASSES).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.affine:
            with torch.no_grad():
                module.get_buffer("running_mean").normal_(0, 0.1)
                module.get_buffer("running_var").uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    return model


def _export(model, path: Path) -> Proof:
    probe = np.random.default_rng(SEED).normal(size=(2, 3, IMAGE_PX, IMAGE_PX))
    return onnx_from_model(model, probe.astype(np.float32), path, {})


def _compiled(path: Path) -> dict[str, Any] | None:
    if compiler_here() is None:
        return None
    result = compile_onnx(path)
    reason = {} if result["verdict"] == "builds" else {"reason": "; ".join(result["said"])}
    return {"verdict": result["verdict"], "version": result["version"], **reason}
