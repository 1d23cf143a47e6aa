"""Does what runs here give what the workstation gave? Goldens in, verdict out."""

import json
import os

import numpy as np

from edgedistill_device.decision_spec import decision_of
from edgedistill_device.decode import read_image
from edgedistill_device.engine import engine_file
from edgedistill_device.engine.embedding_checks import compared, min_cosine
from edgedistill_device.engine.execution import PLAIN, words_of
from edgedistill_device.errors import VerifyError
from edgedistill_device.label_sets import reached
from edgedistill_device.manifest import EMBEDDING, MULTILABEL, REGRESSION
from edgedistill_device.preprocess import to_input, view

MAX_MEAN_PIXEL_DIFFERENCE = 2.0  # of 255: JPEG decoders of two releases differ by about 0.3


def verify(folder, manifest, runner):
    """`compare`, and a pass is kept for `engine_file.require_verified`: the engine is in force."""
    with engine_file.verifying(folder):
        engine_file.set_pass_aside(folder, runner.backend, runner.engine_sha256)
        try:
            result = compare(folder, manifest, runner)
            engine_file.write_verified(folder, runner.backend, runner.engine_sha256, result)
        finally:
            engine_file.forget_pass_aside(folder, runner.backend)
        return result


def compare(folder, manifest, runner):
    """Run every golden through an entered runner; nothing is written.

    Returns:
        JSON-able: images, executed (precision), max_relative_difference (largest logit difference /
        largest logit) and its tolerance, mean_pixel_difference of decoding and framing the image
        files here; of classes top1_agreement_fraction with the workstation and top1_fraction against the labels, of
        figures max_differences, value -> largest difference from the workstation's in its unit; of several labels an
        image labels_agreement_fraction, images with all of the workstation's labels and no other, and
        exact_match_fraction, the same against the true ones; of an embedding see `embedding_checks.compared`.

    Raises:
        ManifestError: it lacks what the comparison needs.
        VerifyError: NaN, constant output, a difference beyond its tolerance, or another one with a CUDA graph or
            mapped memory than without.
    """
    golden = os.path.join(str(folder), "golden")
    inputs = np.load(os.path.join(golden, "inputs.npy"), allow_pickle=False)
    expected = np.load(os.path.join(golden, "logits.npy"), allow_pickle=False)
    labels = golden_labels(folder)
    batches = [to_input(image, manifest.preprocess) for image in inputs]
    logits = np.concatenate([runner.infer(batch) for batch in batches])
    if logits.shape != expected.shape:
        raise VerifyError("expected logits %s, got %s" % (expected.shape, logits.shape))
    if not np.isfinite(logits).all():
        raise VerifyError("the network gives NaN or infinity here; the workstation's did not")
    if len(logits) > 1 and np.ptp(logits, axis=0).max() == 0:
        raise VerifyError("the network gives the same output for every image")
    worst = float(np.abs(logits - expected).max() / np.abs(expected).max())
    tolerance = manifest.tolerance[runner.executed]
    if not worst <= tolerance:  # NaN is neither
        raise VerifyError(
            "logits differ from the workstation's by %.2g of the largest, limit %.2g for %s"
            % (worst, tolerance, runner.executed)
        )
    if getattr(runner, "execution", PLAIN) != PLAIN:
        require_plain(runner, runner.execution, batches)
    pixels = _pixel_difference(golden, inputs, manifest.preprocess)
    if pixels > MAX_MEAN_PIXEL_DIFFERENCE:
        raise VerifyError(
            "images decoded here differ by %.1f grey levels on average, limit %.1f; is this "
            "OpenCV's resize another one?" % (pixels, MAX_MEAN_PIXEL_DIFFERENCE)
        )
    return dict(
        {
            "images": len(logits),
            "executed": runner.executed,
            "max_relative_difference": worst,
            "tolerance": tolerance,
            "mean_pixel_difference": pixels,
        },
        **_by_task(manifest, runner.executed, logits, expected, labels),
    )


def _by_task(manifest, executed, logits, expected, labels):
    """What the difference means to the answers; an embedding must hold limits of its own."""
    if manifest.task == EMBEDDING:
        return compared(logits, expected, labels, min_cosine(manifest, executed))
    if manifest.task == MULTILABEL:
        thresholds = decision_of(manifest, executed).thresholds
        own, other = (reached(found, manifest.classes, thresholds) for found in (logits, expected))
        return {
            "labels_agreement_fraction": float((own == other).all(axis=1).mean()),
            "exact_match_fraction": float((own == labels).all(axis=1).mean()),
        }
    if manifest.task != REGRESSION:
        return {
            "top1_agreement_fraction": float((logits.argmax(1) == expected.argmax(1)).mean()),
            "top1_fraction": float((logits.argmax(1) == labels).mean()),
        }
    largest = np.abs(logits - expected).max(axis=0)
    stds = [value.std for value in manifest.values]
    return {"max_differences": {name: float(d * std) for name, d, std in zip(manifest.classes, largest, stds)}}


def require_plain(runner, execution, batches):
    """Refuse a way of running an engine that gives other logits than running it plainly.

    Kernels that add in no fixed order differ from run to run: then as much difference is let pass as between two
    plain runs.

    Args:
        runner: entered; its `infer_as(execution, batch)` takes either.
        execution: of execution.Execution.
        batches: [(1, 3, H, W) float32].

    Raises:
        VerifyError: they differ by more.
    """

    def logits_by(one):
        return np.concatenate([runner.infer_as(one, batch) for batch in batches])

    logits, plain = logits_by(execution), logits_by(PLAIN)
    if np.array_equal(logits, plain):
        return
    difference = np.abs(logits - plain).max()
    if not difference <= np.abs(logits_by(PLAIN) - plain).max():  # NaN is neither
        raise VerifyError(
            "with %s the engine gives other logits than without, by up to %.2g; a new build runs without: "
            "python3 -m edgedistill_device build" % (words_of(execution), difference)
        )


def golden_batches(folder, manifest):
    """The goldens as inputs, [(1, 3, H, W) float32]."""
    inputs = np.load(os.path.join(str(folder), "golden", "inputs.npy"), allow_pickle=False)
    return [to_input(image, manifest.preprocess) for image in inputs]


def golden_images(folder):
    """Paths of the original image files, in the goldens' order."""
    images = os.path.join(str(folder), "golden", "images")
    return [os.path.join(images, name) for name in sorted(os.listdir(images))]


def golden_labels(folder):
    """(n,) int, in the goldens' order; of a regression (n, K) float, in their units; of several labels 1 or 0."""
    with open(os.path.join(str(folder), "golden", "labels.json"), encoding="utf-8") as file:
        return np.array(json.load(file))


def _pixel_difference(golden, inputs, spec):
    """Largest over the images of the mean |difference| in grey levels."""
    paths = golden_images(os.path.dirname(golden))
    if len(paths) != len(inputs):
        raise VerifyError("%d golden images for %d inputs" % (len(paths), len(inputs)))
    differences = [
        np.abs(view(read_image(path, spec.sixteen_bit), spec).astype(np.int16) - expected).mean()
        for path, expected in zip(paths, inputs.astype(np.int16))
    ]
    return float(max(differences))
