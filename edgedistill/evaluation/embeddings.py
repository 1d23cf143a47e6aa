"""Score embeddings without a classifier, in numpy, by nearest neighbours in cosine similarity."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgedistill.errors import DataError
from edgedistill.evaluation.classification import wilson_interval
from edgedistill.records.evaluation import RecallAt1
from edgedistill_device.inference.gallery import unit_rows

_SIMILARITIES_AT_ONCE = 1 << 22  # float32: 16 MiB a matrix, a few of which exist at once


def knn_scores(
    gallery: np.ndarray, gallery_labels: np.ndarray, queries: np.ndarray, classes: int, k: int
) -> np.ndarray:
    """Compute the votes of the k nearest gallery images for each class, usable as logits.

    A vote has the weight of its cosine similarity, or 0 if that is negative. Ties at the k-th place are
    broken by the order of the gallery.

    Args:
        gallery: (G, D) float, any norm; a vector of zeros has similarity 0 to every other.
        gallery_labels: (G,) int, in 0..classes-1.
        queries: (N, D) float.
        classes: C.
        k: neighbours, in 1..G.

    Returns:
        (N, C) float32, >= 0; a row sums to at most k. A row is 0 if no neighbour is nearer than 90°.

    Raises:
        ValueError: shapes, labels or k are invalid.
    """
    _refuse_other_shapes(gallery, gallery_labels)
    if queries.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(f"queries must be (N, {gallery.shape[1]}), got {queries.shape}")
    if not 1 <= k <= len(gallery):
        raise ValueError(f"k must be in 1..{len(gallery)}, the gallery's images; got {k}")
    if gallery_labels.min() < 0 or gallery_labels.max() >= classes:
        raise ValueError(f"labels must be in 0..{classes - 1}, got {gallery_labels.min()}..{gallery_labels.max()}")
    one_hot = np.zeros((len(gallery), classes), dtype=np.float32)
    one_hot[np.arange(len(gallery)), gallery_labels] = 1
    scores = np.empty((len(queries), classes), dtype=np.float32)
    for rows, similarities in _chunks(unit_rows(queries), unit_rows(gallery)):
        kth = np.partition(similarities, -k, axis=1)[:, -k, None]
        nearer, level = similarities > kth, similarities == kth
        room = k - nearer.sum(axis=1, keepdims=True)
        votes = nearer | (level & (np.cumsum(level, axis=1, dtype=np.int32) <= room))
        scores[rows] = np.where(votes, np.maximum(similarities, 0), 0) @ one_hot
    return scores


def nearest_other_scores(
    embeddings: np.ndarray, labels: np.ndarray, classes: int, enrolled: np.ndarray | None = None
) -> np.ndarray:
    """Compute each image's largest cosine to another image of each class; the argmax is leave-one-out.

    Args:
        embeddings: (N, D) float.
        labels: (N,) int, in 0..classes-1.
        classes: C.
        enrolled: (N, D) float, the same images by another network, among which the neighbours are looked for.

    Returns:
        (N, C) float32 in -1..1; -2 for a class without another image.
    """
    _refuse_other_shapes(embeddings, labels)
    units = unit_rows(embeddings)
    scores = np.full((len(labels), classes), -2, dtype=np.float32)
    for rows, similarities in _chunks(units, units if enrolled is None else unit_rows(enrolled)):
        here = np.arange(len(labels))[rows]
        similarities[np.arange(len(here)), here] = -2  # itself
        for number in np.unique(labels):
            scores[rows, number] = similarities[:, labels == number].max(axis=1)
    return scores


def recall_at_1(embeddings: np.ndarray, labels: np.ndarray) -> RecallAt1:
    """Compute how often an image's nearest other image, by cosine, is of its class.

    An image that is alone in its class has no such neighbour: it is left out and counted, but it
    remains a possible neighbour of other images.

    Args:
        embeddings: (N, D) float, any norm.
        labels: (N,) int.

    Raises:
        ValueError: shapes are invalid.
        DataError: no class has two images.
    """
    _refuse_other_shapes(embeddings, labels)
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    asked = np.flatnonzero(counts[place] > 1)
    if len(asked) == 0:
        raise DataError(
            f"recall at 1 needs a class with at least two images; none of the {len(labels)} images has another one of "
            "its class: give more images of each class"
        )
    units, hits = unit_rows(embeddings), 0
    for rows, similarities in _chunks(units[asked], units):
        here = asked[rows]
        similarities[np.arange(len(here)), here] = -np.inf  # itself
        hits += int((labels[similarities.argmax(axis=1)] == labels[here]).sum())
    return RecallAt1(
        recall_at_1_fraction=hits / len(asked),
        images=len(asked),
        interval=list(wilson_interval(hits, len(asked))),
        left_out_images=len(labels) - len(asked),
    )


def deployed_scores(
    outputs: np.ndarray, reference: np.ndarray, labels: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of a precision's embeddings and of float's among float's of the other images, as the board asks a gallery.

    Args:
        outputs, reference: (N, D) float; a figure that is not finite counts as 0.
        labels: (N,) int.
        classes: C.

    Returns:
        (M, C) of `outputs`, (M, C) of `reference`, (M,) labels: of the images that are not alone in their class, or of
        all where none is. The argmax of a row is the class of the nearest other image.
    """
    asked = np.bincount(labels, minlength=classes)[labels] > 1
    asked = asked if asked.any() else np.ones(len(labels), bool)
    outputs, reference = (np.nan_to_num(one, nan=0.0, posinf=0.0, neginf=0.0) for one in (outputs, reference))
    scores, own = (nearest_other_scores(one, labels, classes, reference)[asked] for one in (outputs, reference))
    return scores, own, labels[asked]


def cosines(outputs: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(N,) float32 cosine of each row with the same row of the other; 0 of a row that is 0 or not finite."""
    first, second = (unit_rows(np.nan_to_num(one, nan=0.0, posinf=0.0, neginf=0.0)) for one in (outputs, reference))
    return np.clip((first * second).sum(axis=1), -1, 1)


def _refuse_other_shapes(embeddings: np.ndarray, labels: np.ndarray) -> None:
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1] or len(labels) == 0:
        raise ValueError(f"want embeddings (N, D) and labels (N,), N >= 1; got {embeddings.shape}, {labels.shape}")


def _chunks(queries: np.ndarray, gallery: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield cosines of a chunk of queries at a time, (n, G), so that memory does not grow with N · G."""
    step = max(1, _SIMILARITIES_AT_ONCE // len(gallery))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        yield rows, queries[rows] @ gallery.T
