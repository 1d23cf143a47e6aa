"""What is said of one image, by the task of the bundle."""

from edgedistill_device.decision_spec import decision_of
from edgedistill_device.errors import GalleryError
from edgedistill_device.inference.decide import answer, best_of
from edgedistill_device.inference.gallery import open_gallery
from edgedistill_device.inference.values import text_of, values_answer
from edgedistill_device.label_sets import labels_answer, text_of_labels
from edgedistill_device.manifest import EMBEDDING, MULTILABEL, REGRESSION

_KEYS = {REGRESSION: "values", MULTILABEL: "labels"}


def answer_of(outputs, manifest, top, decision):
    """What a line of `classify` says.

    Args:
        outputs: (W,) float of the network.
        manifest: of the bundle.
        top: at most so many classes, where it answers with classes.
        decision: decide.Decision of the precision that computed the outputs, where it answers with classes; of an
            embedding its gallery.Gallery.

    Returns:
        As `decide.answer` for classes, as `values.values_answer` for figures, as `label_sets.labels_answer` for several
        labels an image, as `Gallery.answer` for an embedding.

    Raises:
        BackendError: an output is NaN or infinite.
    """
    if manifest.task == REGRESSION:
        return values_answer(outputs, manifest.values)
    if manifest.task == MULTILABEL:
        return labels_answer(outputs, manifest.classes, decision.thresholds)
    if manifest.task == EMBEDDING:
        return decision.answer(outputs, top)
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
    if "cosine" in said["top"][0]:
        return "%s %.2f" % (said["class"], said["top"][0]["cosine"])
    name, probability = best_of(said)
    return name if probability is None else "%s %.*f%%" % (name, digits, 100 * probability)


def decision_for(bundle, manifest, runner, gallery=None):
    """What `answer_of` takes as its decision.

    Args:
        bundle: folder.
        runner: entered.
        gallery: of an embedding, see `gallery.open_gallery`.

    Raises:
        GalleryError: no gallery can be read, or one is named of a bundle that has none.
        ManifestError: what decides is not what edgedistill writes.
    """
    if manifest.task == EMBEDDING:
        return open_gallery(gallery, bundle, manifest, runner)
    if gallery is not None:
        raise GalleryError("--gallery %s: a bundle of %s has no gallery" % (gallery, manifest.task))
    return decision_of(manifest, runner.executed)
