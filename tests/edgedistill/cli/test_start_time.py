"""Verbs that train nothing do not load a training framework."""

import json
import shutil
import subprocess
import sys

import pytest

from end_to_end import ROOT

WITHOUT_TORCH = (
    "import sys; sys.modules.update(torch=None, timm=None); "
    "from edgedistill.cli.main import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.mark.parametrize("stage", ["bundle", "deploy", "report"])
def test_a_finished_run_needs_no_torch(finished_run, tmp_path, stage):
    """An import of torch fails here, and its traceback names who wanted it."""
    ours = tmp_path / "r"
    shutil.copytree(finished_run / "runs" / "r", ours)
    made = ours / stage / f"{stage}.json"
    before = json.loads(made.read_text())
    made.unlink()
    words = [stage, finished_run / "r.toml", "--run-dir", ours, "--force", stage]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(made.read_text()).keys() == before.keys()
