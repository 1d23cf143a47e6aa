"""Figures of a board for a bundle that it does not keep: copied beside its releases, timed, removed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgedistill.deployment.board import Board
from edgedistill.deployment.deploy import SAMPLES, checked_bench, samples_of
from edgedistill.deployment.ssh import Upload
from edgedistill.errors import BoardError, SshError
from edgedistill_device.benchmark import ab_bench
from edgedistill_device.manifest import NAME, read_manifest


def bench(board: Board, bundle: Path, backend: str, runs: int) -> dict[str, Any]:
    """Build, verify and time a bundle there; the board serves what it served.

    Args:
        board: connected; it need not be enrolled.
        bundle: folder here, signed or not: it runs with the rights of that login, as any program of theirs.
        backend: of edgedistill_device.engine.runners.BACKENDS; all but the first are stand-ins.

    Returns:
        JSON-able: host, backend, provenance, requested, executed, build, verify, bench, samples_ms.

    Raises:
        BoardError, SshError.
    """
    with visiting(board, bundle) as there:
        build, verify = (board.bundle(there, verb, "--backend", backend) for verb in ("build", "verify"))
        said = board.bundle(there, "bench", "--backend", backend, "--runs", str(runs))
        report = checked_bench(said, board.machine.name)
        samples = samples_of(board.text(f"{there}/{SAMPLES}"))
    return {
        "host": board.machine.name,
        "backend": backend,
        "provenance": report["provenance"],
        "requested": report["requested"],
        "executed": report["executed"],
        "build": build,
        "verify": verify,
        "bench": report,
        "samples_ms": samples,
    }


def compare(board: Board, first: Path, second: Path, backend: str, runs: int) -> dict[str, Any]:
    """Two bundles in one process there, in turns, so that heat and clocks weigh on both.

    Returns:
        JSON-able: host, and what `edgedistill_device bench --against` says: a, b, ratio by scope with its
        interval, rounds, state, warnings; see edgedistill_device/benchmark/ab_bench.py.

    Raises:
        BoardError, SshError.
    """
    with visiting(board, first) as a, visiting(board, second) as b:
        for there in (a, b):
            for verb in ("build", "verify"):
                board.bundle(there, verb, "--backend", backend)
        said = board.bundle(a, "bench", "--backend", backend, "--runs", str(runs), "--against", f"../{b}")
    if said.get("version") != ab_bench.VERSION or not isinstance(said.get("ratio"), dict):
        raise BoardError(
            f"{board.machine.name}: edgedistill_device bench --against: not the report that was expected; is "
            "one bundle older than this edgedistill? Make it again"
        )
    return {"host": board.machine.name, **said}


@contextmanager
def visiting(board: Board, bundle: Path) -> Iterator[str]:
    """A copy of a bundle in a folder of its own in the login's home, removed whatever happens."""
    there = f"edgedistill-bench-{secrets.token_hex(8)}"
    names = [NAME, *sorted(read_manifest(bundle, compiled=True).files)]
    uploads = [Upload(name, (bundle / name).stat().st_size) for name in names]
    try:
        board.machine.put(bundle, uploads, there)
        yield there
    finally:
        try:
            board.machine.run(["rm", "-rf", "--", there], timeout_s=60)
        except SshError as error:
            board.say(f"{error}; {there} was left in the home folder there")
