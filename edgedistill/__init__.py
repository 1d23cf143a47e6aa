"""edgedistill: from a folder of images to a distilled student that runs on a Jetson.

    import edgedistill

    report = edgedistill.run("parts.toml")
    print(report.values["retention_fraction"])

The verbs of the command line are functions of this package, with the same words: docs/api.md. They
are found when they are asked for, so that importing edgedistill costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import edgedistill_device  # noqa: F401  it bounds what OpenCV decodes, which must be said before cv2 is loaded
from edgedistill._version import __version__

if TYPE_CHECKING:
    from edgedistill.api.boards import bench as bench
    from edgedistill.api.boards import deploy as deploy
    from edgedistill.api.boards import enrol as enrol
    from edgedistill.api.boards import rollback as rollback
    from edgedistill.api.boards import status as status
    from edgedistill.api.predictions import predict as predict
    from edgedistill.api.questions import check as check
    from edgedistill.api.questions import choose as choose
    from edgedistill.api.questions import doctor as doctor
    from edgedistill.api.questions import estimate as estimate
    from edgedistill.api.questions import published as published
    from edgedistill.api.questions import students as students
    from edgedistill.api.results import compare as compare
    from edgedistill.api.results import report as report
    from edgedistill.api.runs import baseline as baseline
    from edgedistill.api.runs import bundle as bundle
    from edgedistill.api.runs import decide as decide
    from edgedistill.api.runs import distill as distill
    from edgedistill.api.runs import evaluate as evaluate
    from edgedistill.api.runs import export as export
    from edgedistill.api.runs import logits as logits
    from edgedistill.api.runs import new as new
    from edgedistill.api.runs import plan as plan
    from edgedistill.api.runs import quantize as quantize
    from edgedistill.api.runs import quickstart as quickstart
    from edgedistill.api.runs import recipe as recipe
    from edgedistill.api.runs import run as run
    from edgedistill.api.runs import stage as stage
    from edgedistill.api.runs import sweep as sweep
    from edgedistill.api.runs import train_teacher as train_teacher
    from edgedistill.api.terminal import completion as completion
    from edgedistill.api.terminal import keys as keys
    from edgedistill.api.types import Artifact as Artifact
    from edgedistill.api.types import DeployOptions as DeployOptions
    from edgedistill.api.types import FleetReport as FleetReport
    from edgedistill.api.types import Options as Options
    from edgedistill.api.types import RunOptions as RunOptions
    from edgedistill.api.types import Sections as Sections
    from edgedistill.errors import EdgeDistillError as EdgeDistillError

# Name -> the module that has it.
HOMES = {
    name: module
    for module, names in {
        "api.runs": (
            "baseline",
            "bundle",
            "decide",
            "distill",
            "evaluate",
            "export",
            "logits",
            "new",
            "plan",
            "quantize",
            "quickstart",
            "recipe",
            "run",
            "stage",
            "sweep",
            "train_teacher",
        ),
        "api.results": ("compare", "report"),
        "api.boards": ("bench", "deploy", "enrol", "rollback", "status"),
        "api.questions": ("check", "choose", "doctor", "estimate", "published", "students"),
        "api.predictions": ("predict",),
        "api.terminal": ("completion", "keys"),
        "api.types": ("Artifact", "DeployOptions", "FleetReport", "Options", "RunOptions", "Sections"),
        "errors": ("EdgeDistillError",),
    }.items()
    for name in names
}
__all__ = ["__version__", *HOMES]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in HOMES:
        return getattr(import_module(f"edgedistill.{HOMES[name]}"), name)
    raise AttributeError(f"module 'edgedistill' has no attribute {name!r}; it has: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
