"""What is said of one image, by the task of the bundle."""

from edgedistill_device.inference.decide import answer, best_of
from edgedistill_device.inference.values import text_of, values_answer
from edgedistill_device.label_sets import labels_answer, text_of_labels
from edgedistill_device.manifest import MULTILABEL, REGRESSION

_KEYS = {REGRESSION: "values", MULTILABEL: "labels"}


def answer_of(outputs, manifest, top, decision):
    """What a line of `classify` says.

    Args:
        outputs: (W,) float of the network.
        manifest: of the bundle.
        top: at most so many classes, where it answers with classes.
        decision: decide.Decision of the precision that computed the outputs, where it answers with classes.

    Returns:
        As `decide.answer` for classes, as `values.values_answer` for figures, as `labels.labels_answer` for several
        labels an image.

    Raises:
        BackendError: an output is NaN or infinite.
    """
    if manifest.task == REGRESSION:
        return values_answer(outputs, manifest.values)
    if manifest.task == MULTILABEL:
        return labels_answer(outputs, manifest.classes, decision.thresholds)
    return answer(outputs, manifest.classes, top, decision)


def answer_key(task):
    """The key of an answer's rows, by the task of the bundle."""
    return _KEYS.get(task, "top")


def shown_of(said):
    """The rows of an answer, for `--stats`."""
    return next(said[key] for key in ("values", "labels", "top") if key in said)


def line_of(said, digits=0):
    """The answer as it is drawn into a frame; `digits` of the percentage of a class."""
    if "values" in said:
        return text_of(said)
    if "labels" in said:
        return text_of_labels(said, digits)
    name, probability = best_of(said)
    return name if probability is None else "%s %.*f%%" % (name, digits, 100 * probability)
