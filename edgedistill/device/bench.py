"""Figures of a board for a bundle that it does not keep: copied beside its releases, timed, removed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from math import comb
from pathlib import Path
from statistics import median
from typing import Any

from edgedistill.device.deploy import checked_bench, samples_of
from edgedistill.device.remote import Board
from edgedistill.device.ssh import Upload
from edgedistill.errors import BenchmarkError, SshError
from jetson.manifest import NAME, read_manifest

SCOPES = ("compute_ms", "host_ms", "end_to_end_ms")
FEWEST_PAIRS = 6  # with fewer, no interval of ordered pairs reaches 95 %
_WANTED_COVERAGE = 0.95


def bench(board: Board, bundle: Path, backend: str, runs: int) -> dict[str, Any]:
    """Build, verify and time a bundle there; the board serves what it served.

    Args:
        board: connected; it need not be enrolled.
        bundle: folder here, signed or not: it runs with the rights of that login, as any program of theirs.
        backend: "tensorrt", or "onnxruntime" for a stand-in.

    Returns:
        JSON-able: host, backend, provenance, requested, executed, build, verify, bench, samples_ms.

    Raises:
        BoardError, SshError.
    """
    with visiting(board, bundle) as there:
        build, verify = (board.bundle(there, verb, "--backend", backend) for verb in ("build", "verify"))
        report, samples = _timed(board, there, backend, runs)
    return {
        "host": board.machine.name, "backend": backend, "provenance": report["provenance"],
        "requested": report["requested"], "executed": report["executed"], "build": build,
        "verify": verify, "bench": report, "samples_ms": samples,
    }  # fmt: skip


def compare(
    board: Board, first: Path, second: Path, backend: str, runs: int, pairs: int = FEWEST_PAIRS
) -> dict[str, Any]:
    """Two bundles in turn, ABBA, so that a board that grows warm or busy slows both.

    Args:
        pairs: of one benchmark of each; at least FEWEST_PAIRS.

    Returns:
        JSON-able: host, backend, provenance, executed, pairs, runs, states (of the clocks), warnings
        and, for each of SCOPES that the backend has: the medians over the pairs of both p50, the
        median of their ratio (first over second), and its interval with its coverage.

    Raises:
        BenchmarkError: too few pairs.
        BoardError, SshError.
    """
    if pairs < FEWEST_PAIRS:
        raise BenchmarkError(f"{pairs} pairs: expected at least {FEWEST_PAIRS} for an interval of 95 %")
    with visiting(board, first) as a, visiting(board, second) as b:
        for there in (a, b):
            board.bundle(there, "build", "--backend", backend)
            board.bundle(there, "verify", "--backend", backend)
        reports: dict[str, list[dict[str, Any]]] = {a: [], b: []}
        for number in range(pairs):
            for there in (a, b) if number % 2 == 0 else (b, a):
                reports[there].append(_timed(board, there, backend, runs)[0])
    ours, theirs = reports[a], reports[b]
    everything = [*ours, *theirs]
    scopes = {scope: _side_by_side([r[scope]["p50_ms"] for r in ours], [r[scope]["p50_ms"] for r in theirs])
              for scope in SCOPES if all(r[scope] is not None for r in everything)}  # fmt: skip
    return {
        "host": board.machine.name, "backend": backend, "provenance": ours[0]["provenance"],
        "models": [ours[0]["model"], theirs[0]["model"]],
        "executed": [ours[0]["executed"], theirs[0]["executed"]], "pairs": pairs, "runs": runs,
        "states": sorted({r["state"] for r in everything}),
        "warnings": sorted({line for r in everything for line in r["warnings"]}), **scopes,
    }  # fmt: skip


@contextmanager
def visiting(board: Board, bundle: Path) -> Iterator[str]:
    """A copy of a bundle in a folder of its own in the login's home, removed whatever happens."""
    there = f"edgedistill-bench-{secrets.token_hex(8)}"
    names = [NAME, *sorted(read_manifest(bundle).files)]
    uploads = [Upload(name, (bundle / name).stat().st_size) for name in names]
    try:
        board.machine.put(bundle, uploads, there)
        yield there
    finally:
        try:
            board.machine.run(["rm", "-rf", "--", there], timeout_s=60)
        except SshError as error:
            board.say(f"{error}; {there} was left in the home folder there")


def interval_of_median(values: list[float]) -> tuple[float, float, float]:
    """(low, high, coverage) of the median by order statistics: no distribution is assumed.

    Source: David and Nagaraja 2003, Order Statistics, section 7.1: P(x_(k) <= median <= x_(n-k+1))
    = 1 - 2 P(Binomial(n, 1/2) < k).
    """
    ordered, count = sorted(values), len(values)
    rank, coverage = 1, 1 - 2 * 0.5**count
    while 1 - 2 * _below(rank + 1, count) >= _WANTED_COVERAGE:
        rank += 1
        coverage = 1 - 2 * _below(rank, count)
    return ordered[rank - 1], ordered[count - rank], coverage


def _below(rank: int, count: int) -> float:
    return sum(comb(count, k) for k in range(rank)) / 2**count


def _side_by_side(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    low, high, coverage = interval_of_median(ratios)
    return {"p50_ms": [median(ours), median(theirs)], "ratio": median(ratios), "interval": [low, high],
            "coverage": coverage}  # fmt: skip


def _timed(board: Board, there: str, backend: str, runs: int) -> tuple[dict[str, Any], Any]:
    said = board.bundle(there, "bench", "--backend", backend, "--runs", str(runs))
    report = checked_bench(said, board.machine.name)
    return report, samples_of(board.text(f"{there}/work/bench_samples.json"))
