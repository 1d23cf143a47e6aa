"""Put a chosen student into a recipe that a person wrote: two values change, comments and all else stay."""

from __future__ import annotations

import re
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from edgedistill.core.files import write_bytes
from edgedistill.errors import RecipeError


def write_choice(path: Path, model: str, image_px: int) -> None:
    """Set student.model and data.image_px.

    Raises:
        RecipeError: no such recipe, or no readable one.
        RunFolderError: the file cannot be written; the old one is intact.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        document = tomlkit.parse(text)
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe; make one with `edgedistill new --train DIR {path}`") from None
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise RecipeError(f"{path}: not a readable TOML file: {error}") from None
    for section, key, value in (("student", "model", model), ("data", "image_px", image_px)):
        table = document.setdefault(section, tomlkit.table())
        if not isinstance(table, dict):
            raise RecipeError(f"{path}: expected [{section}] to be a table, got {section} = {table}")
        table[key] = value
    changed = tomlkit.dumps(document)
    if "\r\n" in text:
        changed = re.sub(r"(?<!\r)\n", "\r\n", changed)
    write_bytes(path, changed.encode())
