"""Stage `quantize`: INT8 ranges, and what each precision costs in accuracy on this computer."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.config.target import Target, wanted_target
from edgedistill.config.task import SEPARATOR, task_of
from edgedistill.core.files import remove, write_bytes, write_json
from edgedistill.data.targets import text_of_figures
from edgedistill.evaluation.tasks import drop_of
from edgedistill.models.weights import load_weights
from edgedistill.onnx_model.backends import executed_precision
from edgedistill.onnx_model.exported_file import preprocess_from_onnx
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images
from edgedistill.quantization.accuracy import ladder_of
from edgedistill.quantization.files import STEPS, logits_of_file, precision_files
from edgedistill.quantization.fp16 import fp16_from_onnx
from edgedistill.quantization.fp16_range import fp16_findings, largest_of_every_tensor, lines_from_findings
from edgedistill.quantization.mixed_precision import RANKED_ON, fewest_float_layers, sensitivity
from edgedistill.quantization.ptq import Prepared, prepared_for_int8, split_images
from edgedistill.quantization.qad import Inputs, most_steps, trained_for_int8
from edgedistill.quantization.qdq import qdq_from_onnx
from edgedistill.quantization.ranges import Ranges, ranges_from_model
from edgedistill.quantization.typed import IMAGES, FirstOf, Proof, line_from_typed, typed_fp16, typed_int8
from edgedistill.records.artifacts import artifact_kind
from edgedistill.records.layout import AMAX, FP16, INT8, PREPARED, STUDENT, TEST_LOGITS, TYPED_INT8, WEIGHTS
from edgedistill.records.outputs import OutputGate
from edgedistill.records.quantization import (
    Int8Gate,
    LayerSensitivity,
    PtqRecord,
    QadRecord,
    QuantizationRecord,
    TypedFile,
    WidestRange,
)
from edgedistill.records.result import Result
from edgedistill.records.training import DistillRecord
from edgedistill.training.images import Images
from edgedistill_calibration.select import choose
from edgedistill_device.preprocess import to_input
from edgedistill_device.preprocess_spec import Preprocess

CHOSEN = "calibration_images.json"  # which ones, so that the choice can be told and made again


def run(context: StageContext) -> Result:
    recipe = context.recipe
    images, target = open_images(context), wanted_target(recipe.target)
    model = context.file("export", STUDENT)
    spec = preprocess_from_onnx(model)
    chosen = _choose(context, images)

    def image(number: int) -> np.ndarray:
        return to_input(images.pixels.frame(chosen[number]), spec)

    quantize = recipe.quantize
    ranges = ranges_from_model(
        model,
        image,
        len(chosen),
        quantize.threshold,
        quantize.percentile,
        state=context.out / "histograms.npz",
        belongs_to="\n".join(images.table.sha256[position] for position in chosen),
    )
    largest = largest_of_every_tensor(model, image, len(chosen))
    largest |= {name: max(value, largest[name]) for name, value in ranges.largest.items()}
    overflows = fp16_findings(model, largest)
    for line in lines_from_findings(overflows):
        context.talk.say(f"  {line}")
    gate, ptq = _write_int8(context, images, ranges, image, len(chosen))
    retrained = None
    if quantize.qad_epochs:
        retrained, gate = _retrained(context, images, image, len(chosen), gate)
    typed = _typed(context, images, spec, model, largest, target, gate)
    stored = np.load(context.file("evaluate", TEST_LOGITS), allow_pickle=False)
    logits = {"float": stored["student"], **_test_logits(context, model, Inputs(images, "test", spec), typed)}
    np.savez(context.out / TEST_LOGITS, **logits)
    executed, reason = _executed(target, recipe.target.precision, typed)
    amax = json.loads((context.out / AMAX).read_text(encoding="utf-8"))
    widest = max(amax, key=amax.__getitem__)
    optional = [name for name in (PREPARED, TYPED_INT8) if (context.out / name).is_file()]
    task = task_of(recipe)
    kind: Any = artifact_kind(QuantizationRecord.stage, task)
    return Result(
        kind(
            calibration_images=len(chosen),
            threshold=recipe.quantize.threshold,
            ladder=ladder_of(logits, images.targets("test"), images.classes, task, images.values),
            int8_gate=gate,
            qad=retrained,
            ptq=ptq,
            fp16_findings=overflows,
            requested=recipe.target.precision,
            executed=executed,
            reason=reason,
            int8_file_bytes=(context.out / INT8).stat().st_size,
            fp16_file_bytes=(context.out / FP16).stat().st_size,
            widest_range=WidestRange(tensor=widest, amax=amax[widest]),
            typed=typed,
        ),
        (AMAX, CHOSEN, INT8, FP16, TEST_LOGITS, *optional),
    )


def _retrained(
    context: StageContext, images: Images, image: Callable[[int], np.ndarray], count: int, gate: Int8Gate
) -> tuple[QadRecord, Int8Gate]:
    """The student trained once more for INT8; kept, all its layers are INT8, and it answers to the same gate."""
    student, _ = load_weights(context.file("distill", WEIGHTS))
    most = most_steps(context.read(DistillRecord).steps)
    retrained = trained_for_int8(images, student, image, count, most, context.out, context.talk)
    if not retrained.kept:
        return retrained, gate
    limit = gate.max_drop_points
    passed = None if limit is None else retrained.after.drop_points <= limit
    return retrained, gate.model_copy(update={"kept_float": [], "passed": passed})


def _write_int8(
    context: StageContext, images: Images, ranges: Ranges, image: Callable[[int], np.ndarray], count: int
) -> tuple[Int8Gate, PtqRecord | None]:
    """Write the Q/DQ file, the ranges, and the weights that both are for where they are not the student's."""
    target = wanted_target(context.recipe.target)
    model = context.file("export", STUDENT)
    remove(context.out / PREPARED)
    with tempfile.TemporaryDirectory() as folder:
        prepared = Prepared(model, model, ranges)
        if context.recipe.quantize.ptq_images and executed_precision(target, "int8")[0] == "int8":
            prepared = _prepared(context, prepared, image, count, Path(folder))
        write_json(context.out / AMAX, prepared.ranges.kept)
        if prepared.path != model:
            write_bytes(context.out / PREPARED, prepared.path.read_bytes())
        ranked_on = np.concatenate([image(number) for number in range(min(RANKED_ON, count))])
        gate = _gate(context, images, prepared, ranked_on)
        qdq_from_onnx(
            prepared.path,
            prepared.ranges.kept,
            context.out / INT8,
            gate.kept_float,
            target.int8_weights,
            prepared.float_path,
        )
    return gate, prepared.record


def _prepared(
    context: StageContext, plain: Prepared, image: Callable[[int], np.ndarray], count: int, folder: Path
) -> Prepared:
    """Better weights for INT8."""
    quantize = context.recipe.quantize
    fit, held_out = (
        np.concatenate([image(number) for number in numbers])
        for numbers in split_images(count, quantize.ptq_images, image(0)[0, 0].size)
    )

    def calibrate(path: Path) -> Ranges:
        return ranges_from_model(path, image, count, quantize.threshold, quantize.percentile)

    prepared = prepared_for_int8(plain.path, plain.ranges, calibrate, fit, held_out, folder)
    if prepared.record is not None:
        context.talk.say(f"  {prepared.record.line}")
    return prepared


def _typed(
    context: StageContext,
    images: Images,
    spec: Preprocess,
    model: Path,
    largest: dict[str, float],
    target: Target,
    gate: Int8Gate,
) -> list[TypedFile]:
    """The FP16 file, and what a TensorRT without precision flags builds from: proved, or not shipped."""
    if not target.typed:
        fp16_from_onnx(model, context.out / FP16)
        return []
    first = FirstOf(IMAGES, Inputs(images, "val", spec), Inputs(images, "train", spec))
    proof = Proof(model, first, images.labels("val")[:IMAGES], _drop_of_figures(context, images))
    made = [
        typed_fp16(proof, largest, context.out / FP16),
        typed_int8(proof, context.out / INT8, largest, context.out / TYPED_INT8, _passed_limit(gate)),
    ]
    for file in made:
        context.talk.say(f"  {line_from_typed(file)}", "" if file.passed else "note")
        if not file.passed and file.precision == "int8":
            remove(context.out / TYPED_INT8)
    return made


def _drop_of_figures(context: StageContext, images: Images) -> Callable[[np.ndarray, np.ndarray], float] | None:
    """`Proof.drop` of the first validation images."""
    task = task_of(context.recipe)
    if task.ranks:
        return None
    targets = images.targets("val")[:IMAGES]
    return lambda outputs, reference: drop_of(task, outputs, reference, targets, images.classes, images.values).points


def _passed_limit(gate: Int8Gate) -> float | None:
    """What the typed file must hold, too: the gate, where the Q/DQ file passed it."""
    return gate.max_drop_points if gate.passed else None


def _executed(target: Target, requested: str, typed: list[TypedFile]) -> tuple[str, str]:
    """(precision that the board will compute in, why it is not what was asked, or "")."""
    executed, reason = executed_precision(target, requested)
    failed = next((file for file in typed if file.precision == "fp16" and not file.passed), None)
    if executed == "fp16" and failed is not None:
        return "fp32", f"the FP16 file did not pass its proof, so it is served as FP32: {failed.why}"
    return executed, reason


def _test_logits(context: StageContext, model: Path, inputs: Inputs, typed: list[TypedFile]) -> dict[str, np.ndarray]:
    """Step of the ladder -> (n, classes) float32 of the file that the board builds from."""
    logits = {}
    for precision, path in precision_files(model, context.out, typed).items():
        context.talk.say(f"  test images through {path.name}")
        logits[STEPS[precision]] = logits_of_file(path, inputs)
    return logits


def _choose(context: StageContext, images: Images) -> list[int]:
    """Rows of the calibration images, written down with their classes and hashes."""
    quantize, labels = context.recipe.quantize, images.labels("train")
    chosen = choose(labels.tolist(), quantize.calibration_images, quantize.seed)
    rows = images.rows("train")
    listed = [{"sha256": images.table.sha256[rows[i]], "class": _label(images, rows[i], labels[i])} for i in chosen]
    write_json(context.out / CHOSEN, {"seed": quantize.seed, "images": listed})
    return [int(rows[i]) for i in chosen]


def _label(images: Images, row: int, label: int) -> str:
    """Of a calibration image: its class, its labels, or its figures."""
    if images.table.figures is not None and not images.values:
        return SEPARATOR.join(
            name for name, there in zip(images.classes, images.table.figures[row], strict=True) if there
        )
    if images.table.figures is not None:
        return text_of_figures(images.table.figures[row])
    return images.classes[label]


def _gate(
    context: StageContext,
    images: Images,
    prepared: Prepared,
    ranked_on: np.ndarray,
) -> Int8Gate:
    """INT8 against the recipe's gate on validation images, layers left in float until it holds."""
    limit = context.recipe.quantize.max_int8_drop_points
    task = task_of(context.recipe)
    kind = OutputGate if task.vectors else Int8Gate
    if limit is None:
        return kind(max_drop_points=None, passed=None, kept_float=[], curve=[], sensitivity=[], images="validation")
    model, amax, float_path = prepared.path, prepared.ranges.kept, prepared.float_path
    inputs = Inputs(images, "val", preprocess_from_onnx(float_path))
    validation = (inputs, images.targets("val"), images.classes)
    say, values = context.talk.say, images.values
    float_layers, curve = fewest_float_layers(model, amax, [], validation, limit, say, task, float_path, values)
    ranking: list[LayerSensitivity] = []
    if float_layers is None:
        say(f"  INT8 misses the gate of {limit:g} points; ranking layers on calibration images")
        ranking = sensitivity(model, amax, ranked_on, float_path)
        ranked = [layer.layer for layer in ranking]
        float_layers, curve = fewest_float_layers(model, amax, ranked, validation, limit, say, task, float_path, values)
    return kind(
        max_drop_points=limit,
        passed=float_layers is not None,
        kept_float=float_layers or [],
        curve=curve,
        sensitivity=ranking,
        images="validation",
    )
