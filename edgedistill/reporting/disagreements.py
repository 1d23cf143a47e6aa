"""Compare two networks on the test images: how often they differ, which is right, and the clearest cases."""

from __future__ import annotations

import numpy as np

from edgedistill.evaluation.look_closer import softmax
from edgedistill.records.look_closer import Said
from edgedistill.records.report import Disagreement, ShownImage

MOST = 12  # images shown of one pair
MOST_BYTES = 200_000  # of all their thumbnails on a page


def disagreement(
    first: tuple[str, np.ndarray],
    second: tuple[str, np.ndarray],
    labels: np.ndarray,
    classes: list[str],
    sha256: list[str],
    files: list[str],
) -> Disagreement:
    """Count where two networks predict the same and different classes.

    Args:
        first, second: name and (N, C) logits of each network.
        labels: (N,) int.
        classes: C names.
        sha256: N hex hashes of the image files.
        files: N names for the page; whole paths would reveal this computer's folders.

    Returns:
        `images` is N, the sum of the counts `both_...` and `..._only_right`. `shown` holds at most MOST images with
        different classes, sorted by the confidence of the less confident network, highest first.
    """
    (first_name, a), (second_name, b) = first, second
    ours, theirs = a.argmax(1), b.argmax(1)
    right, also, apart = ours == labels, theirs == labels, ours != theirs
    sure, surer = softmax(a).max(axis=1), softmax(b).max(axis=1)
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
                file=files[i],
                label=classes[labels[i]],
                first=Said(class_name=classes[ours[i]], probability=float(sure[i])),
                second=Said(class_name=classes[theirs[i]], probability=float(surer[i])),
            )
            for i in order
        ],
    )
