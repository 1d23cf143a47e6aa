"""How far off the latency model is on networks that it was not fitted to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from edgedistill.prediction.fitting.fit import features_of, fit
from edgedistill.prediction.latency import latency_ms
from edgedistill.prediction.published_rows import Row

SHARE = 0.9  # of held-out rows that an interval is to hold
SAME = 0.08  # two latencies closer than this are a tie: runs of one script differ by 2 to 8 %


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


def held_out(rows: list[Row], target: str, group: str) -> list[Held]:
    """Each row predicted by a fit to the rows of all other groups, `network` or `family`."""
    predictions = []
    for name in dict.fromkeys(getattr(row, group) for row in rows):
        without = fit([row for row in rows if getattr(row, group) != name], target)
        for row in rows:
            if getattr(row, group) == name:
                predicted = latency_ms(features_of(row), target, row.precision, without.stored, row.in_python)
                predictions.append(Held(row, predicted))
    return predictions


def errors(log_errors: list[float]) -> dict[str, float]:
    """Mean and median of |predicted - published| / published over rows."""
    relative = np.abs(np.expm1(log_errors))
    return {"mean_fraction": float(relative.mean()), "median_fraction": float(np.median(relative))}


def pairs_in_order(held: list[Held]) -> dict[str, float | int]:
    """Share of pairs of different networks, same precision, that are predicted in the published order.

    `all_*` counts every pair, `clear_*` those whose published latencies differ by more than a tie.
    """
    counts = {"all": [0, 0], "clear": [0, 0]}
    for one, two in combinations(held, 2):
        same_question = one.row.precision == two.row.precision
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
        for what, value in (("fraction", right / total), ("pairs", total))
    }


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
        group: `network` or `family`, as the rows were held out.
    """
    inside = 0
    for one in held:
        name = getattr(one.row, group)
        others = [other.log_error for other in held if getattr(other.row, group) != name]
        inside += abs(one.log_error) <= half_width(others)
    return inside / len(held)
