"""Measure a bundle on a board without keeping it there: copy it beside the releases, time it, remove it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from edgedistill.deployment.board import Board
from edgedistill.deployment.ssh import Upload
from edgedistill.errors import BoardError, SshError
from edgedistill.records.benchmark import CompareAnswer
from edgedistill.records.deployment import TimedBundle
from edgedistill_device.benchmark import ab_bench
from edgedistill_device.manifest import NAME, read_manifest


def bench(board: Board, bundle: Path, backend: str, runs: int) -> TimedBundle:
    """Build, verify and time a bundle there; the active release stays as it is.

    Args:
        board: connected; it need not be enrolled.
        bundle: folder here, signed or not: it runs with the rights of that login.
        backend: of edgedistill_device.engine.runners.BACKENDS; all but the first are stand-ins.

    Raises:
        BoardError, SshError.
    """
    with visiting(board, bundle) as there:
        build, verify = board.build(there, backend), board.verify(there, backend)
        unheard = replace(board, say=lambda line: None)  # its table holds what the report holds
        report = unheard.bench(there, backend, runs)
        samples = board.samples(there)
    return TimedBundle(
        host=board.machine.name,
        backend=backend,
        provenance=report.provenance,
        requested=report.requested,
        executed=report.executed,
        build=build,
        verify=verify,
        bench=report,
        samples_ms=samples,
    )


def compare(board: Board, first: Path, second: Path, backend: str, runs: int) -> CompareAnswer:
    """Time two bundles in one process there, in turns, so that heat and clocks act on both alike.

    Raises:
        BoardError, SshError.
    """
    with visiting(board, first) as a, visiting(board, second) as b:
        for there in (a, b):
            board.build(there, backend)
            board.verify(there, backend)
        answer = board.bundle(a, "bench", "--backend", backend, "--runs", str(runs), "--against", f"../{b}")
    try:
        report = CompareAnswer.model_validate({"host": None} | answer | {"host": board.machine.name})
    except ValidationError:
        report = None
    if report is None or report.version != ab_bench.VERSION:
        raise BoardError(
            f"{board.machine.name}: edgedistill_device bench --against: not the report that was expected; is "
            "one bundle older than this edgedistill? Make it again"
        )
    return report


@contextmanager
def visiting(board: Board, bundle: Path) -> Iterator[str]:
    """A copy of a bundle in a folder of its own in the login's home; it is always removed."""
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
