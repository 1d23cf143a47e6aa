"""Runtimes as the workstation knows them: pre-flight, compile check, executed precision, stand-in or not.

The rows are those of the board, `edgedistill_device.engine.runners.BACKENDS`. The backend NAME is the module
NAME_backend beside this one, whose BACKEND is imported when a target names it.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.config.target import Precision, Target, load_target
from edgedistill.errors import RecipeError
from edgedistill_device.engine.runners import BACKENDS, DEFAULT

if TYPE_CHECKING:
    from edgedistill.onnx_model.findings import Finding, Graph

__all__ = ["BACKENDS", "DEFAULT", "Backend", "backend_here", "backend_named", "backend_of", "executed_precision"]


class Backend:
    """One runtime. As it stands here: no rules, no compile check of its own, and only what the target computes in.

    Attributes:
        name: its row.
        title: for people.
        stand_in: whether figures of it are marked as no board's: it only takes the place of TensorRT.
    """

    name: str
    title: str
    stand_in: bool = True

    def findings(self, graph: Graph, target: Target) -> list[Finding]:
        """What the pre-flight says of a model in memory; nothing where there are no rules.

        Args:
            graph: its `path` is the file, where there is one.
        """
        return []

    def basis(self, target: Target) -> str:
        """What that rests on, for reports."""
        return "no rules"

    def release_of(self, target: Target) -> str:
        """The release that a target runs, for messages."""
        return self.title

    def compiled(self, path: Path, limit_seconds: float, limit_mib: int, only_parse: bool) -> dict[str, Any]:
        """`check --compile`: what a runtime of this computer makes of a file; see `compile.compile_onnx`.

        Raises:
            PreflightError: there is none to ask.
        """
        from edgedistill.onnx_model.compile import compile_onnx

        return compile_onnx(path, limit_seconds, limit_mib, only_parse)

    def executed(self, target: Target, requested: str) -> tuple[Precision, str]:
        """(precision that it computes in, why it is not what was asked, or "")."""
        for precision in target.precisions:
            if precision == requested:
                return precision, ""
        served: Precision = "fp16" if "fp16" in target.precisions else "fp32"
        return served, self.why_not(target, requested, served)

    def why_not(self, target: Target, requested: str, served: str) -> str:
        """One line: why `requested` is served as `served`."""
        return (
            f"{target.title} computes in {' and '.join(p.upper() for p in target.precisions)} with {self.title}, so "
            f"{requested.upper()} is served as {served.upper()}"
        )


def backend_named(name: str) -> Backend:
    """
    Raises:
        RecipeError: no such row.
    """
    if name not in BACKENDS:
        raise RecipeError(f"backend {name!r} is unknown; known: {', '.join(BACKENDS)}")
    return importlib.import_module(f"{__name__}.{name}_backend").BACKEND


def backend_of(target: Target) -> Backend:
    """That of a target's file.

    Raises:
        RecipeError: its file names none that is known.
    """
    return backend_named(target.backend)


def backend_here(target: Target) -> Backend:
    """What runs a target's bundle on this computer: its own runtime, or for TensorRT the stand-in of `local`."""
    named = backend_of(target)
    return named if named.stand_in else backend_of(load_target("local"))


def executed_precision(target: Target, requested: str) -> tuple[Precision, str]:
    """What the board will compute in, and one line that says why when it is not what was asked."""
    return backend_of(target).executed(target, requested)
