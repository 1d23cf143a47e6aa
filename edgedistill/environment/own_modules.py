"""A module of this package as a program of its own, which imports what this process would."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgedistill.environment.secret_values import child_environment

_ROOT = str(Path(__file__).parents[2])  # that `edgedistill` was imported from


def module_command(module: str, *words: str) -> list[str]:
    """The words of `python -m MODULE WORDS`; -P: nothing is imported from the folder that it happens to start in."""
    return [sys.executable, "-P", "-m", module, *words]


def module_environment() -> dict[str, str]:
    """Its environment: `child_environment`, in which it finds the modules that this process found."""
    paths = [path for path in sys.path if path]  # an empty one is the working directory
    own = [] if _ROOT in paths else [_ROOT]
    return child_environment(PYTHONPATH=os.pathsep.join(own + paths))
