"""Roll a release out to a fleet: canaries, then waves, until too many boards have failed.

FOLDER/fleet.json    a row a board, written again after each
FOLDER/fleet.html    the same as one page
FOLDER/NAME.json     receipt of one board; where a rerun continues

A rerun asks every board: one may have been rolled back by hand since, and a name may stand for another board now.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgedistill.core.files import write_bytes, write_json
from edgedistill.core.text_table import table_lines
from edgedistill.deployment.board import Board
from edgedistill.deployment.deploy import SignedBundle, Wanted, deploy
from edgedistill.deployment.inventory import Fleet, FleetBoard
from edgedistill.deployment.ssh import Connection
from edgedistill.errors import EdgeDistillError, InventoryError
from edgedistill.progress.reporter import Talk
from edgedistill.progress.task import Work
from edgedistill.records.deployment import (
    DONE,
    FAILED,
    FLEET_VERSION,
    WAITING,
    BoardDeployment,
    FleetRecord,
    FleetRow,
    FleetState,
)


def roll_out(
    fleet: Fleet,
    bundle: SignedBundle,
    wanted: Wanted,
    folder: Path,
    talk: Talk,
    page: Callable[[FleetRecord], str],
    ssh_config: Path | None = None,
) -> FleetRecord:
    """Deploy to every board; what a board's receipt names and the board still has is not done again.

    Args:
        folder: of this fleet's reports and receipts.
        page: gives fleet.html.

    Returns:
        fleet.json: why it stopped, or None, and a row for each board.

    Raises:
        InventoryError: a board is of another target than the bundle; nothing was started.
    """
    target = bundle.manifest.target
    others = [f"{board.name} ({board.target})" for board in fleet.boards if board.target != target]
    if others:
        raise InventoryError(f"this bundle is for {target!r}; nothing was started, because of: {', '.join(others)}")
    folder.mkdir(parents=True, exist_ok=True)
    return _RollOut(fleet, bundle, wanted, folder, talk, page, ssh_config).run()


class _RollOut:
    def __init__(
        self,
        fleet: Fleet,
        bundle: SignedBundle,
        wanted: Wanted,
        folder: Path,
        talk: Talk,
        page: Callable[[FleetRecord], str],
        ssh_config: Path | None,
    ):
        self._fleet, self._bundle, self._wanted = fleet, bundle, wanted
        self._folder, self._talk, self._page, self._config = folder, talk, page, ssh_config
        self._lock, self._failures = threading.Lock(), 0
        self._stopped: str | None = None
        self._rows = {board.name: row_of(board, WAITING) for board in fleet.boards}

    def run(self) -> FleetRecord:
        canaries = [board for board in self._fleet.boards if board.canary]
        others = [board for board in self._fleet.boards if not board.canary]
        rollout = self._fleet.rollout
        waves = [others[start : start + rollout.wave] for start in range(0, len(others), rollout.wave)]
        self._wave(canaries, "canary", max_failures=0)
        for number, wave in enumerate(waves, start=1):
            self._wave(wave, f"wave {number} of {len(waves)}", rollout.max_failures)
        return self._write()

    def _wave(self, boards: Sequence[FleetBoard], title: str, max_failures: int) -> None:
        if self._stopped or not boards:
            return
        self._talk.say(f"{title}: {', '.join(board.name for board in boards)}")
        with ThreadPoolExecutor(self._fleet.rollout.parallel) as pool:
            list(pool.map(lambda board: self._one(board, title, max_failures), boards))

    def _one(self, board: FleetBoard, title: str, max_failures: int) -> None:
        if self._stopped:
            return
        start = time.monotonic()
        try:
            with Connection(board.host, self._config) as machine:
                there = Board(machine, board.root, board.python, _Named(self._talk, board.name).say)
                deployment = deploy(
                    there,
                    self._bundle,
                    self._wanted,
                    self._folder / f"{board.name}.json",
                    _Named(self._talk, board.name),
                )
            row = row_of(board, DONE, deployment)
        except EdgeDistillError as error:
            row = row_of(board, FAILED, reason=str(error))
            self._talk.say(f"{board.name}: FAILED: {error}")
        ended = {
            "seconds": round(time.monotonic() - start, 1),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        with self._lock:
            self._rows[board.name] = row.model_copy(update=ended)
            self._failures += row.state == FAILED
            if self._failures > max_failures:
                self._stopped = f"{title}: {self._failures} failed, {max_failures} may"
            self._write()

    def _write(self) -> FleetRecord:
        manifest = self._bundle.manifest
        report = FleetRecord(
            version=FLEET_VERSION,
            fleet=self._fleet.name,
            id=self._bundle.id,
            model=manifest.model,
            target=manifest.target,
            serial=manifest.serial,
            until=self._wanted.until,
            stopped=self._stopped,
            boards=list(self._rows.values()),
        )
        write_json(self._folder / "fleet.json", report.to_json())
        write_bytes(self._folder / "fleet.html", self._page(report).encode("utf-8", "backslashreplace"))
        return report


class _Named(Talk):
    """Messages of one board of a fleet: each line begins with the board's name, and no bar is drawn."""

    def __init__(self, talk: Talk, name: str):
        self._talk, self._name = talk, name

    def say(self, line: str, tone: str = "") -> None:
        self._talk.say(line if line.startswith(f"{self._name}: ") else f"{self._name}: {line}")

    @contextmanager
    def progress(self, title: str, total: int, done: int = 0, **about: Any) -> Iterator[Work]:
        yield Work(title, total, done, **about)


def table_from_fleet(report: FleetRecord, width: int | None = None) -> str:
    """For a terminal of so many columns; None: any."""
    rows = [("board", "state", "p50 ms", "precision", "")]
    for row in report.boards:
        p50 = "" if row.p50_ms is None else f"{row.p50_ms:.2f}"
        rows.append((row.name, row.state, p50, row.executed or "", row.remark))
    return "\n".join(table_lines(rows, right=(2,), width=width))


def row_of(
    board: FleetBoard, state: FleetState, deployment: BoardDeployment | None = None, reason: str | None = None
) -> FleetRow:
    """The row of one board; its figures are those of the deployment, if that was timed."""
    bench = None if deployment is None else deployment.bench
    return FleetRow(
        name=board.name,
        host=board.host,
        group=board.group,
        canary=board.canary,
        state=state,
        reason=reason,
        executed=None if deployment is None else deployment.executed,
        provenance=None if deployment is None else deployment.provenance,
        p50_ms=None if bench is None else bench.end_to_end_ms.p50_ms,
        fps=None if bench is None else bench.fps.end_to_end,
        seconds=None,
        finished=None,
    )
