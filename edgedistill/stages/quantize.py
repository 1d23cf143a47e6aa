"""Stage `quantize`: INT8 ranges, and what each precision costs in accuracy on this computer."""

from __future__ import annotations

import numpy as np

from calibration.select import choose
from edgedistill.images import open_images
from edgedistill.measure import measures
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.pipeline import StageContext
from edgedistill.quantize.half import fp16_from_onnx
from edgedistill.quantize.qdq import qdq_from_onnx
from edgedistill.quantize.ranges import ranges_from_model
from edgedistill.run_folder import Result, write_json
from edgedistill.stages.export import STUDENT
from edgedistill.target import executed_precision, load_target
from edgedistill.training_stage import spec_for
from jetson.preprocess import centre_crop, to_input

AMAX, INT8, FP16 = "amax.json", "student_int8.onnx", "student_fp16.onnx"
CHOSEN = "calibration_images.json"  # which ones, so that the choice can be told and made again
_HOW = {
    "float": "measured: PyTorch on this computer",
    "onnx": "measured: ONNX Runtime on this computer",
    "fp16": "simulated: the float16 ONNX file in ONNX Runtime on this computer, not TensorRT",
    "int8": "simulated: the INT8 (QDQ) ONNX file in ONNX Runtime on this computer, not TensorRT",
}


def run(context: StageContext) -> Result:
    recipe = context.recipe
    images = open_images(context)
    spec = spec_for(recipe.student.model, recipe)
    model = context.file("export", STUDENT)

    rows, labels = images.rows("train"), images.labels("train")
    chosen = choose(labels.tolist(), recipe.quantize.calibration_images, recipe.quantize.seed)
    sha256s = [images.table.sha256[rows[i]] for i in chosen]

    def image(number: int) -> np.ndarray:
        return to_input(centre_crop(images.pixels[int(rows[chosen[number]])], spec.image_px), spec)

    ranges = ranges_from_model(
        model, image, len(chosen), recipe.quantize.threshold, recipe.quantize.percentile,
        state=context.out / "histograms.npz", belongs_to="\n".join(sha256s),
    )  # fmt: skip
    amax = ranges.kept
    write_json(
        context.out / CHOSEN,
        {"seed": recipe.quantize.seed,
         "images": [{"sha256": sha256, "class": images.classes[labels[i]]}
                    for sha256, i in zip(sha256s, chosen, strict=True)]},
    )  # fmt: skip
    write_json(context.out / AMAX, amax)
    qdq_from_onnx(model, amax, context.out / INT8)
    fp16_from_onnx(model, context.out / FP16)

    stored = np.load(context.file("evaluate", "test_logits.npz"))
    logits = {"float": stored["student"]}
    for name, path in (("onnx", model), ("fp16", context.out / FP16), ("int8", context.out / INT8)):
        context.talk.say(f"  test images through {path.name}")
        with OnnxSession(path) as session:
            logits[name] = np.concatenate(
                [session.logits(np.concatenate([to_input(image, spec) for image in piece]))
                 for piece in images.frames("test")]
            )  # fmt: skip
    executed, reason = executed_precision(
        load_target(recipe.target.device), recipe.target.precision
    )
    widest = max(amax, key=amax.__getitem__)
    return Result(
        {
            "calibration_images": len(chosen),
            "threshold": recipe.quantize.threshold,
            "ladder": _ladder(logits, stored["labels"], images.classes),
            "requested": recipe.target.precision,
            "executed": executed,
            "reason": reason,
            "int8_file_bytes": (context.out / INT8).stat().st_size,
            "fp16_file_bytes": (context.out / FP16).stat().st_size,
            "widest_range": {"tensor": widest, "amax": amax[widest]},
        },
        (AMAX, CHOSEN, INT8, FP16),
    )


def _ladder(logits: dict[str, np.ndarray], labels: np.ndarray, classes: list[str]) -> dict:
    """Precision -> accuracy on the test images and agreement with the float model."""
    top = {name: found.argmax(axis=1) for name, found in logits.items()}
    ladder = {}
    for name, found in logits.items():
        measured = measures(found, labels, classes)
        ladder[name] = {
            "top1_fraction": measured["top1_fraction"],
            "balanced_accuracy_fraction": measured["balanced_accuracy_fraction"],
            "agreement_fraction": float((top[name] == top["float"]).mean()),
            "max_relative_logit_difference": float(
                np.abs(found - logits["float"]).max() / np.abs(logits["float"]).max()
            ),
            "provenance": _HOW[name],
        }
    return ladder
