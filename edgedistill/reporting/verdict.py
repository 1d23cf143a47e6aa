"""Compare the measured figures with the recipe's limits, and list what was not measured."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple

from edgedistill.core.text import beside_limit, limit_text, plural
from edgedistill.records.output_report import AnyReport
from edgedistill.records.provenance import Provenance
from edgedistill.records.report import Absent, ReportFigures, Verdict, VerdictRow
from edgedistill.records.report_speed import ReportTarget
from edgedistill.records.training import TeacherRecord
from edgedistill.reporting.devices import board_mib, spot_of
from edgedistill.reporting.formats import fps, words
from edgedistill.reporting.target_speed import boards_of, target_speed

MET: Literal["met"] = "met"
MISSED: Literal["missed"] = "missed"
OPEN: Literal["not measured"] = "not measured"
_LIMITS = {
    "target.fps": "wanted_fps",
    "target.memory_mib": "wanted_memory_mib",
    "target.min_retention_fraction": "wanted_retention_fraction",
}


def verdict_of(report: ReportFigures, teacher: TeacherRecord, gates: dict[str, float]) -> Verdict:
    """Check the recipe's budget: one row for each figure that it limits.

    Only measurements on the board count for the limits of the board; figures of this computer and
    published figures of other weights do not.

    Args:
        report: with `target`, `devices`, `int8_gate`, `retention_fraction`.
        teacher: of stage `teacher`.
        gates: least value of the teacher's metric on validation images, by metric; 0 is no gate.

    Returns:
        outcome: `met`, `missed`, `open` (something was not measured), or None when the recipe limits nothing; sentence;
        rows of what, limit, found (both text, found None when not measured), outcome, provenance.
    """
    return verdict_from_rows([*_quality(report), *on_boards(report), *_teacher(teacher, gates)], report.target)


def verdict_from_rows(
    rows: list[VerdictRow], target: ReportTarget, limits: Collection[str] = tuple(_LIMITS)
) -> Verdict:
    """Judge all rows together, as `verdict_of`; `limits` are the keys that the recipe can set."""
    outcomes = [row.outcome for row in rows]
    if not rows:
        return Verdict(
            outcome=None,
            rows=[],
            sentence=f"The recipe sets no limits; it can set {', '.join(limits)}.",
        )
    outcome = MISSED if MISSED in outcomes else "open" if OPEN in outcomes else MET
    count = f"{outcomes.count(MET)} of {plural(len(rows), 'limit')} of the recipe met"
    rest = [f"{outcomes.count(o)} {o}" for o in (MISSED, OPEN) if o in outcomes]
    sentence = ", ".join([count, *rest]) + "."
    unasked = [key for key in limits if getattr(target, _LIMITS[key]) is None]
    if unasked:
        sentence += f" It sets none for {', '.join(unasked)}."
    return Verdict(outcome=outcome, rows=rows, sentence=sentence)


def absent_of(report: AnyReport) -> list[Absent]:
    """List the figures that were not measured and why."""
    boards = boards_of(report)
    title, rows = report.target.title, []
    if not boards:
        why = "deploy.hosts names no board"
        rows.append(Absent(what=f"speed, memory and power on {title}", why=why))
        rows.append(Absent(what="speed-up over the teacher on the board", why=why))
    else:
        rows.append(Absent(what="speed-up over the teacher on the board", why="only the student goes there"))
    for device in boards:
        absent = {**device.conditions.absent}
        if device.power.energy_mj is None and device.power.reason:
            absent["energy"] = device.power.reason
        rows += [Absent(what=f"{name.replace('_', ' ')} on {spot_of(device)}", why=why) for name, why in absent.items()]
    if report.running_cost is None:
        rows.append(Absent(what="cost and saving", why="the recipe has no [cost]"))
    return rows


class Measure(NamedTuple):
    """How a figure and its limit are written: `at least 90.0 %`, `95.1 %`."""

    decimals: int
    """Of the figure, at least; it gets more where it would seem to be on the other side of its limit."""
    limit_decimals: int = 0
    """Of the limit, at least."""
    scale: float = 1
    unit: str = ""
    """Behind the figure, with its space."""


PERCENT = Measure(1, limit_decimals=1, scale=100, unit=" %")
POINTS = Measure(2, unit=" points")
FPS = Measure(1, unit=" FPS")
MIB = Measure(1, unit=" MiB")


def verdict_row(
    what: str,
    bound: tuple[Literal["at least", "at most"], float, str],
    measured: float | None,
    good: bool,
    measure: Measure,
    provenance: Provenance | str,
) -> VerdictRow:
    """A limit beside the figure that it is about, which reads as the verdict says.

    Args:
        bound: which side, the limit, and its unit in words where that is another than the figure's.
        measured: None where nothing was measured.
        good: whether the figure keeps the limit.
        measure: of both; they are multiplied by its scale.
    """
    side, limit, limit_unit = bound
    limit, found = measure.scale * limit, None
    if measured is not None:
        found = beside_limit(measure.scale * measured, limit, good, measure.decimals) + measure.unit
    return VerdictRow(
        what=what,
        limit=f"{side} {limit_text(limit, measure.limit_decimals)}{limit_unit or measure.unit}",
        found=found,
        outcome=OPEN if measured is None else MET if good else MISSED,
        provenance=str(provenance),
    )


def _quality(report: ReportFigures) -> list[VerdictRow]:
    rows, least = [], report.target.wanted_retention_fraction
    if least is not None:
        retention = report.retention_fraction
        rows.append(
            verdict_row(
                "retention",
                ("at least", least, ""),
                retention,
                retention is not None and retention >= least,
                PERCENT,
                report.student.provenance,
            )
        )
    gate = report.int8_gate
    if gate.max_drop_points is not None and gate.passed is not None:
        lost = gate.deciding_step(report.qad)
        rows.append(
            verdict_row(
                f"{lost.figure_name} lost by INT8",
                ("at most", gate.max_drop_points, ""),
                lost.drop_points,
                gate.passed,
                POINTS,
                "simulated: ONNX Runtime on this computer, validation images",
            )
        )
    return rows


def on_boards(report: AnyReport) -> list[VerdictRow]:
    """One row for each limit of speed and memory, on each board."""
    target = report.target
    wanted, mib, rows = target.wanted_fps, target.wanted_memory_mib, []
    boards = boards_of(report)
    unmeasured = f"not measured on a board: {_instead(report)}"
    if wanted is not None:
        what = "FPS from the image file"
        rows += [
            verdict_row(
                f"{what} on {spot_of(board)}",
                ("at least", wanted, ""),
                board.fps.end_to_end,
                board.fps.end_to_end >= wanted,
                FPS,
                board.provenance,
            )
            for board in boards
        ] or [verdict_row(what, ("at least", wanted, ""), None, False, FPS, unmeasured)]
    if mib is not None:
        what = "memory of process and GPU driver"
        for board in boards:
            used = board_mib(board)
            rows.append(
                verdict_row(
                    f"{what} on {spot_of(board)}",
                    ("at most", mib, ""),
                    used,
                    used is not None and used <= mib,
                    MIB,
                    board.provenance,
                )
            )
        if not boards:
            rows.append(verdict_row(what, ("at most", mib, ""), None, False, MIB, "not measured on a board"))
    return rows


def _instead(report: AnyReport) -> str:
    """Describe the figure that is available instead of a measurement on the board."""
    speed = target_speed(report)
    if speed.kind == "predicted":
        (figure,) = speed.figures
        beyond = ", extrapolated" if speed.extrapolated else ""
        interval = f"{fps(figure.low)} to {fps(figure.high)}{beyond}"
        return f"predicted {fps(figure.fps)} FPS ({interval}) for the network alone"
    if speed.kind == "published":
        shown = " and ".join(f"{fps(figure.fps)} FPS" for figure in speed.figures)
        return f"others published {shown} for this network with other weights, decoding left out"
    return speed.reason


def _teacher(teacher: TeacherRecord, gates: dict[str, float]) -> list[VerdictRow]:
    validation = teacher.validation
    return [
        verdict_row(
            f"teacher's {words(metric)}",
            ("at least", least, ""),
            validation.metric(metric),
            validation.metric(metric) >= least,
            PERCENT,
            "measured: PyTorch on this computer, validation images",
        )
        for metric, least in gates.items()
        if least > 0
    ]
