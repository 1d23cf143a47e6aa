"""The pages under docs/ and the README: each command executed or excused, each link alive, each
generated page up to date, and what extend.md adds really added."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from documents import FENCE, Reader, shell_blocks
from edgedistill.cli.main import build_parser
from edgedistill_device.__main__ import VERBS
from road import ROOT, edgedistill, write_images

pytestmark = pytest.mark.slow

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)#]+?)(?:#[\w-]*)?\)", text):
        if not link.startswith(("http", "mailto")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


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


@pytest.mark.parametrize("name", ["cli", "api", "recipe"])
def test_the_generated_page_is_what_its_script_makes(name):
    made = subprocess.run(
        [sys.executable, f"docs/make_{name}.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == made.stdout, (
        f"run `python docs/make_{name}.py > docs/{name}.md`"
    )


def test_the_student_the_target_and_the_loss_of_extend_md(finished_run, tmp_path):
    """Its patches and its target, on a copy of the package, distilled and exported."""
    for package in ("edgedistill", "jetson", "calibration"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    blocks = {kind: [body for word, body in FENCE.findall(text) if word == kind] for kind in ("diff", "toml")}
    (tmp_path / "p.diff").write_text("".join(blocks["diff"]), encoding="utf-8")
    (tmp_path / "edgedistill" / "config" / "targets" / "agx-xavier.toml").write_text(*blocks["toml"], encoding="utf-8")
    applied = subprocess.run(
        ["git", "apply", "--unidiff-zero", "p.diff"],
        cwd=tmp_path,
        text=True,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)},
        capture_output=True,
    )
    assert applied.returncode == 0, f"docs/extend.md no longer fits the code: {applied.stderr}"
    words = ["export", finished_run / "r.toml", "--run-dir", tmp_path / "r"]
    for value in (
        "student.model=tinynet_e",
        "distill.loss=cosine",
        "target.device=agx-xavier",
        "distill.epochs=1",
        "run.tensorboard=false",
    ):
        words += ["--set", value]
    shutil.copytree(finished_run / "runs" / "r", tmp_path / "r")
    refused = edgedistill(*words, cwd=finished_run, check=False)
    assert refused.returncode == 1
    assert "distill.loss" in refused.stderr
    done = subprocess.run(
        [sys.executable, "-m", "edgedistill", *map(str, words)],
        cwd=tmp_path,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(tmp_path / folder) for folder in (".", "jetson", "calibration")),
        },
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert "] teacher: up to date" in done.stderr
    exported = json.loads((tmp_path / "r" / "export" / "export.json").read_text(encoding="utf-8"))
    assert exported["preflight"]["target"] == "agx-xavier"
