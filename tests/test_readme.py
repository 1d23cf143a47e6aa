"""Every fenced command of the README is executed: `make` ones by .ci/run, all others here."""

import os
import re
import subprocess
import sys

import pytest

from road import ROOT, write_images

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line
]
# What a newcomer's recipe has, made small: the hub cannot be reached from a test.
SMALL = {
    "image_px = 32": r"image_px = \d+",
    'model = "resnet10t"': r'model = "tf_efficientnet_lite0"',
    'weights = "scratch"': r'weights = "hub"',
    'model = "mobilenetv3_small_050"': r'model = "mobilenetv3_small_100"',
    "epochs = 1": r"epochs = \d+",
    "views = 2": r"views = \d+",
}


def test_make_commands_are_run_by_ci():
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in COMMANDS:
        if command.startswith("make "):
            assert re.search(rf"^{command}$", steps, re.MULTILINE), command


def test_the_other_commands_work_in_their_order(tmp_path):
    write_images(tmp_path / "images", per_class=20)
    shims = tmp_path / "bin"
    shims.mkdir()
    for name, words in (("edgedistill", "-m edgedistill"), ("python3", "")):
        (shims / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (shims / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{shims}:{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    place, ran = tmp_path, []
    for command in (line for line in COMMANDS if not line.startswith("make ")):
        if command.startswith("cd "):
            place = place / command[3:]
            continue
        ours = {} if "-m jetson" in command else {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(["sh", "-c", command], cwd=place, env={**environment, **ours},
                              capture_output=True, text=True, timeout=280)  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        ran.append(command.split()[0:2])
        if command.startswith("edgedistill new"):
            recipe = place / "parts.toml"
            text = recipe.read_text(encoding="utf-8")
            for small, pattern in SMALL.items():
                text, count = re.subn(pattern, small, text)
                assert count, pattern
            recipe.write_text(text, encoding="utf-8")
    assert len(ran) >= 8


@pytest.mark.parametrize(
    "name", ["assets/report.png", "docs/methods.md", "docs/recipe.md", "docs/onnx.md", "docs/experiments.md",
             "docs/quantization.md", "docs/scale.md",
             "docs/build.md"]
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
