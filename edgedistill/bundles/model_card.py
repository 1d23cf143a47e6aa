"""MODEL_CARD.md: the measurements of a student in words, and nothing that was not measured.

After Mitchell et al. 2019, "Model Cards for Model Reporting", arXiv:1810.03993.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgedistill.config.recipe import Recipe
from edgedistill.core.text import printable
from edgedistill.records.base import Number
from edgedistill.records.evaluation import EmbeddingEvaluationRecord, EvaluationRecord, NetworkFigures
from edgedistill.records.gallery import GalleryRecord
from edgedistill.records.quantization import QuantizationRecord

_MOST_CLASSES = 100  # listed here; classes.txt has them all
_FEW_IMAGES = 20
FITS = {
    "crop": "the middle of the picture",
    "pad": "the whole picture with grey bars",
    "squash": "the whole picture, its aspect changed",
}
_NETS = {
    "teacher": "teacher",
    "baseline": "student without the teacher",
    "student": "student (this one)",
}


def model_card(
    recipe: Recipe,
    title: str,
    evaluated: EvaluationRecord,
    quantized: QuantizationRecord,
    training_images: int,
    gallery: GalleryRecord | None = None,
) -> str:
    """The card, in Markdown.

    Args:
        title: the board, for people.
        evaluated, quantized: of the stages `evaluate` and `quantize`.
        training_images: number of the student's training images.
        gallery: of a student without classes.
    """
    what = "An image classifier" if gallery is None else "A network without classes, of the nearest enrolled image"
    return "\n".join(
        [
            f"# {plain(recipe.student.model)} for {title}",
            "",
            f"{what}, {' x '.join(map(str, recipe.data.size))} px (height x width, "
            f"{FITS[recipe.data.fit]}), "
            f"{len(evaluated.student.per_class_recall)} classes. Its teacher was "
            f"{plain(recipe.first_teacher.model)}, the method `{recipe.distill.method}`; it learnt from "
            f"{training_images} images. `provenance.json` names what it was made from.",
            "",
            *_accuracy(evaluated),
            "",
            *_gallery(evaluated, gallery),
            *_precisions(quantized),
            "",
            *_classes(evaluated.student),
            "",
            "## Intended use",
            "",
            "To be decided by the person who deploys it: nothing that was measured here says what it is good for.",
            "",
            *_limits(evaluated, quantized, title, gallery),
            "",
        ]
    )


def _accuracy(evaluated: EvaluationRecord) -> Iterator[str]:
    teacher, student = evaluated.teacher, evaluated.student
    yield "## Accuracy"
    yield ""
    yield (
        f"Measured with PyTorch on the workstation, on {evaluated.images} test images that "
        "nothing was trained or chosen on. The interval is a 95 % Wilson interval."
    )
    yield ""
    yield "| network | top-1 | interval | balanced |"
    yield "|---|---|---|---|"
    for name, words in _NETS.items():
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
    for name, words in _NETS.items():
        recall = evaluated.network(name).recall_at_1
        yield f"| {words} | {recall.recall_at_1_fraction:.1%} | {_interval(recall.interval)} |"
    yield ""
    yield f"{gallery.sentence}."
    yield ""


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
    asked, served = quantized.requested, quantized.executed
    why = f": {quantized.reason}" if asked != served else ""
    yield f"Asked for: {asked}. The board is to execute: {served}{why}."


def _classes(student: NetworkFigures) -> Iterator[str]:
    counts = [sum(row) for row in student.confusion]
    rows = list(zip(student.per_class_recall.items(), counts, strict=True))
    yield "## Classes"
    yield ""
    yield "| class | recall of the student | test images |"
    yield "|---|---|---|"
    for (name, recall), count in rows[:_MOST_CLASSES]:
        yield f"| `{plain(name)}` | {f'{recall:.1%}' if count else 'not measured'} | {count} |"
    if len(rows) > _MOST_CLASSES:
        yield ""
        yield f"and {len(rows) - _MOST_CLASSES} more: `classes.txt`."


def _limits(
    evaluated: EvaluationRecord, quantized: QuantizationRecord, title: str, gallery: GalleryRecord | None
) -> Iterator[str]:
    counts = [sum(row) for row in evaluated.student.confusion]
    few = sum(count < _FEW_IMAGES for count in counts)
    yield "## Limits"
    yield ""
    yield (
        f"- No figure here is from {title}: accuracy was taken on the workstation, and "
        "`python3 -m edgedistill_device verify` and `bench` measure on the board."
    )
    yield "- Rows marked `simulated` are ONNX Runtime's arithmetic, not TensorRT's."
    yield "- The figures hold for images like the test images; for others nothing was measured."
    if gallery is None or gallery.coverage is None:
        yield "- It names one of its classes for every image, also for one that shows none of them."
    if few:
        yield f"- {few} of {len(counts)} classes have fewer than {_FEW_IMAGES} test images."
    if quantized.int8_gate.kept_float:
        yield f"- {len(quantized.int8_gate.kept_float)} layers are kept in float under INT8."


def _interval(fractions: list[Number]) -> str:
    low, high = fractions
    return f"{low:.1%} to {high:.1%}"


def plain(name: str) -> str:
    """Escape a user's text for a line of Markdown: no line break, no end of a cell or of a code span."""
    return printable(" ".join(name.split())).replace("`", "'").replace("|", "/")
