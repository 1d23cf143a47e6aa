"""Stage `evaluate`: teacher, baseline and student on the test images, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.config.task import CLASSIFICATION, EMBEDDING, TASKS, task_of
from edgedistill.evaluation.classification import mcnemar_p, paired
from edgedistill.evaluation.embeddings import knn_scores, recall_at_1
from edgedistill.evaluation.tasks import evaluator_of, required
from edgedistill.models.weights import load_weights
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.inputs import open_images
from edgedistill.pipeline.table import stage_named
from edgedistill.pipeline.teacher_cache import first_teachers, teacher_key
from edgedistill.records.evaluation import (
    METRICS,
    Chance,
    EmbeddingEvaluationRecord,
    EmbeddingFigures,
    EvaluationRecord,
    LinkScores,
    NetworkFigures,
    Scores,
    SeedScores,
)
from edgedistill.records.layout import TEST_LOGITS, WEIGHTS
from edgedistill.records.outputs import (
    OutputDistillRecord,
    OutputEvaluationRecord,
    OutputFigures,
    OutputSeeds,
)
from edgedistill.records.result import Result
from edgedistill.records.training import AssistRecord, BaselineRecord, DistillRecord, TeacherRecord
from edgedistill.training.fit import device_of, logits_of, pooled_of, spec_for
from edgedistill.training.images import Images

NETS = {"teacher": "teacher", "baseline": "baseline", "student": "distill"}  # name -> stage
TAUGHT: dict[str, type[BaselineRecord] | type[DistillRecord]] = {
    "baseline": BaselineRecord,
    "student": DistillRecord,
}  # trained once for each seed
Measure = Callable[[StageContext, Images, Path, Any], tuple[np.ndarray, Any]]
NEIGHBOURS = 5  # of an embedding, that vote for a test image's class


def run(context: StageContext) -> Result:
    device = device_of(context.recipe.run, context.talk.say)
    images = open_images(context)
    return _RUNS[task_of(context.recipe).name](context, images, device)


def _classes(context: StageContext, images: Images, device) -> Result:
    """By what the outputs say of each image."""
    logits: dict[str, np.ndarray] = {}
    figures: dict[str, NetworkFigures] = {}
    for name, stage in NETS.items():
        logits[name], figures[name] = _measured(context, images, context.file(stage, WEIGHTS), device)
    _save_arrays(context.out / TEST_LOGITS, images.labels("test"), logits)
    seeds = _seeds(context, images, figures, device)
    record = EvaluationRecord(**_of_classes(images, figures, logits, seeds))
    links = _teachers(context, images, device)
    if stage_named("assist").applies(context.recipe):
        links += _links(context, images, logits["teacher"], device)
    if links:
        record = record.model_copy(update={"links": links})
    return Result(record, (TEST_LOGITS,))


def _of_classes(
    images: Images, figures: Mapping[str, Any], scores: dict[str, np.ndarray], seeds: list[SeedScores]
) -> dict[str, Any]:
    """The fields of an EvaluationRecord; `scores`: (N, C) of each network."""
    labels = images.labels("test")
    comparison = paired(scores["student"], scores["baseline"], labels)
    counts = np.bincount(labels, minlength=len(images.classes))
    chance = Chance(
        majority_class=images.classes[int(counts.argmax())],
        top1_fraction=float(counts.max() / counts.sum()),
        balanced_accuracy_fraction=1 / int((counts > 0).sum()),
    )
    return {
        **figures,
        "images": len(labels),
        "teacher_agreement_fraction": float((scores["student"].argmax(1) == scores["teacher"].argmax(1)).mean()),
        "student_only_correct": comparison["first_only_correct"],
        "baseline_only_correct": comparison["second_only_correct"],
        "only_correct_by_class": comparison["by_class"],
        "mcnemar_p": mcnemar_p(comparison["first_only_correct"], comparison["second_only_correct"]),
        "chance": chance,
        "seeds": seeds,
    }


def _embeddings(context: StageContext, images: Images, device) -> Result:
    """By nearest neighbours: training images are the gallery, test images the queries.

    Teacher and baseline take part by their pooled features, so that all three are measured alike.
    """
    labels = images.labels("test")
    figures: dict[str, EmbeddingFigures] = {}
    queries: dict[str, np.ndarray] = {}
    scores: dict[str, np.ndarray] = {}
    for name, stage in NETS.items():
        queries[name], scores[name], figures[name] = _embedded(context, images, context.file(stage, WEIGHTS), device)
        recall = figures[name].recall_at_1.recall_at_1_fraction
        context.talk.say(
            f"  {name}: of {len(labels)} test images the {NEIGHBOURS} nearest training images name "
            f"{figures[name].top1_fraction:.1%} rightly; recall at 1 {recall:.1%}"
        )
    _save_arrays(context.out / TEST_LOGITS, labels, queries)
    seeds = _seeds(context, images, figures, device, lambda *given: _embedded(*given)[1:])
    return Result(EmbeddingEvaluationRecord(**_of_classes(images, figures, scores, seeds)), (TEST_LOGITS,))


def _embedded(
    context: StageContext, images: Images, weights: Path, device
) -> tuple[np.ndarray, np.ndarray, EmbeddingFigures]:
    """(N, D) of the test images, (N, C) the votes of their neighbours, and figures."""
    model, about = load_weights(weights)
    spec, labels = spec_for(about["model"], context.recipe), images.labels("test")
    gallery, queries = (pooled_of(model, spec, images.frames(split), device) for split in ("train", "test"))
    scores = knn_scores(gallery, images.labels("train"), queries, len(images.classes), min(NEIGHBOURS, len(gallery)))
    return (
        queries,
        scores,
        EmbeddingFigures(
            **evaluator_of(EMBEDDING).measures(scores, labels, images.classes).given(),
            width=queries.shape[1],
            neighbours=min(NEIGHBOURS, len(gallery)),
            recall_at_1=recall_at_1(queries, labels),
        ),
    )


def _save_arrays(path: Path, labels: np.ndarray, by_network: dict[str, np.ndarray]) -> None:
    arrays: dict[str, Any] = {"labels": labels, **by_network}
    np.savez(path, **arrays)


def _seeds(
    context: StageContext, images: Images, figures: Mapping[str, Any], device, measure: Measure | None = None
) -> list[SeedScores]:
    """One row for each seed: both metrics of baseline and student; `measure`: as `_measured`, which is its default."""
    seeds = [one.seed for one in context.read(DistillRecord).seeds]
    return [
        SeedScores(seed=seed, **{name: _scores(measured) for name, measured in nets.items()})
        for seed, nets in _by_seed(context, images, figures, device, seeds, measure or _measured)
    ]


def _by_seed(
    context: StageContext, images: Images, figures: Mapping[str, Any], device, seeds: list[int], measure: Measure
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each seed, and the figures of its baseline and student on the test images; those of the first are there."""
    for number, seed in enumerate(seeds):
        measured = {name: figures[name] for name in TAUGHT}
        for name, kind in TAUGHT.items() if number else ():
            file = context.file(kind.stage, context.read(kind).seeds[number].weights)
            measured[name] = measure(context, images, file, device)[1]
        yield seed, measured


def _teachers(context: StageContext, images: Images, device) -> list[LinkScores]:
    """The second of two teachers, and the mean of all answers that were cached of a view; none of a single answer."""
    teacher, rows = context.read(TeacherRecord), []
    if teacher.second is not None:
        measured = _measured(context, images, context.file("teacher", teacher.second), device)[1]
        other = {"probe": "finetune", "finetune": "probe"}[teacher.mode or "finetune"]
        scores = _scores(measured).given()
        rows.append(LinkScores(model=f"{teacher.model} ({other})", parameters=teacher.parameters, **scores))
    if isinstance(teacher_key(context), list):
        answers = first_teachers(context, device).logits_of(images.frames("test"))
        measures = evaluator_of(task_of(context.recipe)).measures
        scores = _scores(measures(answers, images.labels("test"), images.classes)).given()
        rows.append(LinkScores(model="mean of the teacher's answers", parameters=None, **scores))
    return rows


def _links(context: StageContext, images: Images, teacher: np.ndarray, device) -> list[LinkScores]:
    """The networks of stage `assist`, and of an ensemble the mean of all its teachers."""
    rows, logits = [], [teacher]
    for link in context.read(AssistRecord).links:
        outputs, measured = _measured(context, images, context.file("assist", link.file), device)
        logits.append(outputs)
        rows.append(LinkScores(model=link.model, parameters=link.parameters, **_scores(measured).given()))
    if context.recipe.distill.method == "ensemble":
        measures = evaluator_of(task_of(context.recipe)).measures
        mean = measures(np.mean(logits, axis=0), images.labels("test"), images.classes)
        rows.append(LinkScores(model="mean of the ensemble", parameters=None, **_scores(mean).given()))
    return rows


def _scores(figures: NetworkFigures) -> Scores:
    return Scores(**{name: figures.metric(name) for name in METRICS})


def _measured(context: StageContext, images: Images, weights: Path, device) -> tuple[np.ndarray, Any]:
    model, about = load_weights(weights)
    spec = spec_for(about["model"], context.recipe)
    logits = logits_of(model, spec, images.frames("test"), device)
    evaluator = evaluator_of(task_of(context.recipe), images.values)
    if evaluator.fitted is not None:  # thresholds of its own
        evaluator = evaluator.fitted(logits_of(model, spec, images.frames("val"), device), images.targets("val"))
    return logits, evaluator.measures(logits, images.targets("test"), images.classes)


def _vectors(context: StageContext, images: Images, device) -> Result:
    """By the figures of each output, beside those of a network that says the same of every image."""
    targets, task = images.targets("test"), task_of(context.recipe)
    evaluator = evaluator_of(task, images.values)
    gain, constant = required(evaluator.gain), np.zeros(targets.shape, np.float32)  # of figures the training means
    outputs: dict[str, np.ndarray] = {}
    figures: dict[str, Any] = {}
    for name, stage in NETS.items():
        outputs[name], figures[name] = _measured(context, images, context.file(stage, WEIGHTS), device)
        for line in (_lines_of_labels if task.multiple else _lines_of_values)(figures[name]):
            context.talk.say(f"  {name}: {line}")
    _save_arrays(context.out / TEST_LOGITS, images.labels("test"), outputs)
    _, baseline, student = (outputs[name] for name in NETS)
    gains = {
        key: gain(student, other, targets, images.classes)
        for key, other in (("gain", baseline), ("over_constant", constant))
    }
    seeds = _vector_seeds(context, images, figures, device)
    alike = evaluator.measures(constant, targets, images.classes)
    by_field: dict[str, Any] = {**figures, "constant": alike, **gains}
    return Result(OutputEvaluationRecord(images=len(targets), **by_field, seeds=seeds), (TEST_LOGITS,))


def _lines_of_values(figures: OutputFigures) -> Iterator[str]:
    for error in figures.named("mae"):
        r2, unit = figures.figure("r2", error.output), f" {error.unit}" if error.unit else ""
        yield (
            f"{error.output}: mean absolute error {error.value:.4g}{unit} on {figures.images} test images, "
            f"R2 {r2.value:.3f}"
        )


def _lines_of_labels(figures: OutputFigures) -> Iterator[str]:
    whole = {name: figures.metric(name) for name in ("map", "f1_macro", "f1_micro", "exact_match")}
    yield (
        "mean average precision {map:.3f} on {images} test images; at its thresholds F1 {f1_macro:.3f} (macro), "
        "{f1_micro:.3f} (micro), {exact_match:.1%} of the images with all labels right".format(
            images=figures.images, **whole
        )
    )


def _vector_seeds(context: StageContext, images: Images, figures: dict[str, Any], device) -> list[OutputSeeds]:
    """One row for each seed: the primary figure of baseline and student."""
    primary = task_of(context.recipe).primary
    seeds = [one.seed for one in context.read(OutputDistillRecord).seeds]
    return [
        OutputSeeds(seed=seed, **{name: measured.metric(primary) for name, measured in nets.items()})
        for seed, nets in _by_seed(context, images, figures, device, seeds, _measured)
    ]


_RUNS = {
    CLASSIFICATION.name: _classes,
    EMBEDDING.name: _embeddings,
    **{task.name: _vectors for task in TASKS if task.vectors},
}
