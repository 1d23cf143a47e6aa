"""Put a chosen student into a recipe that a person wrote: two values change, every other byte stays."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from edgedistill.core.files import write_bytes
from edgedistill.errors import RecipeError

_SECTION = re.compile(r"\s*\[([^\[\]]+)\]\s*(#.*)?$")
_VALUE = r"""(\[[^\]\n]*\]|"[^"\n]*"|'[^'\n]*'|[^\s#]+)"""


def write_choice(path: Path, model: str, image_px: int) -> None:
    """Set student.model and data.image_px.

    Raises:
        RecipeError: no such recipe, or one whose lines cannot be edited safely.
        RunFolderError: the file cannot be written; the old one is intact.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        before = tomllib.loads(text)
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe; make one with `edgedistill new --train DIR {path}`") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: not a readable TOML file: {error}") from None
    changed = _with_value(text, "student", "model", f'"{model}"')
    changed = _with_value(changed, "data", "image_px", str(image_px))
    before.setdefault("student", {})["model"] = model
    before.setdefault("data", {})["image_px"] = image_px
    try:
        same = tomllib.loads(changed) == before
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise RecipeError(
            f'{path}: cannot change it safely; set student.model = "{model}" and data.image_px = {image_px} by hand'
        )
    write_bytes(path, changed.encode())


def _with_value(text: str, section: str, key: str, value: str) -> str:
    """The text with `key = value` in [section]: in place, else below its header, else at the end."""
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    header, current = None, None
    for position, line in enumerate(lines):
        if match := _SECTION.match(line):
            current = match.group(1).strip()
            header = position if current == section else header
        elif current == section and (match := re.match(rf"(\s*{key}\s*=\s*){_VALUE}(.*)", line, re.DOTALL)):
            lines[position] = match.group(1) + value + match.group(3)
            return "".join(lines)
    if header is not None:
        lines.insert(header + 1, f"{key} = {value}{newline}")
        return "".join(lines)
    ended = "" if not lines or lines[-1].endswith("\n") else newline
    return "".join([*lines, f"{ended}{newline}[{section}]{newline}{key} = {value}{newline}"])
