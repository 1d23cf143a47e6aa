"""Find the student's speed on its target board: measured there, else published by others, else predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgedistill.records.output_report import AnyReport
from edgedistill.records.provenance import Kind, Provenance
from edgedistill.records.report_speed import ReportDevice
from edgedistill.reporting.devices import is_stand_in, place_of
from edgedistill.reporting.formats import fps


@dataclass(frozen=True)
class Figure:
    """FPS of the network alone, decoding left out.

    Attributes:
        low, high: of a prediction's interval; else fps itself.
        provenance: whether it was measured, published or predicted, and how.
        source: the board that measured, or who published; "" of a prediction.
    """

    fps: float
    low: float
    high: float
    provenance: Provenance
    source: str


@dataclass(frozen=True)
class TargetSpeed:
    """The best available figure.

    Attributes:
        figures: one for each board, source or prediction; empty when `kind` is "unknown".
        extrapolated: a prediction whose interval may not hold.
        reason: why there is no published measurement, "" when there is one.
    """

    kind: Literal["measured", "published", "predicted", "unknown"]
    figures: tuple[Figure, ...]
    extrapolated: bool
    reason: str


def boards_of(report: AnyReport) -> list[ReportDevice]:
    """Return the devices of a report that are boards, not stand-ins."""
    return [device for device in report.devices if not is_stand_in(device)]


def target_speed(report: AnyReport) -> TargetSpeed:
    """Return measured, published or predicted speed on the target board, the first that exists.

    Args:
        report: with `devices`, `published`, `predicted`.
    """
    boards, predicted = boards_of(report), report.predicted
    rows, reason = report.published.rows, report.published.reason.removeprefix("unknown: ")
    if boards:
        measured = (_point(board.fps.host, board.provenance, place_of(board)) for board in boards)
        return TargetSpeed("measured", tuple(measured), False, reason)
    if rows:
        published = (
            _point(float(row["fps"]), Provenance(Kind.PUBLISHED, row["source"]), row["source"]) for row in rows
        )
        return TargetSpeed("published", tuple(published), False, reason)
    if predicted and predicted.fps and predicted.fps_low is not None and predicted.fps_high is not None:
        figure = Figure(predicted.fps, predicted.fps_low, predicted.fps_high, predicted.provenance, "")
        return TargetSpeed("predicted", (figure,), predicted.extrapolated, reason)
    return TargetSpeed("unknown", (), False, reason)


def fps_range(speed: TargetSpeed) -> str:
    """The lowest and the highest of the figures: `229 to 248`, or one number."""
    low, high = (fps(most(figure.fps for figure in speed.figures)) for most in (min, max))
    return low if low == high else f"{low} to {high}"


def _point(fps: float, provenance: Provenance, source: str) -> Figure:
    return Figure(fps, fps, fps, provenance, source)
