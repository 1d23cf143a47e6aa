"""`edgedistill report` shows a finished run, and starts no other work than its own."""

import json
import shutil

import pytest

import edgedistill
from edgedistill.cli.main import main
from edgedistill.errors import UsageError


@pytest.fixture
def run(finished_run, tmp_path, monkeypatch):
    shutil.copytree(finished_run / "runs" / "r", tmp_path / "r")
    monkeypatch.chdir(finished_run)
    return tmp_path / "r"


def test_a_run_folder_is_shown_as_it_is(run, capsys):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert main(["report", str(run)]) == 0
    said = capsys.readouterr()
    assert " ".join(said.out.splitlines()[0].split()).startswith("top-1 95 % interval balanced parameters")
    assert said.out.endswith(f"report: {run / 'report' / 'report.html'}\n")
    assert said.err == ""
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert edgedistill.report(run).values == json.loads((run / "report" / "report.json").read_text())
    with pytest.raises(UsageError, match="is a run folder"):
        edgedistill.report(run, overrides=["distill.epochs=2"])


def test_a_recipe_that_would_train_is_refused_and_leaves_no_trace(run, capsys):
    before = (run / "recipe.json").read_bytes()
    assert main(["report", "r.toml", "--run-dir", str(run), "--set", "distill.epochs=9"]) == 1
    said = capsys.readouterr().err
    assert "stage baseline is not up to date (recipe: distill.epochs was 4, is 9)" in said
    assert f"or `edgedistill report {run}` to see the finished run as it is" in said
    assert not list(run.glob("*.partial"))
    assert (run / "recipe.json").read_bytes() == before


def test_a_page_that_is_lost_is_made_again(run, capsys):
    (run / "report" / "report.html").unlink()
    assert main(["report", "r.toml", "--run-dir", str(run)]) == 0
    assert (run / "report" / "report.html").exists()


def test_a_run_that_is_not_there_is_not_made(tmp_path, finished_run, capsys):
    assert main(["report", str(finished_run / "r.toml"), "--run-dir", str(tmp_path / "new")]) == 1
    assert "no such run" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
