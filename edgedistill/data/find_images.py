"""Image files that a user names: files, and everything below folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from edgedistill.data.files import IMAGE_SUFFIXES, folders_below, is_system
from edgedistill.errors import DataError


class FoundImage(NamedTuple):
    """One file.

    Attributes:
        path: as the user named it, or below the folder that the user named.
        name: path below that folder; of a file its own name.
    """

    path: Path
    name: Path


def find_images(places: Iterable[Path], leave_out: Sequence[Path] = ()) -> list[FoundImage]:
    """Files as they are named, and of folders all that have an image's ending, at any depth, in name order.

    Args:
        leave_out: folders that are not searched.

    Raises:
        DataError: a folder without images or that cannot be listed, or no place at all.
    """
    images: list[FoundImage] = []
    for place in places:
        below = list(_below(place, leave_out)) if place.is_dir() else [FoundImage(place, Path(place.name))]
        if not below:
            raise DataError(f"{place}: no images in this folder; expected files like .jpg and .png, at any depth")
        images += below
    if not images:
        raise DataError("no images: name image files or folders")
    return images


def _below(folder: Path, leave_out: Sequence[Path]) -> Iterator[FoundImage]:
    skipped = [other.resolve() for other in leave_out]
    for place, folders, files in folders_below(folder):
        folders[:] = sorted(
            name for name in folders if not is_system(name) and Path(place, name).resolve() not in skipped
        )
        for name in sorted(files):
            if not is_system(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                yield FoundImage(Path(place, name), Path(place, name).relative_to(folder))
