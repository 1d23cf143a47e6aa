"""Programs that some tests need: `.ci/run` installs them, elsewhere the test is skipped."""

import os
import shutil

import pytest


def needs(program: str, package: str) -> None:
    """Skip without it; in CI, where it must be, fail."""
    if shutil.which(program) is not None:
        return
    if os.environ.get("EDGEDISTILL_CI"):
        pytest.fail(f"CI installs {package}, and {program} is not here")
    pytest.skip(f"no {program} here: apt install {package}")
