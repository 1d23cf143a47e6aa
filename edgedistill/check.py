"""`edgedistill check`: pre-flight of any ONNX file for a board."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.target import load_target


def check(model: Path, target_name: str, tensorrt: str | None = None) -> dict[str, Any]:
    """JSON-able verdict: model, target, tensorrt, fits, findings.

    Args:
        tensorrt: release of another JetPack than the target's file names.

    Raises:
        RecipeError: no such target or release.
        PreflightError: not an ONNX file.
    """
    target = load_target(target_name, tensorrt)
    findings = check_onnx(model, target)
    return {
        "model": str(model),
        "target": target.name,
        "tensorrt": target.tensorrt,
        "fits": not any(finding.level == "error" for finding in findings),
        "basis": "rules read from the parser's source; not a run of the board's parser",
        "findings": [asdict(finding) for finding in findings],
    }


def text_from_check(result: dict[str, Any]) -> str:
    lines = [
        f"{finding['level']}: {finding['node']}: {finding['why']}; {finding['mend']}"
        for finding in result["findings"]
    ]
    verdict = "fits" if result["fits"] else "does not fit"
    release = f"TensorRT {result['tensorrt']}" if result["tensorrt"] else "no TensorRT"
    return "\n".join(
        [*lines, f"{result['model']}: {verdict} {result['target']} ({release}; {result['basis']})"]
    )
