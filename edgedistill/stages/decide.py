"""Stage `decide`: how outputs become an answer, fitted on validation images at each precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.config.task import CLASSIFICATION, EMBEDDING, MULTILABEL, task_of
from edgedistill.core.files import sha256_of, write_bytes
from edgedistill.core.text import plural, printable
from edgedistill.data.find_images import find_images
from edgedistill.errors import DataError
from edgedistill.evaluation.decisions import (
    Fitted,
    calibration_figures,
    class_figures,
    fit,
    operating_points,
    unknown_figures,
)
from edgedistill.evaluation.galleries import MOST, enrolled, nearest, nearest_figures
from edgedistill.evaluation.label_decisions import FittedLabels, fit_labels, label_figures
from edgedistill.evaluation.unknown import images_for, unknown_threshold
from edgedistill.onnx_model.exported_file import preprocess_from_onnx
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images
from edgedistill.quantization.files import STEPS, logits_of_file, precision_files
from edgedistill.quantization.qad import Inputs
from edgedistill.records.decision import BoardDecision, DecisionFigures, DecisionRecord
from edgedistill.records.gallery import GalleryRecord
from edgedistill.records.layout import GALLERY, STUDENT, TEST_LOGITS
from edgedistill.records.quantization import QuantizationRecord
from edgedistill.records.result import Result
from edgedistill.training.images import Images
from edgedistill_calibration.select import choose
from edgedistill_device.decode import read_image
from edgedistill_device.errors import ImageError
from edgedistill_device.inference.gallery import gallery_bytes, network_digest
from edgedistill_device.preprocess import Preparer, to_input

LABELS_SHOWN = 12  # with their thresholds, in a line for people


def run(context: StageContext) -> Result:
    return _RUNS[task_of(context.recipe).name](context)


def _classes(context: StageContext) -> Result:
    """Temperature and thresholds."""
    images, quantized = open_images(context), context.read(QuantizationRecord)
    model, wanted = context.file("export", STUDENT), context.recipe.decide
    inputs, multiple = Inputs(images, "val", preprocess_from_onnx(model)), task_of(context.recipe).multiple
    fitted: dict[str, Any] = {}
    for precision, path in precision_files(model, context.run.folder("quantize"), quantized.typed).items():
        context.talk.say(f"  validation images through {path.name}")
        logits, targets = logits_of_file(path, inputs), images.targets("val")
        fitted[precision] = (fit_labels if multiple else fit)(logits, targets, images.classes, wanted)
    figures = (_label_figures if multiple else _figures)(context, images, quantized, fitted[quantized.executed])
    for line in lines_from_figures(figures):
        context.talk.say(f"  {line}")
    board = {name: BoardDecision(**_json(one)) for name, one in fitted.items()}
    return Result(DecisionRecord(board=board, figures=figures))


def _json(fitted: Fitted | FittedLabels) -> dict:
    return {**fitted.decision._asdict(), "thresholds": [list(row) for row in fitted.decision.thresholds]}


def _figures(context: StageContext, images: Images, quantized: QuantizationRecord, fitted: Fitted) -> DecisionFigures:
    """On the test images, at the precision that the target executes."""
    labels, wanted, precision = images.labels("test"), context.recipe.decide, quantized.executed
    logits = np.load(context.file("quantize", TEST_LOGITS), allow_pickle=False)[STEPS[precision]]
    unknown = None
    if wanted.unknown_coverage is not None:
        others = None if wanted.unknown is None else _other_logits(context, Path(wanted.unknown), quantized)
        unknown = unknown_figures(logits, others, images.classes, fitted, wanted.unknown_coverage)
    return DecisionFigures(
        precision=precision,
        calibration=calibration_figures(logits, labels, fitted),
        classes=class_figures(logits, labels, images.classes, fitted),
        points=operating_points(logits, labels, images.classes, fitted, wanted),
        currency=context.recipe.cost.currency,
        unknown=unknown,
    )


def _label_figures(
    context: StageContext, images: Images, quantized: QuantizationRecord, fitted: FittedLabels
) -> DecisionFigures:
    """The same of several labels an image."""
    precision, wanted = quantized.executed, context.recipe.decide
    logits = np.load(context.file("quantize", TEST_LOGITS), allow_pickle=False)[STEPS[precision]]
    return label_figures(precision, logits, images.targets("test"), images.classes, fitted, wanted)


def _other_logits(context: StageContext, folder: Path, quantized: QuantizationRecord) -> np.ndarray:
    """(M, C) of images of none of the classes, read and framed as on the board.

    Raises:
        DataError: no images there, or one that cannot be read.
    """
    model, found = context.file("export", STUDENT), find_images([folder])
    path = precision_files(model, context.run.folder("quantize"), quantized.typed)[quantized.executed]
    context.talk.say(f"  {plural(len(found), 'image')} of {folder.name} through {path.name}")
    spec = preprocess_from_onnx(model)
    prepare = Preparer(spec)

    def inputs() -> Iterator[np.ndarray]:
        for image in found:
            try:
                yield prepare(read_image(str(image.path), spec.sixteen_bit))[0]
            except ImageError as error:
                raise DataError(f"decide.unknown: {printable(str(error))}; remove it") from None

    return logits_of_file(path, inputs())


def lines_from_figures(figures: DecisionFigures) -> list[str]:
    """What a person should hear of it."""
    lines, calibration = [], figures.calibration
    if calibration is not None:
        lines.append(
            f"temperature {calibration.temperature:.3g} at {figures.precision.upper()}; on {calibration.test_images} "
            f"test images the calibration error goes from {calibration.calibration_error_before:.3f} to "
            f"{calibration.calibration_error_after:.3f}"
            + (
                ""
                if calibration.helped or not calibration.fitted
                else "; it does not improve their negative log likelihood"
            )
        )
    if figures.by_label is not None:
        named = ", ".join(f"{row.class_name} {row.threshold:.3g}" for row in figures.classes[:LABELS_SHOWN])
        more, whole = len(figures.classes) - LABELS_SHOWN, figures.by_label
        lines.append(
            f"thresholds at {figures.precision.upper()}: {named}{f' and {more} more' if more > 0 else ''}; on test "
            f"images F1 {whole.metric('f1_macro'):.3f} (macro), {whole.metric('f1_micro'):.3f} (micro)"
        )
    lines += [point.sentence for point in figures.points]
    return lines + ([figures.unknown.sentence] if figures.unknown else [])


def _gallery(context: StageContext) -> Result:
    """The training images, enrolled by the float network, and the cosine under which an image is unknown."""
    images, quantized = open_images(context), context.read(QuantizationRecord)
    model, coverage = context.file("export", STUDENT), context.recipe.decide.unknown_coverage
    spec, labels = preprocess_from_onnx(model), images.labels("train")
    rows, per_class = images.rows("train"), context.recipe.decide.enrol_per_class
    most = MOST if per_class is None else min(MOST, int(np.minimum(np.bincount(labels), per_class).sum()))
    chosen = choose(labels.tolist(), most, seed=0)
    context.talk.say(f"  {len(chosen)} training images through {model.name}")
    embeddings = logits_of_file(model, (to_input(images.pixels.frame(int(rows[i])), spec)[0] for i in chosen))
    gallery = enrolled(
        embeddings,
        labels[chosen],
        images.classes,
        [printable(images.table.paths[int(rows[i])].name) for i in chosen],
        network_digest(sha256_of(model), spec),
        "fp32, workstation",
    )
    stored = np.load(context.file("quantize", TEST_LOGITS), allow_pickle=False)
    by_precision, inputs = {}, Inputs(images, "val", spec)
    for precision, path in precision_files(model, context.run.folder("quantize"), quantized.typed).items():
        below = None
        if coverage is not None:
            context.talk.say(f"  validation images through {path.name}")
            below = unknown_threshold(nearest(gallery, logits_of_file(path, inputs), images.classes)[0], coverage)
        outputs = stored[STEPS[precision]]
        by_precision[precision] = nearest_figures(gallery, outputs, images.labels("test"), images.classes, below)
    limits = {name: one.unknown_below for name, one in by_precision.items() if one.unknown_below is not None}
    content = gallery_bytes(gallery._replace(unknown_below=limits, coverage=coverage))
    write_bytes(context.out / GALLERY, content)
    record = GalleryRecord(
        images=len(chosen),
        left_out_images=len(labels) - len(chosen),
        classes=len(gallery.classes),
        width=embeddings.shape[1],
        file_bytes=len(content),
        network=gallery.network,
        coverage=coverage,
        validation_images=len(images.labels("val")),
        images_needed=None if coverage is None else images_for(coverage),
        by_precision=by_precision,
        executed=quantized.executed,
    )
    context.talk.say(f"  {record.sentence}")
    return Result(record, (GALLERY,))


_RUNS = {CLASSIFICATION.name: _classes, EMBEDDING.name: _gallery, MULTILABEL.name: _classes}
