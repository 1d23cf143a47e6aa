"""What the options of a run mean: its folder, its command, its seeds."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgedistill.api.types import PathLike, RunOptions


def run_dir_of(file: PathLike | None, run_dir: PathLike | None) -> Path:
    """Where the run of a recipe lies.

    Raises:
        RecipeError: neither a file nor a folder is named.
    """
    from edgedistill.errors import RecipeError

    if run_dir is not None:
        return Path(run_dir)
    if file is None:
        raise RecipeError("a recipe without a file has no name: say run_dir='runs/NAME'")
    return Path("runs") / Path(file).stem


def command_of(file: PathLike | None, options: RunOptions) -> str:
    """The command that runs all stages of this recipe, as advice repeats it; of the quickstart without a file.

    Settings of [deploy] are left out: some are kept out of every artifact, and advice is about training.
    """
    words = ["edgedistill", "quickstart"] if file is None else ["edgedistill", "run", _from_here(Path(file))]
    run_dir, seeds = options.get("run_dir"), options.get("seeds")
    if run_dir is not None:
        words += ["--run-dir", _from_here(Path(run_dir))]
    if seeds is not None:
        words += ["--seeds", str(seeds)]
    for override in options.get("overrides", ()):
        words += ["--set", override] if not override.strip().startswith("deploy.") else []
    return shlex.join(words)


def _from_here(path: Path) -> str:
    """Relative to the working directory where it lies below it: a report need not tell of a computer."""
    return os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)


def with_seeds(sections: dict[str, Any], seeds: int | None) -> dict[str, Any]:
    """`sections` with `distill.seeds`; what is no table is left for the recipe's own refusal."""
    distill = sections.get("distill", {})
    if seeds is None or not isinstance(distill, Mapping):
        return sections
    return {**sections, "distill": {**distill, "seeds": seeds}}


def refuse_unless_positive(**options: float | None) -> None:
    """
    Args:
        options: name -> value; None is left out.

    Raises:
        RecipeError: one that is not above 0 or not finite.
    """
    from edgedistill.errors import RecipeError

    for name, value in options.items():
        if value is not None and not 0 < value < math.inf:
            raise RecipeError(f"--{name.replace('_', '-')} {value:g}: expected more than 0, and a finite number")
