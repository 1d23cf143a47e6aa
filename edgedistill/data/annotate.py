"""Copies of images with text drawn into them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgedistill.core.files import write_bytes
from edgedistill.data.find_images import FoundImage
from edgedistill.errors import RunFolderError, UsageError
from edgedistill_device.text import plain

WRITTEN = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")  # other kinds are copied as PNG
_LINE_SHARE, _WIDTH_SHARE = 0.08, 0.96  # most of the height, and of the width, that the text takes


def places_of_copies(folder: Path, images: Sequence[FoundImage], option: str = "--annotate") -> list[Path]:
    """A file below `folder` for each image, each its own.

    Args:
        option: that named the folder, for the message.

    Raises:
        UsageError: a copy would replace one of the images.
    """
    taken: set[Path] = set()
    places = []
    for image in images:
        name = image.name if image.name.suffix.lower() in WRITTEN else image.name.with_name(image.name.name + ".png")
        number, place = 1, folder / name
        while place in taken:  # the same name below two folders
            number += 1
            place = folder / name.with_name(f"{name.stem}-{number}{name.suffix}")
        taken.add(place)
        places.append(place)
    originals = {image.path.resolve() for image in images}
    replaced = next((place for place in places if place.resolve() in originals), None)
    if replaced is not None:
        raise UsageError(f"{option} {folder}: {replaced} is one of the images; name another folder")
    return places


def annotated(image: np.ndarray, text: str) -> np.ndarray:
    """A copy of an image with one line of text at its top left, in white with a dark rim.

    Args:
        image: (height, width, 3) uint8, RGB.
        text: OpenCV's fonts are ASCII; other characters are escaped.

    Returns:
        (height, width, 3) uint8, RGB.
    """
    line, font = plain(text), cv2.FONT_HERSHEY_SIMPLEX
    height, width = image.shape[:2]
    (wide, high), _ = cv2.getTextSize(line, font, 1.0, 1)
    room = max(1.0, _WIDTH_SHARE * width - 4)  # on either side a pixel of rim and its soft edge
    scale = min(_LINE_SHARE * height / high, room / wide)
    copy, (left, base) = image.copy(), (int(0.02 * width), int(scale * high * 1.5) + 1)
    rim, thick = max(1, round(scale)), max(1, round(scale))
    # The rim is the same text at its eight sides: some releases of OpenCV set a thicker text wider.
    sides = [(x, y) for x in (-rim, 0, rim) for y in (-rim, 0, rim) if x or y]
    for x, y in [*sides, (0, 0)]:
        colour = (0, 0, 0) if x or y else (255, 255, 255)
        cv2.putText(copy, line, (left + x, base + y), font, scale, colour, thick, cv2.LINE_AA)
    return copy


def write_annotated(place: Path, image: np.ndarray, text: str) -> None:
    """Write `annotated(image, text)` to a file of one of the kinds of WRITTEN.

    Raises:
        RunFolderError: it cannot be written.
    """
    made, content = cv2.imencode(place.suffix.lower(), annotated(image, text)[:, :, ::-1])
    if not made:
        raise RunFolderError(f"{place}: this OpenCV cannot write {place.suffix}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"cannot write {place}: {error.strerror or error}") from None
    write_bytes(place, content.tobytes())
