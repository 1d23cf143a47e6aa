"""What `python -m edgedistill.prediction.fitting.fit` stores and prints."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.core.files import write_json
from edgedistill.prediction.features import catalogue
from edgedistill.prediction.fitting.fit import Fit, features_of, fit
from edgedistill.prediction.fitting.validate import SHARE, Held, coverage, errors, half_width, held_out, pairs_in_order
from edgedistill.prediction.latency import TERMS, hardware, latency_ms, shares
from edgedistill.prediction.published_rows import NETWORKS, Row, boards, left_out, used

_DIGITS = 6  # of stored figures, so that another machine's last bits change nothing


def report_and_store(path: Path) -> None:
    """Fit each board, write the constants to `path`, print the tables as Markdown."""
    stored: dict[str, Any] = {"targets": {}}
    print(
        "| target | rows | networks | left out | mean error | median | pairs in order | "
        "of those further apart | interval | held |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    tables = []
    for target in hardware():
        rows, fitted, by = validated(target)
        stored["targets"][target] = entry(rows, fitted, by)
        for name, held in by.items():
            print(summary(target, rows, name, held))
        tables.append((target, by["network"], fitted))
    for target, held, fitted in tables:
        _print_rows(target, held, fitted)
    _print_left_out()
    _print_against_left_out({target: fitted for target, _, fitted in tables})
    write_json(path, stored)


def validated(target: str) -> tuple[list[Row], Fit, dict[str, list[Held]]]:
    """The board's rows, the fit to them, and each row as fits without its network and family see it."""
    rows = [row for row in used() if row.target == target]
    by = {group: held_out(rows, target, group) for group in ("network", "family")}
    return rows, fit(rows, target), by


def entry(rows: list[Row], fitted: Fit, by: dict[str, list[Held]]) -> dict[str, Any]:
    """One board's part of constants.json."""
    found: dict[str, Any] = {name: _rounded(values) for name, values in fitted.stored.items()}
    for name, held in by.items():
        found[name] = _rounded(
            {
                **errors([one.log_error for one in held]),
                **pairs_in_order(held),
                "coverage": coverage(held, name),
            }
        )
    seen = dict.fromkeys(TERMS, 0.0)
    for row in rows:
        cost = shares(features_of(row), row.target, row.precision, fitted.stored)
        seen = {term: max(seen[term], cost[term] / sum(cost.values())) for term in TERMS}
    # A new network is of a family that no row has: the wider of the two intervals is the honest one.
    width = half_width([one.log_error for one in by["family"]])
    # Few families make a narrow base: what the interval did not hold in validation is not promised.
    share = min(SHARE, math.floor(20 * coverage(by["family"], "family")) / 20)
    return {
        **found,
        "half_width": round(width, _DIGITS),
        "interval_share": share,
        "seen": _rounded(seen),
        "rows": len(rows),
        "networks": len({row.network for row in rows}),
    }


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.{_DIGITS}g}") for name, value in values.items()}


def summary(target: str, rows: list[Row], name: str, held: list[Held]) -> str:
    """One line of the first table."""
    log_errors = [one.log_error for one in held]
    error, order = errors(log_errors), pairs_in_order(held)
    inside = coverage(held, name)
    spread = np.expm1(half_width(log_errors))
    return (
        f"| {target} | {len(rows)} | {len({row.network for row in rows})} | a {name} | "
        f"{error['mean_fraction']:.1%} | {error['median_fraction']:.1%} | "
        f"{order['all_fraction']:.1%} of {order['all_pairs']} | {order['clear_fraction']:.1%} of "
        f"{order['clear_pairs']} | x/÷ {1 + spread:.2f} | {inside:.0%} |"
    )


def _print_rows(target: str, held: list[Held], fitted: Fit) -> None:
    print(f"\n{target}: each network predicted by a fit without it\n")
    print("| network | px | precision | published ms | predicted ms | error | source |")
    print("|---|---|---|---|---|---|---|")
    for one in held:
        row = one.row
        print(
            f"| {row.network} | {row.image_px} | {row.precision} | {row.latency_ms:.2f} | "
            f"{one.predicted_ms:.2f} | {np.expm1(one.log_error):+.0%} | {row.method} |"
        )
    stored = fitted.stored
    print("\nconstants: " + ", ".join(f"{n} {v:.3g}" for n, v in stored["constants"].items()))
    print("gains: " + ", ".join(f"{n} {v:.3g}" for n, v in stored["gains"].items()))
    print("methods: " + ", ".join(f"{n} {fitted.factor(n):.2f}" for n in fitted.methods))


def _print_left_out() -> None:
    print("\nleft out of the table of published measurements\n")
    print("| rows | why | networks |\n|---|---|---|")
    gone = list(left_out())
    for why, count in Counter(why for _, why in gone).most_common():
        names = sorted({row["model"] for row, other in gone if other == why})
        print(f"| {count} | {why} | {', '.join(names)} |")


def _print_against_left_out(fits: dict[str, Fit]) -> None:
    """What the model says of rows that it was not given, where network and size are known."""
    print("\nnot fitted, and what the model says\n")
    print("| network | px | published ms | precision | predicted ms | why it was left out |")
    print("|---|---|---|---|---|---|")
    for row, why in left_out():
        place = (
            NETWORKS.get(row["model"], ""),
            int(row["input_hw"].partition("x")[0] or 0) if row["input_hw"][0].isdigit() else 0,
        )
        target = boards().get(row["device"], "")
        precisions = tuple(hardware()[target].peak_gmacs_per_s) if target else ()
        asked = precisions if row["precision"] == "not stated" else (row["precision"].lower(),)
        if place not in catalogue() or not set(asked) <= set(precisions):
            continue
        counted = catalogue()[place]
        predicted = (latency_ms(counted[max(counted)], target, p, fits[target].stored) for p in asked)
        print(
            f"| {place[0]} | {place[1]} | {row['latency_ms']} | {' or '.join(map(str.upper, asked))} | "
            f"{' or '.join(f'{value:.1f}' for value in predicted)} | {why} |"
        )
