"""MODEL_CARD.md of a student that answers with figures: its measurements in words, nothing that was not measured."""

from __future__ import annotations

from collections.abc import Iterator

from edgedistill.bundles.model_card import FITS, plain
from edgedistill.config.recipe import Recipe
from edgedistill.records.outputs import Figure, OutputEvaluationRecord, OutputQuantizationRecord

NETS = {"teacher": "teacher", "baseline": "student without the teacher", "student": "student (this one)"}


def value_card(
    recipe: Recipe,
    title: str,
    evaluated: OutputEvaluationRecord,
    quantized: OutputQuantizationRecord,
    training_images: int,
) -> str:
    """The card, in Markdown; arguments as of `model_card.model_card`."""
    names = ", ".join(f"`{plain(value.column)}`" for value in recipe.data.value_columns)
    return "\n".join(
        [
            f"# {plain(recipe.student.model)} for {title}",
            "",
            f"It answers an image with figures: {names}. It sees {' x '.join(map(str, recipe.data.size))} px (height x "
            f"width, {FITS[recipe.data.fit]}). Its teacher was {plain(recipe.first_teacher.model)}; it learnt from "
            f"{training_images} images. `provenance.json` names what it was made from.",
            "",
            *_errors(evaluated),
            "",
            *_precisions(quantized),
            "",
            *_ranges(evaluated),
            "",
            "## Intended use",
            "",
            "To be decided by the person who deploys it: nothing that was measured here says what it is good for.",
            "",
            *shared_limits(quantized, title),
            "- It gives a figure for every image, also for one that shows nothing of the kind.",
            "",
        ]
    )


def _errors(evaluated: OutputEvaluationRecord) -> Iterator[str]:
    yield "## Errors"
    yield ""
    yield (
        f"Measured with PyTorch on the workstation, on {evaluated.images} test images that nothing was trained or "
        "chosen on. Intervals are 95 %, by the bootstrap over images."
    )
    yield ""
    yield "| network | value | mean absolute error | interval | R2 |"
    yield "|---|---|---|---|---|"
    figures = {**{words: evaluated.network(name) for name, words in NETS.items()}}
    figures["always the training mean"] = evaluated.constant
    for words, measured in figures.items():
        for error in (one for one in measured.figures if one.name == "mae" and one.output is not None):
            r2 = measured.figure("r2", error.output)
            cells = words, f"`{plain(error.output or '')}`", _with_unit(error), _interval(error), f"{r2.value:.3f}"
            yield f"| {' | '.join(cells)} |"


def _precisions(quantized: OutputQuantizationRecord) -> Iterator[str]:
    yield "## Precisions"
    yield ""
    yield "| precision | value | mean absolute error | change | how |"
    yield "|---|---|---|---|---|"
    for name, step in quantized.ladder.items():
        for change in step.changes:
            error = step.figure("mae", change.output)
            yield (
                f"| {name} | `{plain(change.output or '')}` | {_with_unit(error)} | {change.value:+.3g} | "
                f"{step.provenance} |"
            )
    yield ""
    yield served_line(quantized)


def served_line(quantized: OutputQuantizationRecord) -> str:
    """Which precision was asked for, and which one the board executes."""
    asked, served = quantized.requested, quantized.executed
    why = f": {quantized.reason}" if asked != served else ""
    return f"Asked for: {asked}. The board is to execute: {served}{why}."


def _ranges(evaluated: OutputEvaluationRecord) -> Iterator[str]:
    yield "## Error by range"
    yield ""
    yield "| value | true value | test images | mean absolute error | mean error |"
    yield "|---|---|---|---|---|"
    for row in evaluated.student.ranges:
        yield (
            f"| `{plain(row.output)}` | {row.low:.4g} to {row.high:.4g} | {row.images} | {row.mae:.4g} | "
            f"{row.bias:+.4g} |"
        )


def shared_limits(quantized: OutputQuantizationRecord, title: str) -> Iterator[str]:
    """Limits of every student whose targets are figures."""
    yield "## Limits"
    yield ""
    yield (
        f"- No figure here is from {title}: all were taken on the workstation, and "
        "`python3 -m edgedistill_device verify` and `bench` measure on the board."
    )
    yield "- Rows marked `simulated` are ONNX Runtime's arithmetic, not TensorRT's."
    yield "- The figures hold for images like the test images; for others nothing was measured."
    if quantized.int8_gate.kept_float:
        yield f"- {len(quantized.int8_gate.kept_float)} layers are kept in float under INT8."


def _with_unit(figure: Figure) -> str:
    return f"{figure.value:.4g}{' ' + plain(figure.unit) if figure.unit else ''}"


def _interval(figure: Figure) -> str:
    return f"{figure.interval[0]:.4g} to {figure.interval[1]:.4g}"
