"""Whether a trial of a sweep beats the recipe's own student beyond chance, and the sweep as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.core.text import printable
from edgedistill.core.text_table import table_lines
from edgedistill.evaluation.intervals import CONFIDENCE, balanced_interval, paired_interval
from edgedistill.records.sweep import SweepRecord, TrialResult

OWN = "your recipe"


def difference_points(
    hits: np.ndarray, own_hits: np.ndarray, labels: np.ndarray, metric: str, trials: int
) -> list[float]:
    """Compute the interval of a trial's metric minus that of the recipe's own student, on the same images.

    Args:
        hits, own_hits: (N,) bool, the images that are right in each.
        labels: (N,) int.
        metric: of `records.evaluation.METRICS`.
        trials: how many are compared with the own student. All intervals hold together with 95 % (Bonferroni),
            because the best of many trials is above the own student by chance alone.

    Returns:
        [low, high] in points.
    """
    confidence = 1 - (1 - CONFIDENCE) / trials
    by_class = [
        [int((hits & ~own_hits & own).sum()), int((own_hits & ~hits & own).sum()), int(own.sum())]
        for own in (labels == number for number in np.unique(labels))
    ]
    if metric == "top1_fraction":
        first, second, images = (sum(counts) for counts in zip(*by_class, strict=True))
        ends = paired_interval(first, second, images, confidence)
    else:
        ends = balanced_interval(by_class, confidence)
    return [100 * end for end in ends]


def sentences_of(trials: Sequence[TrialResult], own: TrialResult | None, images: int) -> list[str]:
    """Say in words what the trials have shown.

    Args:
        trials: best first.
        own: the recipe's own student.
        images: validation images that all were judged on.
    """
    others = [trial for trial in trials if trial.state == "complete" and not _same(trial, own)]
    if own is None or not others:
        return []
    better = sum(trial.against_own_points is not None and trial.against_own_points[0] > 0 for trial in others)
    who = f"{better} of {len(others)} trials beat{'s' if better == 1 else ''}" if better else "no trial beats"
    together = f", {CONFIDENCE:.0%} intervals that hold for all {len(others)} at once" if len(others) > 1 else ""
    sentences = [
        f"{who} {OWN} beyond chance: the best is {_difference(others[0], own)} points on {images} validation images"
        f"{together}; one seed each"
    ]
    tied = [_name(trial, own) for trial in (own, *others) if trial.value == max(own.value, others[0].value)]
    return [*sentences, *([f"{len(tied)} tie for the best value: {'; '.join(tied)}"] if len(tied) > 1 else [])]


def text_from_sweep(sweep: SweepRecord, folder: Path, width: int | None = None) -> str:
    """The trials as a table, best first, what they have shown, and where the best recipe is.

    Args:
        folder: of the sweep.
        width: columns of the terminal; None: any.
    """
    own = sweep.own
    rows = [("value", f"against {OWN}", "epochs", "settings")]
    listed = [*sweep.trials]
    if own is not None and not any(_same(trial, own) for trial in listed):
        listed.append(own)
        listed.sort(key=lambda trial: (trial.state != "complete", -trial.value))
    for trial in listed:
        against = "" if own is None or trial.against_own_points is None else _difference(trial, own)
        epochs = f"{trial.epochs}{', pruned' if trial.state == 'pruned' else ''}"
        rows.append((f"{trial.value:.1%}", against, epochs, _name(trial, own)))
    return "\n".join(
        [
            f"{sweep.metric.removesuffix('_fraction').replace('_', ' ').replace('top1', 'top-1')}, one seed each",
            *table_lines(rows, right=(0,), width=width),
            *sweep.sentences,
            f"best: {folder / 'best.toml'}",
        ]
    )


def words_of(settings: Mapping[str, Any]) -> str:
    """`temperature 4, kd_weight 0.9`; the recipe itself without settings."""
    return printable(", ".join(f"{key.partition('.')[2]} {value}" for key, value in settings.items())) or OWN


def _name(trial: TrialResult, own: TrialResult | None) -> str:
    words = words_of(trial.settings)
    return f"{words} ({OWN})" if trial.settings and _same(trial, own) else words


def _same(trial: TrialResult, own: TrialResult | None) -> bool:
    return own is not None and trial.settings == own.settings


def _difference(trial: TrialResult, own: TrialResult) -> str:
    points = f"{100 * (trial.value - own.value):+.1f}"
    if trial.against_own_points is None:
        return points
    low, high = trial.against_own_points
    return f"{points} ({low:+.1f} to {high:+.1f})"
