"""Shell commands of a Markdown page, and whether they are meant to be executed."""

import os
import re
import shlex
import subprocess
from typing import NamedTuple

from end_to_end import ROOT, SOURCES, command_words

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXCUSE = re.compile(r"<!-- not executed: ([^>]{10,}) -->\n$")
# What a newcomer's recipe has, made small: the hub cannot be reached from a test.
SMALL = {
    "image_px = 32": r"image_px = \d+",
    'model = "test_resnet"': r'model = "tf_efficientnet_lite0"',
    'weights = "scratch"': r'weights = "hub"',
    'model = "mobilenetv3_small_050"': r'model = "mobilenetv3_small_100"',
    "epochs = 1": r"epochs = \d+",
    "views = 2": r"views = \d+",
}
SMALL_OPTIONS = {"distill.epochs=2": r"distill\.epochs=\d+", "distill.views=3": r"distill\.views=\d+"}

LET_THROUGH = "\n[deploy]\nallow_below_chance = true\n"  # one epoch shows nothing


class Block(NamedTuple):
    """A fenced block of shell commands.

    Attributes:
        page: relative to the root.
        commands: its lines, without comments.
        excuse: why it is not executed, None when it is.
    """

    page: str
    commands: tuple[str, ...]
    excuse: str | None


def shell_blocks(page):
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in FENCE.finditer(text):
        if fence[1] in {"sh", "bash", "shell", "console"}:
            excuse = EXCUSE.search(text[: fence.start()])
            lines = (line.partition("  #")[0].strip() for line in fence[2].splitlines())
            commands = tuple(line for line in lines if line and not line.startswith("#"))
            name = str(page.relative_to(ROOT))
            found.append(Block(name, commands, excuse[1] if excuse else None))
    return found


class Reader:
    """Somebody who types the commands of the pages one after the other, in one folder."""

    def __init__(self, folder):
        self._folder = self._place = folder
        shims = folder / "bin"
        shims.mkdir()
        for name, words in (("edgedistill", command_words()), ("python3", command_words()[:1])):
            (shims / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            (shims / name).chmod(0o755)
        self._environment = {**os.environ, "PATH": f"{shims}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}

    def open_page(self):
        self._place = self._folder

    def type(self, command):
        if command.startswith("cd "):
            self._place = self._place / command[3:]
            return
        recipe = self._place / "parts.toml"
        writes = command.startswith("edgedistill new")
        if writes:
            recipe.unlink(missing_ok=True)  # of an earlier page; the images are the same
        for small, pattern in SMALL_OPTIONS.items():
            command = re.sub(pattern, small, command)
        # The bundle's own code runs there, not this checkout's.
        ours = {} if "-m edgedistill_device" in command else {"PYTHONPATH": SOURCES}
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self._place,
            env={**self._environment, **ours},
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        if writes:
            text = recipe.read_text(encoding="utf-8")
            for small, pattern in SMALL.items():
                text, count = re.subn(pattern, small, text)
                assert count, pattern
            recipe.write_text(text + LET_THROUGH, encoding="utf-8")
