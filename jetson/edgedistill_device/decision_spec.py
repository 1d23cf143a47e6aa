"""What a bundle says of how its answers are decided, for each precision; `inference/decide.py` decides.

It stands in the manifest's provenance, where agents of before pass it over:
{"decisions": {precision: {"temperature": 1.4, "thresholds": [["crack", 0.12]], "unknown_below": 3.1}}}. A bundle
without it answers with the plain softmax.
"""

from typing import NamedTuple, Optional, Tuple

from edgedistill_device.errors import ManifestError
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


def decision_of(manifest, executed):
    """The Decision of a bundle for the precision that is computed here; PLAIN of bundles that have none and need none.

    Args:
        executed: fp32, fp16 or int8.

    Raises:
        ManifestError: what stands there is not what edgedistill writes, or several labels have no thresholds.
    """
    stored, several = manifest.provenance.get(DECISIONS), manifest.task == MULTILABEL
    if stored is None and not several:
        return PLAIN
    try:
        return decision_from_json(stored[executed], manifest.classes, several)
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
