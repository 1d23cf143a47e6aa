"""Small pictures for the page, within a budget of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import cv2
import numpy as np

SIDE_PX = 96  # of a thumbnail
QUALITY = 80  # JPEG


class Picture(Protocol):
    """A record of an image file."""

    @property
    def sha256(self) -> str: ...


Shown = TypeVar("Shown", bound=Picture)


def thumbnails(
    lists: Sequence[Sequence[Shown]], frame: Callable[[Shown], np.ndarray], most_bytes: int
) -> dict[str, bytes]:
    """Return sha256 -> JPEG of the first images of each list, up to `most_bytes` on the page.

    Images are re-encoded, so that only the pixels of a file reach the page.

    Args:
        lists: an image that stands in several of them is counted as often, since the page holds it as often.
        frame: image -> (H, W, 3) uint8 RGB, as the network sees it.
        most_bytes: of all JPEG files together.
    """
    jpegs: dict[str, bytes] = {}
    total = 0
    for image in _in_turn(lists):
        encoded = jpegs.get(image.sha256) or thumbnail(frame(image))
        if total + len(encoded) > most_bytes:
            break
        jpegs[image.sha256] = encoded
        total += len(encoded)
    return jpegs


def thumbnail(pixels: np.ndarray) -> bytes:
    """JPEG of (H, W, 3) uint8 RGB, its longer side SIDE_PX."""
    height, width = pixels.shape[:2]
    scale = SIDE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=method)
    _, encoded = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes()


def _in_turn(lists: Sequence[Sequence[Shown]]) -> Iterable[Shown]:
    """Interleave the lists, so that a small budget covers each of them."""
    return (rows[i] for i in range(max(map(len, lists), default=0)) for rows in lists if i < len(rows))
