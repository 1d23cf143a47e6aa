"""Stage `evaluate`: teacher, baseline and student on the test images, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.evaluation.classification import measures, paired
from edgedistill.evaluation.embeddings import knn_scores, recall_at_1
from edgedistill.models.weights import load_weights
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images
from edgedistill.pipeline.table import stage_named
from edgedistill.records.layout import TEST_LOGITS, WEIGHTS
from edgedistill.records.result import Result
from edgedistill.training.fit import device_of, logits_of, pooled_of, spec_for
from edgedistill.training.images import Images

NETS = {"teacher": "teacher", "baseline": "baseline", "student": "distill"}  # name -> stage
METRICS = ("top1_fraction", "balanced_accuracy_fraction")
TAUGHT = ("baseline", "student")  # trained once for each seed
NEIGHBOURS = 5  # of an embedding, that vote for a test image's class


def run(context: StageContext) -> Result:
    device = device_of(context.recipe.run)
    images = open_images(context)
    if context.recipe.student.output == "embedding":
        return _embeddings(context, images, device)
    labels = images.labels("test")
    logits, values = {}, {}
    for name, stage in NETS.items():
        logits[name], values[name] = _measured(context, images, context.file(stage, WEIGHTS), device)
    np.savez(context.out / TEST_LOGITS, labels=labels, **logits)
    comparison = paired(logits["student"], logits["baseline"], labels)
    counts = np.bincount(labels, minlength=len(images.classes))
    values |= {
        "images": len(labels),
        "teacher_agreement_fraction": float((logits["student"].argmax(1) == logits["teacher"].argmax(1)).mean()),
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
    values["seeds"] = _seeds(context, images, values, device)
    if stage_named("assist").applies(context.recipe):
        values["links"] = _links(context, images, logits["teacher"], device)
    return Result(values, (TEST_LOGITS,))


def _embeddings(context: StageContext, images: Images, device) -> Result:
    """By nearest neighbours: training images are the gallery, test images the queries.

    Teacher and baseline take part by their pooled features, so that all three are measured alike.
    """
    labels, values, kept = images.labels("test"), {}, {}
    for name, stage in NETS.items():
        model, about = load_weights(context.file(stage, WEIGHTS))
        spec = spec_for(about["model"], context.recipe)
        gallery, queries = (pooled_of(model, spec, images.frames(split), device) for split in ("train", "test"))
        scores = knn_scores(gallery, images.labels("train"), queries, len(images.classes), NEIGHBOURS)
        found = recall_at_1(queries, labels)
        values[name] = {
            **measures(scores, labels, images.classes),
            "width": queries.shape[1],
            "neighbours": NEIGHBOURS,
            "recall_at_1": found,
        }
        kept[name] = queries
        context.talk.say(
            f"  {name}: of {len(labels)} test images the {NEIGHBOURS} nearest training images name "
            f"{values[name]['top1_fraction']:.1%} rightly; recall at 1 "
            f"{found['recall_at_1_fraction']:.1%}"
        )
    np.savez(context.out / "test_embeddings.npz", labels=labels, **kept)
    return Result({"images": len(labels), **values}, ("test_embeddings.npz",))


def _seeds(context: StageContext, images: Images, values: dict, device) -> list[dict[str, Any]]:
    """One row for each seed: both metrics of baseline and student."""
    rows = []
    for number, trained in enumerate(context.values("distill")["seeds"]):
        row: dict[str, Any] = {"seed": trained["seed"]}
        for name in TAUGHT:
            found = values[name]
            if number:
                file = context.values(NETS[name])["seeds"][number]["weights"]
                found = _measured(context, images, context.file(NETS[name], file), device)[1]
            row[name] = {key: found[key] for key in METRICS}
        rows.append(row)
    return rows


def _links(context: StageContext, images: Images, teacher: np.ndarray, device) -> list[dict]:
    """The networks of stage `assist`, and of an ensemble the mean of all its teachers."""
    rows, logits = [], [teacher]
    for link in context.values("assist")["links"]:
        found, measured = _measured(context, images, context.file("assist", link["file"]), device)
        logits.append(found)
        rows.append(
            {"model": link["model"], "parameters": link["parameters"], **{key: measured[key] for key in METRICS}}
        )
    if context.recipe.distill.method == "ensemble":
        mean = measures(np.mean(logits, axis=0), images.labels("test"), images.classes)
        rows.append({"model": "mean of the ensemble", "parameters": None, **{key: mean[key] for key in METRICS}})
    return rows


def _measured(context: StageContext, images: Images, weights: Path, device) -> tuple[np.ndarray, dict[str, Any]]:
    model, about = load_weights(weights)
    spec = spec_for(about["model"], context.recipe)
    logits = logits_of(model, spec, images.frames("test"), device)
    return logits, measures(logits, images.labels("test"), images.classes)
