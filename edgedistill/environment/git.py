"""The git checkout that this code runs from, for provenance; an installed package has none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from edgedistill.environment.secret_values import child_environment

CHECKOUT = Path(__file__).parents[2]


def commit_of(checkout: Path = CHECKOUT) -> str | None:
    """Its commit in hex; None where there is no checkout or no git."""
    return _git(checkout, "rev-parse", "HEAD")


def is_changed(checkout: Path = CHECKOUT) -> bool:
    """Whether a file that git knows differs from that commit."""
    return bool(_git(checkout, "status", "--porcelain", "--untracked-files=no"))


def _git(checkout: Path, *arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None or not (checkout / ".git").exists():  # that of another project around it says nothing
        return None
    done = subprocess.run(
        [program, "-C", str(checkout), *arguments], capture_output=True, text=True, check=False, env=child_environment()
    )
    return done.stdout.strip() if done.returncode == 0 else None
