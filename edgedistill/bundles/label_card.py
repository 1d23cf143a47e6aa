"""MODEL_CARD.md of a student that answers with any number of labels: its measurements in words."""

from __future__ import annotations

from collections.abc import Iterator

from edgedistill.bundles.model_card import FITS, plain
from edgedistill.bundles.value_card import NETS, served_line, shared_limits
from edgedistill.config.recipe import Recipe
from edgedistill.records.decision import DecisionFigures
from edgedistill.records.outputs import OutputEvaluationRecord, OutputFigures, OutputQuantizationRecord

_MOST_LABELS = 100  # listed here; classes.txt has them all


def label_card(
    recipe: Recipe,
    title: str,
    evaluated: OutputEvaluationRecord,
    quantized: OutputQuantizationRecord,
    decided: DecisionFigures,
    training_images: int,
) -> str:
    """The card, in Markdown; arguments as of `model_card.model_card`, and the answers at the executed precision."""
    names = ", ".join(f"`{plain(row.class_name)}`" for row in decided.classes[:_MOST_LABELS])
    more = len(decided.classes) - _MOST_LABELS
    return "\n".join(
        [
            f"# {plain(recipe.student.model)} for {title}",
            "",
            f"It answers an image with any number of {len(decided.classes)} labels, none of them included: {names}"
            f"{f' and {more} more' if more > 0 else ''}. It sees {' x '.join(map(str, recipe.data.size))} px (height x "
            f"width, {FITS[recipe.data.fit]}). Its teacher was {plain(recipe.first_teacher.model)}; it learnt from "
            f"{training_images} images. `provenance.json` names what it was made from.",
            "",
            *_figures(evaluated),
            "",
            *_labels(evaluated, decided),
            "",
            *_precisions(quantized),
            "",
            "## Intended use",
            "",
            "To be decided by the person who deploys it: nothing that was measured here says what it is good for.",
            "",
            *shared_limits(quantized, title),
            "- A probability is the sigmoid of an output, not calibrated; thresholds are fitted on validation images.",
            "",
        ]
    )


def _figures(evaluated: OutputEvaluationRecord) -> Iterator[str]:
    yield "## Figures"
    yield ""
    yield (
        f"Measured with PyTorch on the workstation, on {evaluated.images} test images that nothing was trained or "
        "chosen on. Intervals are 95 %, by the bootstrap over images."
    )
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
    for row in decided.classes[:_MOST_LABELS]:
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
