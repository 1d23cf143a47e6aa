"""Are the embeddings that come out here the workstation's? By their directions, and by whom they have as neighbours.

The manifest's provenance carries how many figures there are, and the limits of the directions:
{"embedding_width": 1024, "min_cosine": {precision: 0.999}}.
"""

import numpy as np

from edgedistill_device.errors import ManifestError, VerifyError
from edgedistill_device.manifest import EMBEDDING

MIN_COSINE, WIDTH = "min_cosine", "embedding_width"
SURE = 0.01  # chance with which equally good networks would lose so many neighbours


def output_width(manifest):
    """Figures of one output: of an embedding as the bundle says, else one for each class or value.

    Raises:
        ManifestError: the bundle does not say.
    """
    if manifest.task != EMBEDDING:
        return len(manifest.classes)
    width = manifest.provenance.get(WIDTH)
    if type(width) is not int or width < 1:
        raise ManifestError(
            "manifest.json: embedding_width is %.80r, which edgedistill does not write; deploy bundle and "
            "edgedistill_device/ from the same commit" % (width,)
        )
    return width


def min_cosine(manifest, executed):
    """The smallest cosine that an embedding may have with the workstation's of the same image.

    Raises:
        ManifestError: the bundle has none for this precision.
    """
    try:
        limit = manifest.provenance[MIN_COSINE][executed]
        if isinstance(limit, bool) or not -1 <= limit <= 1:
            raise ValueError(limit)
    except (KeyError, TypeError, ValueError):
        raise ManifestError(
            "manifest.json: no cosine for %s in its provenance, which edgedistill writes for an embedding; deploy "
            "bundle and edgedistill_device/ from the same commit" % (executed,)
        )
    return limit


def compared(outputs, expected, labels, least):
    """Compare embeddings with the workstation's, JSON-able.

    Args:
        outputs, expected: (n, D) float, finite.
        labels: (n,) int.
        least: smallest cosine of an image with itself.

    Returns:
        mean_cosine, lowest_cosine and min_cosine, its limit; recall_at_1_fraction and workstation_recall_at_1_fraction
        of the recall_at_1_images that are not alone in their class, where there are any: how often the nearest of the
        workstation's embeddings of the other images is of the same class, asked with each network's embedding.

    Raises:
        VerifyError: a cosine below its limit; or so many images lose their neighbour and so few gain one that equally
            good networks would do so with a probability below SURE (one-sided sign test).
    """
    units, known = _unit(outputs), _unit(expected)
    alike = np.clip((units * known).sum(axis=1), -1, 1)
    if not alike.min() >= least:  # NaN is neither
        raise VerifyError(
            "an embedding has a cosine of %.4f with the workstation's of the same image, at least %.4f is expected"
            % (alike.min(), least)
        )
    found = {"mean_cosine": float(alike.mean()), "lowest_cosine": float(alike.min()), "min_cosine": least}
    asked = np.array([(labels == label).sum() > 1 for label in labels], bool)
    if not asked.any():
        return found
    here, there = (_right(one, known, labels)[asked] for one in (units, known))
    lost, gained = int((there & ~here).sum()), int((here & ~there).sum())
    if at_least(lost, lost + gained) < SURE:
        raise VerifyError(
            "of %d golden images %d have a nearest image of their class here, %d on the workstation: too many are lost"
            % (asked.sum(), here.sum(), there.sum())
        )
    return dict(
        found,
        recall_at_1_images=int(asked.sum()),
        recall_at_1_fraction=float(here.mean()),
        workstation_recall_at_1_fraction=float(there.mean()),
    )


def at_least(count, tosses):
    """Probability of `count` heads or more in so many tosses of a fair coin."""
    term, total = 0.5**tosses, 0.0
    for heads in range(tosses + 1):
        total += term if heads >= count else 0.0
        term *= (tosses - heads) / (heads + 1.0)
    return total


def _unit(rows):
    rows = np.asarray(rows, np.float64)
    length = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return rows / np.where(length > 0, length, 1)


def _right(units, known, labels):
    """(n,) bool: the nearest of the other images in `known` is of the same class."""
    cosines = units.dot(known.T)
    np.fill_diagonal(cosines, -2)  # itself
    return labels[cosines.argmax(axis=1)] == labels
