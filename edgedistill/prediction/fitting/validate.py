"""How far off the latency model is on what it was not fitted to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from edgedistill.prediction.fitting.fit import features_of, fit
from edgedistill.prediction.int8_worth import LEAST_SPEEDUP
from edgedistill.prediction.latency import latency_ms
from edgedistill.prediction.published_rows import Row

SHARE = 0.9  # of held-out rows that an interval is to hold
SAME = 0.08  # two latencies closer than this are a tie: runs of one script differ by 2 to 8 %
GROUPS: dict[str, Callable[[Row], str]] = {
    "network": lambda row: row.network,
    "family": lambda row: row.family,
    "source": lambda row: row.method,
    "board": lambda row: row.target,
}


@dataclass(frozen=True)
class Held:
    """A row, and what a fit without its group says of it.

    Attributes:
        predicted_ms: for a user whose way of measuring is unknown.
    """

    row: Row
    predicted_ms: float

    @property
    def log_error(self) -> float:
        return math.log(self.predicted_ms / self.row.latency_ms)


def held_out(rows: list[Row], group: str) -> list[Held]:
    """Each row predicted by a fit to the rows of all other groups of GROUPS[group]."""
    name_of, predictions = GROUPS[group], []
    for name in dict.fromkeys(map(name_of, rows)):
        without = fit([row for row in rows if name_of(row) != name])
        predictions += predicted([row for row in rows if name_of(row) == name], without.constants)
    return predictions


def predicted(rows: list[Row], constants: dict[str, float]) -> list[Held]:
    return [Held(row, latency_ms(features_of(row), row.target, row.mode, row.precision, constants)) for row in rows]


def errors(log_errors: list[float]) -> dict[str, float]:
    """Mean, median and 90th percentile of |predicted - published| / published over rows."""
    relative = np.abs(np.expm1(log_errors))
    return {
        "mean_fraction": float(relative.mean()),
        "median_fraction": float(np.median(relative)),
        "p90_fraction": float(np.quantile(relative, 0.9)),
    }


def pairs_in_order(held: list[Held]) -> dict[str, float | int]:
    """Share of pairs of different networks that are predicted in the published order.

    Pairs are of one board, power mode, precision and batch. `all_*` counts every pair, `clear_*` those whose published
    latencies differ by more than a tie. A share of no pairs is 1.
    """
    counts = {"all": [0, 0], "clear": [0, 0]}
    for one, two in combinations(held, 2):
        same_question = _question(one.row) == _question(two.row)
        if not same_question or one.row.network == two.row.network:
            continue
        apart = math.log(one.row.latency_ms / two.row.latency_ms)
        right = apart * math.log(one.predicted_ms / two.predicted_ms) > 0
        for name in ("all", "clear") if abs(apart) > math.log(1 + SAME) else ("all",):
            counts[name][0] += right
            counts[name][1] += 1
    return {
        f"{name}_{what}": value
        for name, (right, total) in counts.items()
        for what, value in (("fraction", right / total if total else 1.0), ("pairs", total))
    }


def int8_speedups(held: list[Held]) -> list[tuple[Row, float, float]]:
    """(row in INT8, published speed-up over FP16, predicted) where one source measured a network in both."""
    half = {_pair(one.row): one for one in held if one.row.precision == "fp16"}
    return [
        (one.row, half[key].row.latency_ms / one.row.latency_ms, half[key].predicted_ms / one.predicted_ms)
        for one in held
        if one.row.precision == "int8" and (key := _pair(one.row)) in half
    ]


def int8_verdicts(held: list[Held]) -> dict[str, float]:
    """On how many published pairs the prediction and the measurement say the same of INT8's gain.

    `worth_pairs` are those that gain at least LEAST_SPEEDUP by their measurement.
    """
    found = int8_speedups(held)
    right = [(measured >= LEAST_SPEEDUP) == (expected >= LEAST_SPEEDUP) for _, measured, expected in found]
    return {
        "pairs": len(found),
        "right_pairs": sum(right),
        "worth_pairs": sum(measured >= LEAST_SPEEDUP for _, measured, _ in found),
    }


def _pair(row: Row) -> tuple[str, ...]:
    """What the two rows of a pair have in common."""
    return row.target, row.mode, row.network, str(row.image_px), str(row.batch), row.source


def _question(row: Row) -> tuple[str, str, str, int]:
    return row.target, row.mode, row.precision, row.batch


def half_width(log_errors: list[float], share: float = SHARE) -> float:
    """Of an interval in log latency: the smallest that holds `share` of the next row, conformally.

    Source: Vovk, Gammerman, Shafer 2005; with n errors, the ceil(share (n + 1))-th smallest.
    """
    ordered = sorted(map(abs, log_errors))
    rank = math.ceil(share * (len(ordered) + 1))
    return ordered[min(rank, len(ordered)) - 1]


def coverage(held: list[Held], group: str) -> float:
    """Share of rows inside the interval that the rows of all other groups give.

    Args:
        group: of GROUPS, as the rows were held out.
    """
    inside, name_of = 0, GROUPS[group]
    for one in held:
        others = [other.log_error for other in held if name_of(other.row) != name_of(one.row)]
        inside += bool(others) and abs(one.log_error) <= half_width(others)
    return inside / len(held)
