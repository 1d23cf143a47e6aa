"""What MODEL_CARD.md says of every student, whatever it answers with.

After Mitchell et al. 2019, "Model Cards for Model Reporting", arXiv:1810.03993.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgedistill.config.recipe import Recipe
from edgedistill.config.values import size_text
from edgedistill.core.text import plural, printable
from edgedistill.records.outputs import OutputQuantizationRecord
from edgedistill.records.quantization import QuantizationRecord

NETS = {"teacher": "teacher", "baseline": "student without the teacher", "student": "student (this one)"}
MOST_LISTED = 100  # classes or labels; classes.txt has them all
_FITS = {
    "crop": "the middle of the picture",
    "pad": "the whole picture with grey bars",
    "squash": "the whole picture, its aspect changed",
}

Quantized = QuantizationRecord | OutputQuantizationRecord


def card(
    recipe: Recipe,
    title: str,
    answer: str,
    training_images: int,
    sections: Iterable[Iterable[str]],
    limits: Iterable[str],
) -> str:
    """The card, in Markdown.

    Args:
        title: the board, for people.
        answer: a sentence on what the student answers with.
        training_images: number of the student's training images.
        sections: lines of each, its heading first; one without lines is left out.
        limits: lines of the last section.
    """
    teacher_px = recipe.first_teacher.image_px
    larger = "" if teacher_px is None else f" on the same images enlarged to {size_text(teacher_px)} px"
    lines = [
        f"# {plain(recipe.student.model)} for {title}",
        "",
        f"{answer} It sees {' x '.join(map(str, recipe.data.size))} px (height x width, {_FITS[recipe.data.fit]}). Its "
        f"teacher was {plain(recipe.first_teacher.model)}{larger}, the method `{recipe.distill.method}`; it learnt "
        f"from {training_images} images. `provenance.json` names what it was made from.",
        "",
    ]
    for section in filter(None, map(list, sections)):
        lines += [*section, ""]
    lines += ["## Intended use", ""]
    lines += ["To be decided by the person who deploys it: nothing that was measured here says what it is good for."]
    return "\n".join([*lines, "", "## Limits", "", *limits, ""])


def limits_of(quantized: Quantized, title: str) -> Iterator[str]:
    """Limits of every student."""
    yield (
        f"- No figure here is from {title}: all were taken on the workstation, and "
        "`python3 -m edgedistill_device verify` and `bench` measure on the board."
    )
    yield "- Rows marked `simulated` are ONNX Runtime's arithmetic, not TensorRT's."
    yield "- The figures hold for images like the test images; for others nothing was measured."
    if quantized.int8_gate.kept_float:
        yield f"- {plural(len(quantized.int8_gate.kept_float), 'layer is', 'layers are')} kept in float under INT8."


def measured_line(images: int, interval: str) -> str:
    """Where the figures are from; `interval` says which one they have."""
    return (
        f"Measured with PyTorch on the workstation, on {images} test images that nothing was trained or chosen on. "
        f"Intervals are 95 %, {interval}."
    )


def served_line(quantized: Quantized) -> str:
    """Which precision was asked for, and which one the board executes."""
    asked, served = quantized.requested, quantized.executed
    why = f": {quantized.reason}" if asked != served else ""
    return f"Asked for: {asked}. The board is to execute: {served}{why}."


def listed(names: Iterable[str]) -> str:
    """Names in a sentence, the first MOST_LISTED of them."""
    names = list(names)
    more = len(names) - MOST_LISTED
    return ", ".join(f"`{plain(name)}`" for name in names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def plain(name: str) -> str:
    """Escape a user's text for a line of Markdown: no line break, no end of a cell or of a code span."""
    return printable(" ".join(name.split())).replace("`", "'").replace("|", "/")
