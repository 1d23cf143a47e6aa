"""What some tests need and not every computer has: `.ci/run` installs it, elsewhere they are skipped.

No other file skips (tests/test_skips.py). It runs on the board's Python 3.6 too.
"""

import importlib
import os
import shutil

import pytest


def needs(program, package):
    """Skip without a program of Debian's; in CI, where it must be, fail."""
    if shutil.which(program) is None:
        lacking(program, f"apt install {package}")


def imported(module, mend):
    """The module, or `lacking`."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return lacking(module, mend)


def lacking(what, mend):
    """It is not here: skip, and in CI fail."""
    if os.environ.get("EDGEDISTILL_CI"):
        pytest.fail(f"CI runs without {what}: {mend}")
    pytest.skip(f"no {what} here: {mend}")


def lacking_in_ci_too(what, mend):
    """It is not here, and CI does without it: skip."""
    pytest.skip(f"no {what} here, nor in CI: {mend}")
