"""What label texts become: class numbers, or figures in their units with a number of the range that each lies in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgedistill.config.data import DataConfig
from edgedistill.config.task import SEPARATOR, Task
from edgedistill.core.ranges import ranges_of
from edgedistill.errors import DataError
from edgedistill.records.data import ValueSummary

NO_LABELS = "(no label)"  # the kind of images without labels, where an image may have several


@dataclass(frozen=True)
class Targets:
    """The targets of N images.

    Attributes:
        names: of classes, or of the values that the network gives.
        labels: (N,) int64: the class, the range of the first value, or of several labels the rarest: what splits and
            calibration are balanced over.
        kinds: names of what `labels` counts: the classes, the ranges, or the labels with NO_LABELS behind them.
        figures: (N, K) float64 in their units; None of classes.
        held: (N, kinds) bool, where an image is of several kinds; None where `labels` says it all.
    """

    names: list[str]
    labels: np.ndarray
    kinds: list[str]
    figures: np.ndarray | None = None
    held: np.ndarray | None = None

    def counts(self, rows: np.ndarray) -> dict[str, int]:
        """Images of each kind among some; an image of several kinds counts for each."""
        if self.held is not None:
            numbers = self.held[rows].sum(axis=0)
        else:
            numbers = np.bincount(self.labels[rows], minlength=len(self.kinds))
        return dict(zip(self.kinds, numbers.tolist(), strict=True))

    def parted_by(self, groups: np.ndarray, least: int) -> tuple[np.ndarray, list[str]]:
        """What every split should have some of: `labels` or `held`, and its names.

        Args:
            groups: (N,) int.
            least: groups of images without labels, below which splits may lack them.
        """
        if self.held is None or self.kinds[-1] != NO_LABELS:
            return (self.labels if self.held is None else self.held), self.kinds
        if len(np.unique(groups[self.held[:, -1]])) >= least:
            return self.held, self.kinds
        return self.held[:, :-1], self.kinds[:-1]


def targets_of_labels(rows: Sequence[Sequence[float]], names: list[str]) -> Targets:
    """Of (N, K) figures that are 1 for each label of an image, else 0."""
    figures = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    held = np.concatenate([figures == 1, ~figures.any(axis=1, keepdims=True)], axis=1)
    kinds = [*names, NO_LABELS]
    some = len(kinds) if held[:, -1].any() else len(names)
    return Targets(names, rarest_labels(figures), kinds[:some], figures, held[:, :some])


def rarest_labels(figures: np.ndarray) -> np.ndarray:
    """(N,) int64: of each image the label that the fewest images have; K of one without labels.

    Args:
        figures: (N, K), 1 for each label of an image, else 0.
    """
    counts = figures.sum(axis=0)
    rarest = np.where(figures == 1, counts, np.inf).argmin(axis=1)
    return np.where(figures.any(axis=1), rarest, figures.shape[1]).astype(np.int64)


def kinds_of(figures: np.ndarray, task: Task) -> np.ndarray:
    """(N,) int64 `Targets.labels` of (N, K) figures."""
    return rarest_labels(figures) if task.multiple else ranges_of(figures[:, 0])[0]


def targets_of_figures(rows: Sequence[Sequence[float]], names: list[str]) -> Targets:
    """Of (N, K) figures."""
    figures = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    labels, bounds = ranges_of(figures[:, 0])
    return Targets(names, labels, [f"{low:.6g} to {high:.6g}" for low, high in bounds], figures)


def text_of_figures(row: np.ndarray) -> str:
    """The label text that `config.task.figure_rows` reads again, to the last bit."""
    return SEPARATOR.join(repr(float(figure)) for figure in row)


def value_summaries(figures: np.ndarray, splits: np.ndarray, data: DataConfig) -> list[ValueSummary]:
    """Unit, range, mean and standard deviation of each value over the training images.

    Raises:
        DataError: a value that is the same for every training image.
    """
    rows = []
    for column, value in zip(figures[splits == "train"].T, data.value_columns, strict=True):
        if column.std() == 0:
            raise DataError(
                f"the value {value.column!r} is {column[0]:g} for each of {len(column)} training images; nothing can "
                "be learnt of it: name another column in data.values"
            )
        rows.append(
            ValueSummary(
                name=value.column,
                unit=value.unit,
                mean=float(column.mean()),
                std=float(column.std()),
                low=value.low,
                high=value.high,
                smallest=float(column.min()),
                largest=float(column.max()),
            )
        )
    return rows


def refuse_labels_of_all(figures: np.ndarray, names: Sequence[str]) -> None:
    """
    Args:
        figures: (N, K) of the training images, 1 for each label of an image, else 0.

    Raises:
        DataError: a label that each of them has.
    """
    for name, of_label in zip(names, figures.T, strict=True):
        if of_label.all():
            raise DataError(
                f"each of {len(of_label)} training images has the label {name!r}; nothing can be learnt of it: remove "
                "it, or add images without it"
            )
