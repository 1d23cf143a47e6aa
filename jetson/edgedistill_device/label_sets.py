"""From logits to any number of labels, for bundles whose task is multilabel: a sigmoid and a threshold each.

The thresholds are those of `decision_spec.Decision`, for the precision that computed the logits, one for each label.
"""

import numpy as np

from edgedistill_device.errors import BackendError

UNSET = 0.5  # threshold of a label that nothing was fitted for


def label_probabilities(logits):
    """Float64 in the shape of the logits: the sigmoid of each; NaN stays NaN."""
    small = np.exp(-np.abs(np.asarray(logits, np.float64)))  # never overflows
    return np.where(np.asarray(logits) >= 0, 1.0, small) / (1.0 + small)


def reached(logits, classes, thresholds):
    """(..., K) bool: which labels are answered.

    Args:
        logits: (..., K) float.
        classes: names of the K labels.
        thresholds: (label, probability) pairs, of the precision that computed the logits; UNSET of a label without.
    """
    known = dict(thresholds)
    return label_probabilities(logits) >= [known.get(name, UNSET) for name in classes]


def labels_answer(logits, classes, thresholds):
    """What is said of one image: {"labels": [{"label", "probability"}, ...]}, the most likely first, maybe none.

    Args:
        logits: (K,) float.
        classes, thresholds: as of `reached`.

    Raises:
        BackendError: a logit is NaN or infinite.
    """
    if not np.isfinite(logits).all():
        raise BackendError(
            "the network gives NaN or infinity here, which is no label; run: python3 -m edgedistill_device verify"
        )
    probabilities, answered = label_probabilities(logits), reached(logits, classes, thresholds)
    # The stable sort by its old name: numpy 1.13, JetPack 4's, has no "stable".
    order = [i for i in np.argsort(-probabilities, kind="mergesort") if answered[i]]
    return {"labels": [{"label": classes[i], "probability": float(probabilities[i])} for i in order]}


def text_of_labels(said, digits=0):
    """What `labels_answer` says, in one line: "cat 98%, dog 61%"."""
    shown = ["%s %.*f%%" % (row["label"], digits, 100 * row["probability"]) for row in said["labels"]]
    return ", ".join(shown) or "no label"
