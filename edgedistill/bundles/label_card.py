"""MODEL_CARD.md of a student that answers with any number of labels: its measurements in words."""

from __future__ import annotations

from collections.abc import Iterator

from edgedistill.bundles.card_parts import MOST_LISTED, NETS, card, limits_of, listed, measured_line, plain, served_line
from edgedistill.config.recipe import Recipe
from edgedistill.records.decision import DecisionFigures
from edgedistill.records.outputs import OutputEvaluationRecord, OutputFigures, OutputQuantizationRecord


def label_card(
    recipe: Recipe,
    title: str,
    evaluated: OutputEvaluationRecord,
    quantized: OutputQuantizationRecord,
    decided: DecisionFigures,
    training_images: int,
) -> str:
    """The card, in Markdown; arguments as of `card_parts.card`, and the answers at the executed precision."""
    return card(
        recipe,
        title,
        f"It answers an image with any number of {len(decided.classes)} labels, none of them included: "
        f"{listed(row.class_name for row in decided.classes)}.",
        training_images,
        [_figures(evaluated), _labels(evaluated, decided), _precisions(quantized)],
        [
            *limits_of(quantized, title),
            "- A probability is the sigmoid of an output, not calibrated; thresholds are fitted on validation images.",
        ],
    )


def _figures(evaluated: OutputEvaluationRecord) -> Iterator[str]:
    yield "## Figures"
    yield ""
    yield measured_line(evaluated.images, "about which images were tested")
    yield ""
    yield "| network | mean average precision | interval | F1, mean over labels | all labels right |"
    yield "|---|---|---|---|---|"
    for name, words in NETS.items():
        found = evaluated.network(name)
        yield (
            f"| {words} | {found.metric('map'):.3f} | {_interval(found, 'map')} | {found.metric('f1_macro'):.3f} | "
            f"{found.metric('exact_match'):.3f} |"
        )
    alike = evaluated.constant
    yield f"| always the labels' frequencies | {alike.metric('map'):.3f} | {_interval(alike, 'map')} | | |"


def _labels(evaluated: OutputEvaluationRecord, decided: DecisionFigures) -> Iterator[str]:
    yield f"## Labels, answered as the board does at {decided.precision.upper()}"
    yield ""
    yield "| label | test images | average precision (float) | threshold | precision | recall |"
    yield "|---|---|---|---|---|---|"
    for row in decided.classes[:MOST_LISTED]:
        ap = evaluated.student.get("ap", row.class_name)
        cells = [f"`{plain(row.class_name)}`", str(row.images), _share(None if ap is None else ap.value)]
        cells += [f"{row.threshold:.3g}", _share(row.precision), _share(row.recall)]
        yield f"| {' | '.join(cells)} |"
    for point in decided.points:
        yield ""
        yield f"{plain(point.sentence[0].upper() + point.sentence[1:])}."


def _precisions(quantized: OutputQuantizationRecord) -> Iterator[str]:
    yield "## Precisions"
    yield ""
    yield "| precision | mean average precision | change, points | how |"
    yield "|---|---|---|---|"
    for name, step in quantized.ladder.items():
        yield f"| {name} | {step.metric('map'):.3f} | {0 - step.drop_points:+.2f} | {step.provenance} |"
    yield ""
    yield served_line(quantized)


def _interval(figures: OutputFigures, name: str) -> str:
    low, high = figures.figure(name).interval
    return f"{low:.3f} to {high:.3f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
