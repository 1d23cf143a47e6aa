"""What some tests need and not every computer has: `.ci/run` installs it, elsewhere they are skipped."""

import os
import shutil

import pytest


def needs(program: str, package: str) -> None:
    """Skip without a program of Debian's; in CI, where it must be, fail."""
    if shutil.which(program) is None:
        lacking(program, f"apt install {package}")


def lacking(what: str, mend: str) -> None:
    """It is not here: skip, and in CI fail."""
    if os.environ.get("EDGEDISTILL_CI"):
        pytest.fail(f"CI runs without {what}: {mend}")
    pytest.skip(f"no {what} here: {mend}")
