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
    from edgedistill.api import Artifact as Artifact
    from edgedistill.api import Sections as Sections
    from edgedistill.api import bundle as bundle
    from edgedistill.api import check as check
    from edgedistill.api import choose as choose
    from edgedistill.api import distill as distill
    from edgedistill.api import doctor as doctor
    from edgedistill.api import evaluate as evaluate
    from edgedistill.api import export as export
    from edgedistill.api import new as new
    from edgedistill.api import plan as plan
    from edgedistill.api import predict as predict
    from edgedistill.api import quantize as quantize
    from edgedistill.api import recipe as recipe
    from edgedistill.api import report as report
    from edgedistill.api import run as run
    from edgedistill.api import stage as stage
    from edgedistill.api import students as students
    from edgedistill.api import sweep as sweep
    from edgedistill.api import train_teacher as train_teacher
    from edgedistill.errors import EdgeDistillError as EdgeDistillError

_IN_API = ("Artifact", "Sections", "bundle", "choose", "evaluate", "export", "recipe", "run", "stage",
           "train_teacher")  # fmt: skip
# Verbs whose name is that of a module too: the module itself is called (callable_module.py).
_MODULES = (
    "check",
    "distill",
    "doctor",
    "new",
    "plan",
    "predict",
    "quantize",
    "report",
    "students",
    "sweep",
)
__all__ = ["EdgeDistillError", "__version__", *_IN_API, *_MODULES]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"edgedistill.{name}")
    if name in _IN_API:
        return getattr(import_module("edgedistill.api"), name)
    if name == "EdgeDistillError":
        return import_module("edgedistill.errors").EdgeDistillError
    raise AttributeError(
        f"module 'edgedistill' has no attribute {name!r}; it has: {', '.join(__all__)}"
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
