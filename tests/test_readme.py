"""Fenced commands of the README: `make` ones are executed by .ci/run, all others by test_docs.py."""

import re

import pytest

from documents import shell_blocks
from end_to_end import ROOT

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_make_commands_are_run_by_ci():
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = [line for block in shell_blocks(ROOT / "README.md") for line in block.commands]
    made = [command for command in commands if command.startswith("make ")]
    assert made
    for command in made:
        assert re.search(rf"^{command}$", steps, re.MULTILINE), command


@pytest.mark.parametrize(
    "name",
    [
        "assets/report.png",
        "docs/methods.md",
        "docs/recipe.md",
        "docs/onnx.md",
        "docs/experiments.md",
        "docs/quantization.md",
        "docs/scale.md",
        "docs/build.md",
    ],
)
def test_what_the_readme_links_to_is_there(name):
    assert f"({name})" in README
    assert (ROOT / name).exists()


def test_the_quickstart_output_is_a_real_one():
    """The table is the summary's own: its rows in their order, and nothing left to fill in."""
    shown = README.split("```text\n")[1].split("```")[0]
    rows = [line.split("  ")[0] for line in shown.splitlines() if line[:1].strip()]
    assert rows[:3] == ["teacher", "baseline", "student"]
    assert {"retention", "gain", "precision", "here", "time"} <= set(rows)
    assert "QUICKSTART" not in README
