"""Enrol images by their embeddings, and measure the class of the nearest one. The board asks the same `Gallery`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgedistill.evaluation.classification import wilson_interval
from edgedistill.evaluation.intervals import binomial_interval
from edgedistill.records.gallery import NearestFigures
from edgedistill_device.inference.gallery import Gallery, unit_rows

MOST = 20_000  # enrolled images: 80 MB at 1,000 figures each, and a few ms of one core for each question
_ROWS_AT_ONCE = 1 << 22  # cosines: 16 MiB


def enrolled(
    embeddings: np.ndarray, labels: np.ndarray, classes: Sequence[str], names: Sequence[str], network: str, made_by: str
) -> Gallery:
    """A gallery of these images, without a limit for `unknown`; a class without an image is left out.

    Args:
        embeddings: (N, D) float, any norm.
        labels: (N,) int, in 0..classes-1.
        classes: C names.
        names: N, of the image files.
        network: `network_digest` of what made the embeddings.
        made_by: precision and place of the embeddings.
    """
    present, places = np.unique(labels, return_inverse=True)
    return Gallery(
        unit_rows(embeddings),
        places.astype(np.int32),
        network,
        tuple(classes[number] for number in present),
        tuple(names),
        (made_by,) * len(names),
        {},
        None,
    )


def nearest(gallery: Gallery, outputs: np.ndarray, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The nearest enrolled image of each image, by cosine.

    Args:
        outputs: (N, D) float; a row that is not finite is near nothing.
        classes: C names.

    Returns:
        (N,) float32 cosines, -inf where nothing is near; (N,) int positions of the nearest one's class in `classes`.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    place_of = np.array([numbers[name] for name in gallery.classes])
    finite = np.isfinite(outputs).all(axis=1)
    units = unit_rows(np.where(finite[:, None], outputs, 0))
    best, labels = np.empty(len(outputs), np.float32), np.empty(len(outputs), np.int64)
    step = max(1, _ROWS_AT_ONCE // len(gallery.labels))
    for start in range(0, len(outputs), step):
        cosines = np.clip(units[start : start + step] @ gallery.embeddings.T, -1, 1)
        places = cosines.argmax(axis=1)
        best[start : start + step] = cosines[np.arange(len(places)), places]
        labels[start : start + step] = place_of[gallery.labels[places]]
    return np.where(finite, best, -np.inf), labels


def nearest_figures(
    gallery: Gallery, outputs: np.ndarray, labels: np.ndarray, classes: Sequence[str], unknown_below: float | None
) -> NearestFigures:
    """What the board's answer is worth on labelled images; arguments as of `nearest`.

    Args:
        labels: (N,) int.
        unknown_below: cosine under which an image is refused.
    """
    cosines, answers = nearest(gallery, outputs, classes)
    right, images = answers == labels, len(labels)
    kept = np.isfinite(cosines) if unknown_below is None else cosines >= unknown_below
    return NearestFigures(
        images=images,
        right_fraction=float(right.mean()),
        right_interval=list(wilson_interval(int(right.sum()), images)),
        unknown_below=unknown_below,
        kept=int(kept.sum()),
        kept_interval=list(binomial_interval(int(kept.sum()), images)),
        kept_right=int((right & kept).sum()),
    )
