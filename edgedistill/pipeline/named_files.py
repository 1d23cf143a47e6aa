"""What is in the files beside the images that a recipe names: weights, lists of classes, images of no class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from edgedistill.core.files import line_of_state, sha256_of

_KEYS = frozenset(("weights", "classes", "unknown"))  # last part of a key whose value may be a path


def contents_of(values: dict[str, Any]) -> dict[str, str | None]:
    """Recipe key -> digest of what is in the file or folder that it names; None where nothing is there.

    Args:
        values: of a recipe, by dotted name; their paths are absolute.
    """
    return {key: _content(Path(path)) for key, path in _paths("", values)}


def _paths(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(f"{name}.{key}".lstrip("."), inner)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _paths(f"{name}[{place}]", inner)
    elif isinstance(value, str) and name.rpartition(".")[2] in _KEYS and Path(value).is_absolute():
        yield name, value


def _content(path: Path) -> str | None:
    try:
        if path.is_dir():
            return _digest_of_folder(path)
        stat = path.stat()
    except OSError:
        return None
    # The time of the last change of the inode cannot be set back, as a file's own time can.
    return _digest_of_file(path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@cache
def _digest_of_file(path: Path, *state: int) -> str | None:
    """By content, so that a copied file is the same; a run asks for its plan and for each stage."""
    try:
        return sha256_of(path)[:16]
    except OSError:
        return None


def _digest_of_folder(folder: Path) -> str:
    """By names, sizes and times, as the images of [data]."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(line_of_state(str(path.relative_to(folder)), path))
    return digest.hexdigest()[:16]
