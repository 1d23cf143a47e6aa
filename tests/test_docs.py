"""The pages under docs/ and the README: each command executed or excused, each generated page up to
date, and what extend.md adds really added. test_page_claims.py reads what they say."""

import json
import os
import re
import runpy
import shutil
import subprocess

import pytest

from documents import FENCE, Reader, shell_blocks
from edgedistill.cli.main import build_parser
from edgedistill_device.__main__ import VERBS
from end_to_end import ROOT, command_words, edgedistill, write_images

pytestmark = pytest.mark.slow

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIRST = ("tutorial.md", "README.md")  # they make what the other pages go on with


@pytest.mark.timeout(1200)
def test_commands_of_the_pages_work_in_their_order(tmp_path):
    write_images(tmp_path / "images", per_class=20)
    reader, typed = Reader(tmp_path), []
    order = sorted(PAGES, key=lambda page: (*(page.name != name for name in FIRST), page.name))
    for page in order:
        reader.open_page()
        for block in shell_blocks(page):
            for command in block.commands if block.excuse is None else ():
                if not command.startswith("make "):  # test_readme.py
                    reader.type(command)
                    typed.append(command)
    assert len(typed) >= 20


def test_a_block_without_an_excuse_would_be_executed(tmp_path, monkeypatch):
    page = tmp_path / "p.md"
    page.write_text(
        "```bash\na  # why\nb\n```\n\n<!-- not executed: needs a board -->\n```sh\nc\n```\n"
        "<!-- not executed: -->\n```sh\nd\n```\n"
    )
    monkeypatch.setattr("documents.ROOT", tmp_path)
    found = [(block.commands, block.excuse) for block in shell_blocks(page)]
    assert found == [(("a", "b"), None), (("c",), "needs a board"), (("d",), None)]


def test_the_index_has_a_page_for_every_verb():
    """A row of docs/README.md names it, and a page of that row is about it."""
    rows = re.findall(r"^\| (`.*`) \| (\[.*) \|$", (ROOT / "docs" / "README.md").read_text("utf-8"), re.M)
    pages = {}
    for names, links in rows:
        for name in re.findall(r"`([\w-]+)`", names):
            pages.setdefault(name, []).append(re.search(r"\(([^)#]+)", links)[1])
    ours = next(action for action in build_parser()._actions if action.dest == "verb").choices
    assert pages.keys() == {*ours, *dict(VERBS)}
    for name, links in pages.items():
        for link in links:
            assert re.search(rf"`?\b{name}\b", (ROOT / "docs" / link).read_text("utf-8")), (name, link)


@pytest.mark.parametrize("name", ["cli", "api", "recipe", "students"])
def test_the_generated_page_is_what_its_script_makes(name, capsys, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    runpy.run_path(str(ROOT / "docs" / f"make_{name}.py"), run_name="__main__")
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == capsys.readouterr().out, (
        f"run `python docs/make_{name}.py > docs/{name}.md`"
    )


DOORS = {  # section of extend.md -> the files that it may touch
    "A loss": {"edgedistill/config/methods.py", "edgedistill/distillation/losses.py"},
    "A student family": {"edgedistill/models/families.py"},
    "A board": {"edgedistill/config/targets/agx-xavier-industrial.toml"},
}


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the package with the patches and the board of extend.md; what each section touched."""
    copy = tmp_path_factory.mktemp("extended")
    for package in ("edgedistill", "jetson", "calibration"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    _, *parts = re.split(r"^## (.*)$", (ROOT / "docs" / "extend.md").read_text("utf-8"), flags=re.M)
    before, touched = _contents(copy), {}
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        for kind, body in FENCE.findall(text):
            if kind == "diff":
                _apply(body, copy)
            elif kind == "toml":  # a second one goes on with the first
                with (copy / "edgedistill" / "config" / "targets" / "agx-xavier-industrial.toml").open("a") as board:
                    board.write(f"{body}\n")
        after = _contents(copy)
        touched[title] = {name for name in after if before.get(name) != after[name]}
        before = after
    return copy, touched


def test_each_door_of_extend_md_touches_the_files_that_it_promises(extended):
    _, touched = extended
    assert {title: files for title, files in touched.items() if files} == DOORS


def test_the_student_the_target_and_the_loss_of_extend_md(extended, finished_run, tmp_path):
    """On the copy of the package, distilled and exported."""
    copy, _ = extended
    words = ["export", finished_run / "r.toml", "--run-dir", tmp_path / "r"]
    for value in (
        "student.model=tinynet_e",
        "distill.loss=ttm",
        "target.device=agx-xavier-industrial",
        "distill.epochs=1",
        "run.tensorboard=false",
    ):
        words += ["--set", value]
    shutil.copytree(finished_run / "runs" / "r", tmp_path / "r")
    refused = edgedistill(*words, cwd=finished_run, check=False)
    assert refused.returncode == 1
    assert "distill.loss" in refused.stderr
    done = _python(copy, "-m", "edgedistill", *words)
    assert done.returncode == 0, done.stderr
    assert "] teacher: up to date" in done.stderr
    exported = json.loads((tmp_path / "r" / "export" / "export.json").read_text(encoding="utf-8"))
    assert exported["preflight"]["target"] == "agx-xavier-industrial"


def test_the_loss_of_extend_md_is_its_formula(extended):
    code = """
import torch
from edgedistill.config.methods import LOGIT_ROWS
from edgedistill.distillation.losses import LOGIT_LOSSES, ttm_loss
assert list(LOGIT_LOSSES) == [row.name for row in LOGIT_ROWS]
torch.manual_seed(0)
student, teacher = torch.randn(2, 6, 4, dtype=torch.float64)
powers = teacher.softmax(1) ** 0.5
q = powers / powers.sum(1, keepdim=True)
expected = (q * (q / student.softmax(1)).log()).sum(1).mean()
torch.testing.assert_close(ttm_loss(student, teacher, 0.5), expected)
"""
    done = _python(extended[0], "-c", code)
    assert done.returncode == 0, done.stderr


def test_the_family_of_extend_md_can_be_refreshed(extended, tmp_path):
    code = """
import sys
from pathlib import Path
from edgedistill.models.families import STUDENTS
from edgedistill.onnx_model.student_table import refresh
assert STUDENTS[-1] == "tinynet_e"
refresh(Path(sys.argv[1]), print, STUDENTS[-1:])
"""
    done = _python(extended[0], "-c", code, tmp_path / "students.json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "students.json").read_text("utf-8"))["rows"]
    assert (row["export"]["verdict"], row["preflight"]["8.2"]["verdict"]) == ("proved", "fits")


def test_the_board_of_extend_md_is_predicted_after_a_fit_alone(extended, tmp_path):
    ours = edgedistill("estimate", "resnet18", "--target", "thor", cwd=tmp_path, check=False)
    assert ours.returncode == 1
    assert "no prediction for thor: no usable measurement of its kind of chip is published" in ours.stderr
    done = _python(extended[0], "-m", "edgedistill", "estimate", "resnet18", "--target", "agx-xavier-industrial")
    assert done.returncode == 1
    assert "no prediction for agx-xavier-industrial: its constants were never fitted" in done.stderr
    stored = extended[0] / "edgedistill" / "prediction" / "constants.json"
    constants = json.loads(stored.read_text("utf-8"))
    constants["boards"]["agx-xavier-industrial"] = constants["boards"]["agx-xavier"]
    stored.write_text(json.dumps(constants), encoding="utf-8")
    done = _python(extended[0], "-m", "edgedistill", "estimate", "resnet18", "--target", "agx-xavier-industrial")
    assert done.returncode == 0, done.stderr
    assert "resnet18 at 224 px, 1000 classes on Jetson AGX Xavier Industrial, FP16, TensorRT, MAXN" in done.stdout


def _contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _apply(patch, folder):
    applied = subprocess.run(
        ["git", "apply", "--unidiff-zero", "-"],
        input=patch,
        cwd=folder,
        text=True,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
        capture_output=True,
    )
    assert applied.returncode == 0, f"docs/extend.md no longer fits the code: {applied.stderr}"


def _python(copy, *words):
    """Of the copy's modules: what they import is loaded already (command_server.py)."""
    paths = os.pathsep.join(str(copy / folder) for folder in (".", "jetson", "calibration"))
    return subprocess.run(
        [*command_words()[:1], *map(str, words)],
        cwd=copy,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
    )
