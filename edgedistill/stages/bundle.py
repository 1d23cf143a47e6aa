"""Stage `bundle`: one folder with all that the board needs, proof to check itself against, signed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill._version import __version__
from edgedistill.bundles.keys import load_key
from edgedistill.bundles.label_card import label_card
from edgedistill.bundles.model_card import model_card
from edgedistill.bundles.provenance import statement
from edgedistill.bundles.signing import sign_bundle
from edgedistill.bundles.value_card import value_card
from edgedistill.bundles.write import LEAST_COSINE, TOLERANCE, Golden, write_bundle
from edgedistill.config.recipe import recipe_without_paths
from edgedistill.config.target import Target, wanted_target
from edgedistill.config.task import task_of
from edgedistill.core.files import sha256_of
from edgedistill.data.prepared import open_prepared
from edgedistill.onnx_model.exported_file import preprocess_from_onnx
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.pipeline.context import StageContext
from edgedistill.records.bundle import BundleRecord
from edgedistill.records.data import DataRecord
from edgedistill.records.decision import DecisionRecord
from edgedistill.records.evaluation import EvaluationRecord
from edgedistill.records.gallery import GalleryRecord
from edgedistill.records.layout import AMAX, FP16, GALLERY, INT8, PREPARED, STUDENT, TYPED_INT8, WEIGHTS
from edgedistill.records.outputs import (
    OutputDistillRecord,
    OutputEvaluationRecord,
    OutputLadderStep,
    OutputQuantizationRecord,
)
from edgedistill.records.quantization import LadderStep, QuantizationRecord
from edgedistill.records.result import Result
from edgedistill.records.training import DistillRecord
from edgedistill_calibration.select import choose
from edgedistill_device.board.power import POWER_MODE
from edgedistill_device.engine.embedding_checks import MIN_COSINE, WIDTH
from edgedistill_device.inference.smoothing import SMOOTHING
from edgedistill_device.manifest import DECISIONS, SIGNATURE
from edgedistill_device.preprocess import to_input

INT8_MARGIN = 2.0  # the tolerance of INT8 is what the simulation showed, times this


def run(context: StageContext) -> Result:
    recipe = context.recipe
    data, task = context.read(DataRecord), task_of(recipe)
    images = open_prepared(context.run.folder("data"), recipe, data.resize_px, data.quantities)
    model = context.file("export", STUDENT)
    spec = preprocess_from_onnx(model)
    rows, labels = images.rows("test"), images.labels("test")
    chosen = choose(labels.tolist(), min(recipe.deploy.golden_images, len(rows)), seed=0)
    frames = np.stack([images.pixels.frame(int(rows[i])) for i in chosen])
    with OnnxSession(model) as session:
        logits = session.logits(np.concatenate([to_input(frame, spec) for frame in frames]))
    quantized, fps = context.read(QuantizationRecord), recipe.target.fps
    int8 = quantized.ladder["int8"]
    bundle, target = context.out / "bundle", wanted_target(recipe.target)
    amax = _ranges_for_calibrators(context, quantized)
    onnx = _onnx_files(context, quantized, with_ranges=amax is not None)
    values = write_bundle(
        bundle,
        onnx=onnx,
        amax=amax,
        classes=images.classes,
        preprocess=spec,
        golden=Golden(
            [images.table.paths[int(rows[i])] for i in chosen], frames, logits, images.targets("test")[chosen]
        ),
        before=context.file("bundle", "bundle"),
        model=recipe.student.model,
        target=target,
        precision_requested=quantized.requested,
        tolerance=_tolerance(int8),
        gallery=_gallery(context),
        latency_budget_ms=1e3 / fps if fps else None,
        memory_budget_mib=recipe.target.memory_mib,
        task=task.name,
        values=images.values,
        provenance=_provenance(context, target, int8),
        documents=_documents(context, target.title, onnx),
        key=load_key(recipe.deploy.sign_key) if recipe.deploy.sign_key is not None else None,
    )
    signature = _signature(context, bundle)
    record = BundleRecord(**values, **signature, target=recipe.target.device, precision_requested=quantized.requested)
    sizes = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in record.onnx_bytes.items())
    context.talk.say(f"  {sizes}; the whole bundle {record.bytes / 1e6:.1f} MB")
    names = sorted(str(p.relative_to(context.out)) for p in context.out.rglob("*") if p.is_file())
    return Result(record, tuple(name for name in names if name.startswith("bundle/")))


def _ranges_for_calibrators(context: StageContext, quantized: QuantizationRecord) -> dict[str, float] | None:
    """Tensor -> largest value, from which TensorRT 8 to 10 quantizes every layer; None where some layers are to stay
    in float, as the Q/DQ file alone says: a board without these ranges builds that file."""
    if quantized.int8_gate.kept_float:
        return None
    return json.loads(context.file("quantize", AMAX).read_text(encoding="utf-8"))


def _onnx_files(context: StageContext, quantized: QuantizationRecord, with_ranges: bool) -> dict[str, Path]:
    """Name in the bundle -> file. Typed ones only where the target's TensorRT has no precision flags, and proved;
    weights for INT8 apart only beside the ranges."""
    proved = {file.precision for file in quantized.typed if file.passed}
    files = {
        "model.onnx": context.file("export", STUDENT),
        "model_int8.onnx": context.file("quantize", TYPED_INT8 if "int8" in proved else INT8),
    }
    if with_ranges and (prepared := context.file("quantize", PREPARED)).is_file():
        files["model_int8_weights.onnx"] = prepared
    return files | ({"model_fp16.onnx": context.file("quantize", FP16)} if "fp16" in proved else {})


def _gallery(context: StageContext) -> Path | None:
    """Of a student without classes, its enrolled images."""
    path = context.file("decide", GALLERY)
    return path if task_of(context.recipe).enrols else None


def _min_cosine(int8: LadderStep) -> dict[str, float]:
    """Of an embedding with the workstation's; 1 minus a cosine grows with the square of a difference."""
    simulated = 1 - INT8_MARGIN**2 * (1 - (int8.lowest_cosine or 0.0))
    return {**LEAST_COSINE, "int8": max(-1.0, min(LEAST_COSINE["fp16"], round(simulated, 4)))}


def _tolerance(int8: LadderStep | OutputLadderStep) -> dict[str, float]:
    simulated = int8.max_relative_logit_difference or 0.0  # None: not finite, so the gate did not pass it
    return {**TOLERANCE, "int8": max(TOLERANCE["fp16"], round(INT8_MARGIN * simulated, 3))}


def _documents(context: StageContext, title: str, onnx: dict[str, Path]) -> dict[str, str]:
    """For people: they travel in the bundle, and the board reads none of them."""
    of = {
        "images.csv": context.file("data", "images.csv"),
        "teacher weights": context.file("teacher", WEIGHTS),
        "student weights": context.file("distill", WEIGHTS),
    }
    card = _card(context, title)
    provenance = json.dumps(statement(onnx, context.recipe, of), indent=1, ensure_ascii=False)
    return {"MODEL_CARD.md": card, "provenance.json": provenance + "\n"}


def _card(context: StageContext, title: str) -> str:
    recipe = context.recipe
    if task_of(recipe).vectors:
        training_images = context.read(OutputDistillRecord).training_images
        measured = context.read(OutputEvaluationRecord), context.read(OutputQuantizationRecord)
        if task_of(recipe).multiple:
            return label_card(recipe, title, *measured, context.read(DecisionRecord).figures, training_images)
        return value_card(recipe, title, *measured, training_images)
    training_images = context.read(DistillRecord).training_images
    evaluated, quantized = context.read(EvaluationRecord), context.read(QuantizationRecord)
    gallery = context.read(GalleryRecord) if task_of(recipe).enrols else None
    return model_card(recipe, title, evaluated, quantized, training_images, gallery)


def _test_figures(context: StageContext) -> dict[str, Any]:
    """The student's main figure on the test images."""
    if task_of(context.recipe).vectors:
        student, primary = context.read(OutputEvaluationRecord).student, task_of(context.recipe).primary
        if task_of(context.recipe).multiple:
            return {"images": student.images, primary: student.metric(primary)}
        figures = {one.output: one.value for one in student.named(primary)}
        return {"images": student.images, primary: figures}
    evaluated = context.read(EvaluationRecord).student
    return {"images": evaluated.images, "top1_fraction": evaluated.top1_fraction}


def _signature(context: StageContext, bundle: Path) -> dict[str, Any]:
    """Sign when the recipe names a key; a good signature of the bundle before is kept."""
    deploy = context.recipe.deploy
    if deploy.sign_key is None:
        return {"signed": False, "key_id": None}
    before = context.file("bundle", "bundle") / SIGNATURE
    if before.is_file():
        shutil.copyfile(before, bundle / SIGNATURE)
    if deploy.sign_command:  # the recipe may be somebody else's
        program = shutil.which(deploy.sign_command[0]) or deploy.sign_command[0]
        context.talk.say(f"  the recipe's deploy.sign_command runs {Path(program).absolute()} to sign")
    return {"signed": True, "key_id": sign_bundle(bundle, deploy.sign_key, deploy.sign_command)}


def _provenance(context: StageContext, target: Target, int8: LadderStep) -> dict:
    """What this bundle was made from. No clock, so that equal inputs give equal bytes."""
    task, smoothing = task_of(context.recipe), context.recipe.smoothing
    decides = task.decides and not task.enrols
    decided = context.read(DecisionRecord).board if decides else {}
    mode = target.hardware.usual_mode if target.hardware and context.recipe.target.fps else None
    return {
        **({POWER_MODE: mode} if mode else {}),
        **({DECISIONS: {name: decision.to_json() for name, decision in decided.items()}} if decides else {}),
        **({MIN_COSINE: _min_cosine(int8), WIDTH: context.read(GalleryRecord).width} if task.enrols else {}),
        **({} if smoothing.off else {SMOOTHING: smoothing.model_dump(mode="json")}),
        "edgedistill": __version__,
        "recipe": recipe_without_paths(context.recipe),
        "images_sha256": sha256_of(context.file("data", "images.csv")),
        "student_weights_sha256": sha256_of(context.file("distill", WEIGHTS)),
        "test": _test_figures(context),
    }
