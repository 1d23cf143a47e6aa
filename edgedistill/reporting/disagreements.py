"""Where two networks part on the test images: how often, who is right, and the clearest cases."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from edgedistill.records.report import Disagreement, Said, ShownImage

MOST = 12  # images shown of one pair
SIDE_PX = 96  # of a thumbnail
QUALITY = 80  # JPEG
MOST_BYTES = 200_000  # of all thumbnails of a page


def disagreement(
    first: tuple[str, np.ndarray],
    second: tuple[str, np.ndarray],
    labels: np.ndarray,
    classes: list[str],
    sha256: list[str],
) -> Disagreement:
    """
    Args:
        first, second: name and (N, C) logits of the two.
        labels: (N,) int.
        classes: C names.
        sha256: N hex hashes of the image files; a path would tell of this computer.

    Returns:
        `images` is N, and the counts `both_...` and `..._only_right` add up to it; `shown` holds at most MOST of the
        images with different classes, the ones that both are surest of first.
    """
    (first_name, a), (second_name, b) = first, second
    ours, theirs = a.argmax(1), b.argmax(1)
    right, also, apart = ours == labels, theirs == labels, ours != theirs
    sure, surer = _confidence(a), _confidence(b)
    differing = np.flatnonzero(apart)
    order = differing[np.argsort(-np.minimum(sure, surer)[differing], kind="stable")][:MOST]
    return Disagreement(
        names=[first_name, second_name],
        images=len(labels),
        apart=len(differing),
        both_right=int((right & also).sum()),
        first_only_right=int((right & ~also).sum()),
        second_only_right=int((~right & also).sum()),
        both_wrong_alike=int((~right & ~also & ~apart).sum()),
        both_wrong_apart=int((~right & ~also & apart).sum()),
        shown=[
            ShownImage(
                position=int(i),
                sha256=sha256[i],
                label=classes[labels[i]],
                first=Said(class_name=classes[ours[i]], probability=float(sure[i])),
                second=Said(class_name=classes[theirs[i]], probability=float(surer[i])),
            )
            for i in order
        ],
    )


def thumbnails(pairs: list[Disagreement], frame: Callable[[int], np.ndarray]) -> dict[str, bytes]:
    """sha256 -> JPEG of the images that `disagreement` chose, while MOST_BYTES last.

    They are encoded anew, so nothing but the pixels of a file gets onto the page.

    Args:
        pairs: what `disagreement` gave.
        frame: position among the test images -> (H, W, 3) uint8 RGB, as the network sees it.
    """
    jpegs: dict[str, bytes] = {}
    total = 0
    for image in _in_turn([pair.shown for pair in pairs]):
        if image.sha256 in jpegs:
            continue
        encoded = _thumbnail(frame(image.position))
        if total + len(encoded) > MOST_BYTES:
            break
        jpegs[image.sha256] = encoded
        total += len(encoded)
    return jpegs


def _in_turn(lists: list[list[ShownImage]]) -> list[ShownImage]:
    """First of each, second of each, ...: so that a small budget serves all of them."""
    return [rows[i] for i in range(max(map(len, lists), default=0)) for rows in lists if i < len(rows)]


def _thumbnail(pixels: np.ndarray) -> bytes:
    height, width = pixels.shape[:2]
    scale = SIDE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=method)
    _, encoded = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes()


def _confidence(logits: np.ndarray) -> np.ndarray:
    """(N,) softmax probability of the class that is named; 0 where the logits are not finite."""
    with np.errstate(invalid="ignore"):
        shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.nan_to_num(shifted.max(axis=1) / shifted.sum(axis=1))
