"""Stage `evaluate`: teacher, baseline and student on the test images, once."""

from __future__ import annotations

import numpy as np

from edgedistill.measure import measures, paired
from edgedistill.models.weights import load_weights
from edgedistill.pipeline import StageContext
from edgedistill.run_folder import Result
from edgedistill.training_stage import WEIGHTS, device_of, logits_of, open_images, spec_for

NETS = {"teacher": "teacher", "baseline": "baseline", "student": "distill"}  # name -> stage


def run(context: StageContext) -> Result:
    device = device_of(context.recipe.run)
    images = open_images(context)
    labels = images.labels("test")
    logits = {}
    for name, stage in NETS.items():
        model, about = load_weights(context.file(stage, WEIGHTS))
        spec = spec_for(about["model"], context.recipe)
        logits[name] = logits_of(model, spec, images.frames("test"), device)
    np.savez(context.out / "test_logits.npz", labels=labels, **logits)
    comparison = paired(logits["student"], logits["baseline"], labels)
    counts = np.bincount(labels, minlength=len(images.classes))
    values = {name: measures(found, labels, images.classes) for name, found in logits.items()}
    values |= {
        "images": len(labels),
        "teacher_agreement_fraction": float(
            (logits["student"].argmax(1) == logits["teacher"].argmax(1)).mean()
        ),
        "student_only_correct": comparison["first_only_correct"],
        "baseline_only_correct": comparison["second_only_correct"],
        "only_correct_by_class": comparison["by_class"],
        "mcnemar_p": comparison["p_value"],
        "chance": {
            "majority_class": images.classes[int(counts.argmax())],
            "top1_fraction": float(counts.max() / counts.sum()),
            "balanced_accuracy_fraction": 1 / int((counts > 0).sum()),
        },
    }
    return Result(values, ("test_logits.npz",))
