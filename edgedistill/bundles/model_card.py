"""MODEL_CARD.md of a student of classes: its measurements in words, and nothing that was not measured."""

from __future__ import annotations

from collections.abc import Iterator

from edgedistill.bundles.card_parts import MOST_LISTED, NETS, card, limits_of, measured_line, plain, served_line
from edgedistill.config.recipe import Recipe
from edgedistill.records.base import Number
from edgedistill.records.evaluation import EmbeddingEvaluationRecord, EvaluationRecord, NetworkFigures
from edgedistill.records.gallery import GalleryRecord
from edgedistill.records.quantization import QuantizationRecord

_FEW_IMAGES = 20


def model_card(
    recipe: Recipe,
    title: str,
    evaluated: EvaluationRecord,
    quantized: QuantizationRecord,
    training_images: int,
    gallery: GalleryRecord | None = None,
) -> str:
    """The card, in Markdown; arguments as of `card_parts.card`, and the gallery of a student without classes."""
    what = "An image classifier" if gallery is None else "A network without classes, of the nearest enrolled image"
    return card(
        recipe,
        title,
        f"{what}, {len(evaluated.student.per_class_recall)} classes.",
        training_images,
        [
            _accuracy(evaluated),
            _gallery(evaluated, gallery),
            _precisions(quantized),
            _classes(evaluated.student),
        ],
        _limits(evaluated, quantized, title, gallery),
    )


def _accuracy(evaluated: EvaluationRecord) -> Iterator[str]:
    teacher, student = evaluated.teacher, evaluated.student
    yield "## Accuracy"
    yield ""
    yield measured_line(evaluated.images, "by Wilson")
    yield ""
    yield "| network | top-1 | interval | balanced |"
    yield "|---|---|---|---|"
    for name, words in NETS.items():
        scores = evaluated.network(name)
        yield (
            f"| {words} | {scores.top1_fraction:.1%} | {_interval(scores.top1_interval)} | "
            f"{scores.balanced_accuracy_fraction:.1%} |"
        )
    yield ""
    if teacher.top1_fraction:
        retention = student.top1_fraction / teacher.top1_fraction
        yield f"It keeps {retention:.1%} of the teacher's top-1 accuracy."
    chance = evaluated.chance
    yield (f"Always saying `{plain(chance.majority_class)}` gives {chance.top1_fraction:.1%}.")


def _gallery(evaluated: EvaluationRecord, gallery: GalleryRecord | None) -> Iterator[str]:
    if gallery is None or not isinstance(evaluated, EmbeddingEvaluationRecord):
        return
    yield "## Gallery"
    yield ""
    yield (
        f"Top-1 above is the vote of the {evaluated.student.neighbours} nearest training images. The bundle has "
        f"{gallery.images} enrolled training images of {gallery.classes} classes, by the float network."
    )
    yield ""
    yield "| network | recall at 1 among the test images | interval |"
    yield "|---|---|---|"
    for name, words in NETS.items():
        recall = evaluated.network(name).recall_at_1
        yield f"| {words} | {recall.recall_at_1_fraction:.1%} | {_interval(recall.interval)} |"
    yield ""
    yield f"{gallery.sentence}."


def _precisions(quantized: QuantizationRecord) -> Iterator[str]:
    yield "## Precisions"
    yield ""
    yield f"| precision | {quantized.ladder['int8'].figure_name} | interval | change, points | how |"
    yield "|---|---|---|---|---|"
    for name, step in quantized.ladder.items():
        yield (
            f"| {name} | {step.top1_fraction:.1%} | {_interval(step.top1_interval)} | "
            f"{step.change_points:+.1f} | {step.provenance} |"
        )
    yield ""
    yield served_line(quantized)


def _classes(student: NetworkFigures) -> Iterator[str]:
    counts = [sum(row) for row in student.confusion]
    rows = list(zip(student.per_class_recall.items(), counts, strict=True))
    yield "## Classes"
    yield ""
    yield "| class | recall of the student | test images |"
    yield "|---|---|---|"
    for (name, recall), count in rows[:MOST_LISTED]:
        yield f"| `{plain(name)}` | {f'{recall:.1%}' if count else 'not measured'} | {count} |"
    if len(rows) > MOST_LISTED:
        yield ""
        yield f"and {len(rows) - MOST_LISTED} more: `classes.txt`."


def _limits(
    evaluated: EvaluationRecord, quantized: QuantizationRecord, title: str, gallery: GalleryRecord | None
) -> Iterator[str]:
    counts = [sum(row) for row in evaluated.student.confusion]
    few = sum(count < _FEW_IMAGES for count in counts)
    yield from limits_of(quantized, title)
    if gallery is None or gallery.coverage is None:
        yield "- It names one of its classes for every image, also for one that shows none of them."
    if few:
        yield f"- {few} of {len(counts)} classes {'has' if few == 1 else 'have'} fewer than {_FEW_IMAGES} test images."


def _interval(fractions: list[Number]) -> str:
    low, high = fractions
    return f"{low:.1%} to {high:.1%}"
