"""From logits to an answer: calibrated probabilities, and what the bundle's thresholds say of them."""

import numpy as np

from edgedistill_device.decision_spec import PLAIN
from edgedistill_device.errors import BackendError

UNKNOWN = "unknown"  # the answer to what is none of the classes


def answer(logits, classes, top, decision=PLAIN):
    """What is said of one image.

    Args:
        logits: (classes,) float.
        classes: their names.
        top: at most so many classes.
        decision: Decision of the precision that computed the logits.

    Returns:
        {"top": [{"class", "probability"}, ...]}, most likely first, calibrated. Where the bundle has a rule also
        "class", the answer or UNKNOWN, and "decided_by": "threshold", "unknown" or "probability".

    Raises:
        BackendError: a logit is NaN or infinite, so that no class is likely at all.
    """
    probabilities = probabilities_of(logits, decision.temperature)
    # The stable sort by its old name: numpy 1.13, JetPack 4's, has no "stable".
    order = np.argsort(-probabilities, kind="mergesort")
    said = {"top": [{"class": classes[i], "probability": float(probabilities[i])} for i in order[:top]]}
    if has_rule(decision):
        likely_first, largest = [classes[i] for i in order], float(np.max(logits))
        said["class"], said["decided_by"] = _decided(dict(zip(classes, probabilities)), likely_first, largest, decision)
    return said


def has_rule(decision):
    """Whether more is said than the classes by their probability."""
    return bool(decision.thresholds) or decision.unknown_below is not None


def best_of(said):
    """(the one answer of what `answer` gives, its probability); None where `top` holds none for it."""
    name = said.get("class", said["top"][0]["class"])
    return name, next((row["probability"] for row in said["top"] if row["class"] == name), None)


def _decided(probability, likely_first, largest, decision):
    """(answer, what decided it): the first class that reaches its threshold; UNKNOWN where the largest logit is low;
    else the likeliest class of those without a threshold. In this order no promised recall is refused as unknown."""
    for name, threshold in decision.thresholds:
        if probability[name] >= threshold:
            return name, "threshold"
    if decision.unknown_below is not None and largest < decision.unknown_below:
        return UNKNOWN, "unknown"
    held = [name for name, _ in decision.thresholds]
    return next(name for name in likely_first if name not in held), "probability"


def probabilities_of(logits, temperature):
    """(classes,) float64: the softmax of logits / temperature.

    Raises:
        BackendError: as of `answer`.

    Source: temperature scaling, Guo et al. 2017, arXiv:1706.04599.
    """
    logits = np.asarray(logits, np.float64) / temperature  # float64: differences of the largest floats are numbers too
    if not np.isfinite(logits).all():
        raise BackendError(
            "the network gives NaN or infinity here, which is no class; run: python3 -m edgedistill_device verify"
        )
    shifted = np.exp(logits - logits.max())
    return shifted / shifted.sum()
