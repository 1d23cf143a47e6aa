"""From logits to an answer: calibrated probabilities, and what the bundle's thresholds say of them.

A bundle carries this in its manifest's provenance, where agents of before pass it over:
{"decisions": {precision: {"temperature": 1.4, "thresholds": [["crack", 0.12]], "unknown_below": 3.1}}}. A bundle
without it answers with the plain softmax.
"""

from typing import NamedTuple, Optional, Tuple

import numpy as np

from edgedistill_device.errors import BackendError, ManifestError
from edgedistill_device.manifest import DECISIONS, MULTILABEL

Decision = NamedTuple(
    "Decision",
    [
        ("temperature", float),  # logits are divided by it before the softmax, above 0
        ("thresholds", Tuple[Tuple[str, float], ...]),  # (class, probability from which it is the answer), first wins
        ("unknown_below", Optional[float]),  # the largest logit under which no threshold reached is no known class
    ],
)
PLAIN = Decision(1.0, (), None)
UNKNOWN = "unknown"  # the answer to what is none of the classes


def decision_of(manifest, executed):
    """The Decision of a bundle for the precision that is computed here; PLAIN of bundles that have none.

    Args:
        executed: fp32, fp16 or int8.

    Raises:
        ManifestError: what stands there is not what edgedistill writes.
    """
    stored = manifest.provenance.get(DECISIONS)
    if stored is None:
        return PLAIN
    try:
        return decision_from_json(stored[executed], manifest.classes, manifest.task == MULTILABEL)
    except (KeyError, TypeError, ValueError):
        raise ManifestError(
            "manifest.json: decisions for %s are %.80r, which edgedistill does not write; deploy bundle and "
            "edgedistill_device/ from the same commit" % (executed, stored)
        )


def decision_from_json(row, classes, each=False):
    """The Decision of one precision.

    Args:
        row: JSON.
        classes: those that thresholds can name.
        each: whether every one of them has a threshold, as of several labels an image, and not some at most.

    Raises:
        KeyError, TypeError, ValueError: it is not what edgedistill writes.
    """
    temperature, thresholds = row["temperature"], tuple((name, value) for name, value in row["thresholds"])
    unknown_below = row["unknown_below"]
    numbers = [temperature] + [value for _, value in thresholds] + ([] if unknown_below is None else [unknown_below])
    if set(row) != set(Decision._fields) or not all(map(_is_number, numbers)) or temperature <= 0:
        raise ValueError("expected a temperature above 0, and thresholds")
    names = [name for name, _ in thresholds]
    if each and (sorted(names) != sorted(classes) or unknown_below is not None):
        raise ValueError("expected a threshold for each label")
    if not each and (not all(name in classes for name in names) or len(names) >= len(classes)):
        raise ValueError("expected thresholds of some of the classes")
    return Decision(float(temperature), thresholds, unknown_below)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


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


def probabilities_of(logits, temperature=1.0):
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
