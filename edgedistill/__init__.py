"""edgedistill: from a folder of images to a distilled student that runs on a Jetson.

    import edgedistill

    report = edgedistill.run("parts.toml")
    print(report.values["retention_fraction"])

The verbs of the command line are functions of this package, with the same words: docs/api.md. They
are found when they are asked for, so that importing edgedistill costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jetson  # noqa: F401  it bounds what OpenCV decodes, which must be said before cv2 is loaded

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgedistill.api import baseline as baseline
    from edgedistill.api import bundle as bundle
    from edgedistill.api import compare as compare
    from edgedistill.api import distill as distill
    from edgedistill.api import evaluate as evaluate
    from edgedistill.api import export as export
    from edgedistill.api import logits as logits
    from edgedistill.api import new as new
    from edgedistill.api import plan as plan
    from edgedistill.api import quantize as quantize
    from edgedistill.api import recipe as recipe
    from edgedistill.api import report as report
    from edgedistill.api import run as run
    from edgedistill.api import stage as stage
    from edgedistill.api import sweep as sweep
    from edgedistill.api import train_teacher as train_teacher
    from edgedistill.api_board import bench as bench
    from edgedistill.api_board import deploy as deploy
    from edgedistill.api_board import enrol as enrol
    from edgedistill.api_board import rollback as rollback
    from edgedistill.api_board import status as status
    from edgedistill.api_questions import check as check
    from edgedistill.api_questions import choose as choose
    from edgedistill.api_questions import doctor as doctor
    from edgedistill.api_questions import predict as predict
    from edgedistill.api_questions import students as students
    from edgedistill.api_types import Artifact as Artifact
    from edgedistill.api_types import DeployOptions as DeployOptions
    from edgedistill.api_types import Options as Options
    from edgedistill.api_types import Sections as Sections
    from edgedistill.errors import EdgeDistillError as EdgeDistillError

# Name -> the module that has it.
HOMES = {
    name: module
    for module, names in {
        "api": (
            "baseline",
            "bundle",
            "compare",
            "distill",
            "evaluate",
            "export",
            "logits",
            "new",
            "plan",
            "quantize",
            "recipe",
            "report",
            "run",
            "stage",
            "sweep",
            "train_teacher",
        ),
        "api_board": ("bench", "deploy", "enrol", "rollback", "status"),
        "api_questions": ("check", "choose", "doctor", "predict", "students"),
        "api_types": ("Artifact", "DeployOptions", "Options", "Sections"),
        "errors": ("EdgeDistillError",),
    }.items()
    for name in names
}
# Verbs whose name is that of a module too: the module itself is called (callable_module.py).
_MODULES = ("check", "distill", "doctor", "new", "plan", "predict", "quantize", "report", "students", "sweep")
__all__ = ["__version__", *HOMES]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"edgedistill.{name}")
    if name in HOMES:
        return getattr(import_module(f"edgedistill.{HOMES[name]}"), name)
    raise AttributeError(f"module 'edgedistill' has no attribute {name!r}; it has: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
