"""tests/device_test.sh without its interpreters: a failure in CI, a sentence elsewhere."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("in_ci", "code"), [("1", 1), ("", 0)])
def test_a_missing_python_fails_only_in_ci(tmp_path, in_ci, code):
    names = [kind + suffix for kind in ("PYTHON", "VENV") for suffix in ("36", "310", "312")] + ["VENV36_NANO"]
    nowhere = {name: str(tmp_path / name) for name in names}
    done = subprocess.run(
        ["bash", ROOT / "tests" / "device_test.sh"],
        env={**os.environ, **nowhere, "EDGEDISTILL_CI": in_ci},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert f"no interpreter at '{nowhere['PYTHON36']}'" in done.stderr
    assert not list(tmp_path.iterdir())
