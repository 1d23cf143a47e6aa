"""`edgedistill check`: pre-flight of any ONNX file for a board."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from edgedistill.config.target import load_target
from edgedistill.core.files import write_bytes
from edgedistill.core.text import printable, printable_values
from edgedistill.errors import PreflightError, RunFolderError
from edgedistill.onnx_model.backends import backend_of
from edgedistill.onnx_model.findings import standard_fault
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.onnx_model.rules.tensors import MAX_BYTES


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
        "jetpack": list(target.release.jetpacks) if target.release else [],
        "fits": not any(finding.level == "error" for finding in findings),
        "basis": f"{backend_of(target).basis(target)}; not a run of the board's parser",
        "findings": [asdict(finding) for finding in findings],
    }


def fix(
    model: Path,
    target_name: str,
    out: Path,
    tensorrt: str | None = None,
    shapes: dict[str, tuple[int, ...]] | None = None,
) -> dict[str, Any]:
    """`check`, then the same file mended, proved equal to the original, and checked again.

    Args:
        out: file to write; written beside and renamed once the proof holds.
        shapes: of inputs whose dimensions are open, by name.

    Returns:
        What `check` gives of the mended file, and under "fix": file, mended, not_mended, proof.

    Raises:
        RecipeError, PreflightError: as `check`; the mended model is not the same network; `out`
            would overwrite the original.
    """
    from edgedistill.onnx_model.equivalence import prove_equal  # late: ONNX Runtime, and sympy under onnxslim,
    from edgedistill.onnx_model.fix import mended  # which `check` alone does not need

    target = load_target(target_name, tensorrt)
    if target.release is None:
        raise PreflightError(f"{target.title} has no TensorRT, so there is nothing to mend a file for")
    check_onnx(model, target)  # refuses what is no ONNX file, in its own words
    if out.exists() and (out.is_dir() or out.samefile(model)):
        what = "a folder" if out.is_dir() else "the original"
        raise PreflightError(f"{out} is {what}; give --fix another name")
    _refuse_what_is_no_tensor(model)
    made, done, failed = mended(model, target, shapes)
    if made.ByteSize() > MAX_BYTES:
        raise PreflightError(f"{model}: more than 2 GiB with its weights; take a smaller model")
    beside = out.with_name(f".{out.name}.partial")
    try:
        write_bytes(beside, made.SerializeToString(deterministic=True))
        _refuse_what_breaks_the_standard(model, beside)
        proof = prove_equal(model, beside)
        result = check(beside, target_name, tensorrt)
        os.replace(beside, out)
    except OSError as error:
        raise RunFolderError(f"cannot write {out}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):  # a read-only folder refuses even what is not there
            beside.unlink()
    fixed = {"file": str(out), "mended": printable_values(done), "not_mended": printable_values(failed), "proof": proof}
    return {**result, "model": str(model), "fix": fixed}


def _refuse_what_breaks_the_standard(model: Path, mended: Path) -> None:
    """
    Raises:
        PreflightError: onnx.checker refuses what was made in full, and took the original.
    """
    reason = standard_fault(str(mended), full_check=True)
    if reason and not standard_fault(str(model), full_check=True):
        raise PreflightError(f"{model}: the mended model would break the ONNX standard: {reason}; not written")


def _refuse_what_is_no_tensor(model: Path) -> None:
    """Inputs and outputs of strings, sequences or optionals: nothing can be drawn or compared.

    Raises:
        PreflightError: the first of them.
    """
    graph = onnx.load(str(model), load_external_data=False).graph
    for side, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            kind = value.type.WhichOneof("value") or "nothing"
            if kind != "tensor_type" or value.type.tensor_type.elem_type == onnx.TensorProto.STRING:
                what = "strings" if kind == "tensor_type" else kind.removesuffix("_type")
                raise PreflightError(
                    f"{model}: its {side} {value.name!r} is of type {what}; --fix proves tensors of numbers only"
                )


def text_from_check(result: dict[str, Any]) -> str:
    lines = [
        f"{finding['level']}: {finding['node']}: {finding['why']}; {finding['mend']}" for finding in result["findings"]
    ]
    verdict = "fits" if result["fits"] else "does not fit"
    release = f"TensorRT {result['tensorrt']}" if result["tensorrt"] else "no TensorRT"
    file = printable(result["fix"]["file"] if "fix" in result else result["model"])
    if "fix" in result:
        lines = [*_lines_of_fix(result["fix"]), *lines]
    if "compile" in result:
        lines += _lines_of_compile(result["compile"])
    if "int8" in result:
        lines.append(f"INT8: {result['int8']}")
    return "\n".join([*lines, f"{file}: {verdict} {result['target']} ({release}; {result['basis']})"])


def _lines_of_fix(fixed: dict[str, Any]) -> list[str]:
    proof = fixed["proof"]
    return [
        *(f"mended: {what}" for what in fixed["mended"] or ["nothing to mend"]),
        *(f"not mended: {why}" for why in fixed["not_mended"]),
        f"proved equal: {proof['inputs']} random inputs in ONNX Runtime, largest difference "
        f"{proof['max_relative_difference']:.1e} of the largest output, limit {proof['limit']:.0e}",
    ]


def _lines_of_compile(compiled: dict[str, Any]) -> list[str]:
    who = f"{compiled['compiler']} {compiled['version'] or ''}".strip()
    return [
        f"compile: {compiled['verdict']} ({who}, {compiled['seconds']:.1f} s, {compiled['peak_mib']} MiB; "
        f"{compiled['basis']})",
        *(f"compile: it said: {line}" for line in compiled["said"]),
    ]
