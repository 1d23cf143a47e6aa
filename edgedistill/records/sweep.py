"""What `edgedistill sweep` writes: trial.json of each training, and sweep.json of them all."""

from __future__ import annotations

from typing import Any, Literal

from edgedistill.records.base import Number, Record


class TrialResult(Record):
    """A training of a sweep, as sweep.json holds it."""

    settings: dict[str, Any]
    """Recipe key -> value, on top of the recipe."""
    value: Number
    """The sweep's metric."""
    state: Literal["complete", "pruned"]
    """Pruned: ended early, below the median of the others."""
    epochs: int
    """Finished."""
    model: str | None = None
    """None of older releases, as `parameters`."""
    parameters: int | None = None
    against_own_points: list[Number] | None = None
    """Low and high of this value minus that of the recipe's own student, in points: intervals that hold with 95 % for
    all trials together. None of that student, of a pruned training, and of older releases."""


class TrialRecord(TrialResult):
    """trial.json, written when the training has ended."""

    artifacts: dict[str, str]
    """Stage -> digest of its artifact: the images and teachers of this training."""
    judged_by: str | None = None
    """The metric that `value` is of, and that pruned it; None of older releases, which did not note it."""
    hits: str | None = None
    """The validation images that are right, a bit each, as hexadecimal digits; None of a pruned training and of older
    releases."""

    def result(self, against_own_points: list[float] | None = None) -> TrialResult:
        kept = {key: value for key, value in self.given().items() if key not in ("artifacts", "judged_by", "hits")}
        if against_own_points is not None:
            kept["against_own_points"] = against_own_points
        return TrialResult(**kept)


class SweepRecord(Record):
    """sweep.json."""

    metric: str
    """`validation`, and a metric of `records.evaluation.METRICS`."""
    images: str
    """What the trials are compared on."""
    seeds: int
    """Trainings of each trial."""
    artifacts: dict[str, str] | None = None
    """As in `TrialRecord`, equal for all trials; None of older releases."""
    trials: list[TrialResult]
    """Best first, pruned ones last."""
    best: TrialResult
    """Of the trials and the recipe's own student."""
    own: TrialResult | None = None
    """The recipe's own student; None of older releases, and while another process trains it."""
    sentences: list[str] = []
    """What the trials have shown."""
