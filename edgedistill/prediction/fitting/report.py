"""What `python -m edgedistill.prediction.fitting.fit` stores and prints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.core.files import write_json
from edgedistill.prediction.fitting.fit import Fit, features_of, fit
from edgedistill.prediction.fitting.power import fit_power, held_out_watts
from edgedistill.prediction.fitting.validate import (
    GROUPS,
    SHARE,
    Held,
    coverage,
    errors,
    half_width,
    held_out,
    int8_verdicts,
    pairs_in_order,
)
from edgedistill.prediction.int8_worth import LEAST_SPEEDUP
from edgedistill.prediction.latency import TERMS, hardware, shares
from edgedistill.prediction.published_rows import CALLS, Row, left_out, used

BY_MODE = ("network", "family", "source")  # what is left out, by power mode
POWER_GROUPS: dict[str, Callable[[Row], str]] = {
    "network": lambda row: row.network,
    "mode": lambda row: f"{row.target} {row.mode}",
}
_DIGITS = 6  # of stored figures, so that another machine's last bits change nothing
_ENOUGH_ROWS, _ENOUGH_FAMILIES = 20, 3  # for an interval from a board's own rows


def report_and_store(path: Path) -> None:
    """Fit all boards, write the constants to `path`, print the tables as Markdown."""
    rows, fitted, by = validated()
    stored = stored_of(rows, fitted, by)
    write_json(path, stored)
    for line in [*tables(stored), *_rows_table(by["network"], fitted), *_left_out()]:
        print(line)


def stored_of(rows: list[Row], fitted: Fit, by: dict[str, list[Held]]) -> dict[str, Any]:
    """What constants.json holds; arguments as `validated` gives them."""
    watts = [row for row in rows if row.watts]
    power_errors = {group: _error(held_out_watts(watts, name_of)) for group, name_of in POWER_GROUPS.items()}
    return {
        "constants": _rounded(fitted.constants),
        "power": {**_rounded_power(fit_power(watts)), **power_errors},
        "seen": seen_of(rows, fitted),
        "boards": {target: board_entry(target, by) for target in hardware()},
        "all": {group: _figures(held) for group, held in by.items()},
        "own_time": {group: _figures([one for one in held if _is_own_time(one.row)]) for group, held in by.items()},
        "int8": int8_verdicts(by["network"]),
    }


def validated() -> tuple[list[Row], Fit, dict[str, list[Held]]]:
    """The rows, the fit to them, and each row as fits without its network, family, source and board see it."""
    rows = used()
    return rows, fit(rows), {group: held_out(rows, group) for group in GROUPS}


def board_entry(target: str, by: dict[str, list[Held]]) -> dict[str, Any]:
    """One board's part of constants.json.

    Its interval is from its own rows with their family left out, since a new student is of a family that no row has;
    where it has too few, from the rows of all boards with their board left out.
    """
    own = {group: [one for one in held if one.row.target == target] for group, held in by.items()}
    rows = [one.row for one in own["family"]]
    enough = len(rows) >= _ENOUGH_ROWS and len({row.family for row in rows}) >= _ENOUGH_FAMILIES
    group = "family" if enough else "board"
    basis = own[group] if enough else by[group]
    # Few families make a narrow base: what the interval did not hold in validation is not promised.
    share = min(SHARE, math.floor(20 * coverage(basis, group)) / 20)
    return {
        "rows": len(rows),
        "networks": len({row.network for row in rows}),
        "rows_without_mode": sum(not row.mode_stated for row in rows),
        "interval_from": "its rows" if enough else "other boards",
        "half_width": round(half_width([one.log_error for one in basis]), _DIGITS),
        "interval_share": share,
        **{name: _figures(held) for name, held in own.items() if held},
        "modes": {mode: _of_mode(mode, own) for mode in dict.fromkeys(row.mode for row in rows)},
    }


def _of_mode(mode: str, own: dict[str, list[Held]]) -> dict[str, dict[str, float]]:
    """Errors of a board's rows in one power mode."""
    return {name: _figures([one for one in own[name] if one.row.mode == mode]) for name in BY_MODE}


def seen_of(rows: list[Row], fitted: Fit) -> dict[str, dict[str, float]]:
    """Family of chips -> term -> its largest share of a published network's time there."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        of_family = found.setdefault(hardware()[row.target].family, dict.fromkeys(TERMS, 0.0))
        cost = shares(features_of(row), row.target, row.mode, row.precision, fitted.constants)
        total = sum(cost.values())
        for term, value in cost.items():
            of_family[term] = max(of_family[term], value / total)
    return {family: _rounded(terms) for family, terms in found.items()}


def _figures(held: list[Held]) -> dict[str, float]:
    return _rounded({**errors([one.log_error for one in held]), **pairs_in_order(held), "rows": len(held)})


def _error(held: list[tuple[Row, float]]) -> dict[str, float]:
    return _rounded({**errors([error for _, error in held]), "rows": len(held)})


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.{_DIGITS}g}") for name, value in values.items()}


def _rounded_power(power: dict[str, Any]) -> dict[str, Any]:
    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: rounded(one) for name, one in value.items()}
        return value if isinstance(value, bool) else float(f"{value:.{_DIGITS}g}")

    return {name: rounded(value) for name, value in power.items()}


def tables(stored: dict[str, Any]) -> list[str]:
    """Errors by what was left out: over all boards, by board and mode, of watts, and INT8's verdict, as Markdown.

    Args:
        stored: of `stored_of`.
    """
    lines = ["| left out | rows | median error | 90th percentile | mean | pairs in order | of those further apart |"]
    lines.append("|---|---|---|---|---|---|---|")
    for group in GROUPS:
        every, own = stored["all"][group], stored["own_time"][group]
        lines.append(f"| a {group} | {_cells(every)} |")
        lines.append(f"| a {group}; of TensorRT's own time, release 7 or later | {_cells(own)} |")
    lines += ["", "| board | mode | rows | a network left out | a family | a source |", "|---|---|---|---|---|---|"]
    for target, board in stored["boards"].items():
        for mode, of_mode in board["modes"].items():
            cells = [f"{of_mode[name]['median_fraction']:.1%}, {of_mode[name]['p90_fraction']:.1%}" for name in BY_MODE]
            lines.append(f"| {target} | {mode} | {of_mode['network']['rows']:.0f} | {' | '.join(cells)} |")
    lines += ["", "| left out | rows with watts | median error | 90th percentile |", "|---|---|---|---|"]
    for group in POWER_GROUPS:
        error = stored["power"][group]
        shown = f"{error['rows']:.0f} | {error['median_fraction']:.1%} | {error['p90_fraction']:.1%}"
        lines.append(f"| a {group} | {shown} |")
    int8 = stored["int8"]
    return [
        *lines,
        "",
        f"INT8's gain is on the right side of {LEAST_SPEEDUP:g} in {int8['right_pairs']} of {int8['pairs']} published "
        f"pairs, their network left out; {int8['worth_pairs']} of them gain as much.",
    ]


def _is_own_time(row: Row) -> bool:
    return row.method not in CALLS and not row.old


def _cells(figures: dict[str, float]) -> str:
    return (
        f"{figures['rows']:.0f} | {figures['median_fraction']:.1%} | {figures['p90_fraction']:.1%} | "
        f"{figures['mean_fraction']:.1%} | {figures['all_fraction']:.1%} of {figures['all_pairs']:.0f} | "
        f"{figures['clear_fraction']:.1%} of {figures['clear_pairs']:.0f}"
    )


def _rows_table(held: list[Held], fitted: Fit) -> list[str]:
    lines = ["", "| board | mode | network | px | batch | precision | published ms | predicted ms | error | source |"]
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    for one in held:
        row = one.row
        lines.append(
            f"| {row.target} | {row.mode}{'' if row.mode_stated else ' (not stated)'} | {row.network} | "
            f"{row.image_px} | {row.batch} | {row.precision} | {row.latency_ms:.2f} | {one.predicted_ms:.2f} | "
            f"{np.expm1(one.log_error):+.0%} | {row.method.rpartition('/')[2]}, {row.grade} |"
        )
    lines += ["", "constants: " + ", ".join(f"{name} {value:.3g}" for name, value in fitted.constants.items())]
    return [*lines, "", "sources: " + ", ".join(f"{n} {value:.2f}" for n, value in fitted.nuisance.items())]


def _left_out() -> list[str]:
    lines, gone = ["", "| rows | why they are not used | networks |", "|---|---|---|"], list(left_out())
    for why, count in Counter(why for _, why in gone).most_common():
        names = sorted({row["model"] for row, other in gone if other == why})
        lines.append(f"| {count} | {why} | {', '.join(names)} |")
    return lines
