"""MODEL_CARD.md of a student that answers with figures: its measurements in words, nothing that was not measured."""

from __future__ import annotations

from collections.abc import Iterator

from edgedistill.bundles.card_parts import NETS, card, limits_of, listed, measured_line, plain, served_line
from edgedistill.config.recipe import Recipe
from edgedistill.records.outputs import Figure, OutputEvaluationRecord, OutputQuantizationRecord


def value_card(
    recipe: Recipe,
    title: str,
    evaluated: OutputEvaluationRecord,
    quantized: OutputQuantizationRecord,
    training_images: int,
) -> str:
    """The card, in Markdown; arguments as of `card_parts.card`."""
    return card(
        recipe,
        title,
        f"It answers an image with figures: {listed(value.column for value in recipe.data.value_columns)}.",
        training_images,
        [_errors(evaluated), _precisions(quantized), _ranges(evaluated)],
        [
            *limits_of(quantized, title),
            "- It gives a figure for every image, also for one that shows nothing of the kind.",
        ],
    )


def _errors(evaluated: OutputEvaluationRecord) -> Iterator[str]:
    yield "## Errors"
    yield ""
    yield measured_line(evaluated.images, "by the bootstrap over images")
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


def _with_unit(figure: Figure) -> str:
    return f"{figure.value:.4g}{' ' + plain(figure.unit) if figure.unit else ''}"


def _interval(figure: Figure) -> str:
    return f"{figure.interval[0]:.4g} to {figure.interval[1]:.4g}"
