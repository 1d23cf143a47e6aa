"""Programs that are modules of this package find it, and nothing in the folder where they happen to start."""

import os
import subprocess
import sys
from pathlib import Path

import edgedistill
from edgedistill.environment.own_modules import module_command, module_environment

PACKAGE = Path(edgedistill.__file__).parent


def test_a_folder_of_that_name_where_it_starts_is_not_it(tmp_path):
    for name in ("edgedistill", "json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('another one')")
    done = subprocess.run(
        module_command("edgedistill.environment.secret_values"),
        cwd=tmp_path,
        env=module_environment(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_was_imported_from_the_working_directory_is_found(monkeypatch):
    root = str(PACKAGE.parent)
    monkeypatch.setattr(sys, "path", ["", *(path for path in sys.path if path != root)])
    paths = module_environment()["PYTHONPATH"].split(os.pathsep)
    assert paths[0] == root
    assert "" not in paths


def test_every_program_of_this_package_is_started_so():
    files = [path for path in PACKAGE.rglob("*.py") if 'executable, "-m"' in path.read_text(encoding="utf-8")]
    assert files == []
