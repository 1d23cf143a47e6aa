"""A release through a fleet: canaries, then waves, until too many boards have failed.

FOLDER/fleet.json    a row a board, written anew after each; what a rerun goes on from
FOLDER/fleet.html    the same as one page
FOLDER/NAME.json     receipt of one board
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2

from edgedistill.core.files import read_json, write_bytes, write_json
from edgedistill.core.text import on_page
from edgedistill.core.text_table import table_lines
from edgedistill.deployment.board import Board
from edgedistill.deployment.deploy import UNTIL, SignedBundle, Wanted, deploy
from edgedistill.deployment.inventory import Fleet, FleetBoard
from edgedistill.deployment.ssh import Connection
from edgedistill.errors import EdgeDistillError, InventoryError
from edgedistill.progress.reporter import Talk

VERSION = 1
_EMPTY = ("reason", "executed", "provenance", "p50_ms", "fps", "seconds", "finished")  # of a board not done
DONE, FAILED, WAITING = "done", "failed", "waiting"


def roll_out(
    fleet: Fleet,
    bundle: SignedBundle,
    wanted: Wanted,
    folder: Path,
    talk: Talk,
    ssh_config: Path | None = None,
) -> dict[str, Any]:
    """Deploy to every board that has not got it yet.

    Args:
        folder: of this fleet's reports; boards that an earlier roll-out of the same bundle finished
            are left alone.

    Returns:
        JSON-able: version, fleet, id, model, target, serial, until, stopped (why, or None), and
        `boards`, a row each: name, host, group, canary, state (done, failed, waiting), reason,
        executed, provenance, p50_ms (from the image file), fps, seconds, finished.

    Raises:
        InventoryError: a board is of another target than the bundle; nothing was started.
    """
    target = bundle.manifest.target
    others = [f"{board.name} ({board.target})" for board in fleet.boards if board.target != target]
    if others:
        raise InventoryError(f"this bundle is for {target!r}; nothing was started, because of: {', '.join(others)}")
    folder.mkdir(parents=True, exist_ok=True)
    return _RollOut(fleet, bundle, wanted, folder, talk, ssh_config).run()


class _RollOut:
    def __init__(
        self, fleet: Fleet, bundle: SignedBundle, wanted: Wanted, folder: Path, talk: Talk, ssh_config: Path | None
    ):
        self._fleet, self._bundle, self._wanted = fleet, bundle, wanted
        self._folder, self._talk, self._config = folder, talk, ssh_config
        self._lock, self._stopped, self._failures = threading.Lock(), None, 0
        known = _rows_before(folder / "fleet.json", bundle.id, wanted.until)
        self._rows = {board.name: known.get(board.name) or _row(board, WAITING) for board in fleet.boards}

    def run(self) -> dict[str, Any]:
        left = [board for board in self._fleet.boards if self._rows[board.name]["state"] != DONE]
        if len(left) < len(self._fleet.boards):
            self._talk.say(f"{len(self._fleet.boards) - len(left)} boards have it already")
        canaries = [board for board in left if board.canary]
        others = [board for board in left if not board.canary]
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
                found = deploy(
                    there,
                    self._bundle,
                    self._wanted,
                    self._folder / f"{board.name}.json",
                    _Named(self._talk, board.name),
                )
            row = _row(board, DONE, **_figures(found))
        except EdgeDistillError as error:
            row = _row(board, FAILED, reason=str(error))
            self._talk.say(f"{board.name}: FAILED: {error}")
        row |= {
            "seconds": round(time.monotonic() - start, 1),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        with self._lock:
            self._rows[board.name] = row
            self._failures += row["state"] == FAILED
            if self._failures > max_failures:
                self._stopped = f"{title}: {self._failures} failed, {max_failures} may"
            self._write()

    def _write(self) -> dict[str, Any]:
        manifest = self._bundle.manifest
        report = {
            "version": VERSION,
            "fleet": self._fleet.name,
            "id": self._bundle.id,
            "model": manifest.model,
            "target": manifest.target,
            "serial": manifest.serial,
            "until": self._wanted.until,
            "stopped": self._stopped,
            "boards": list(self._rows.values()),
        }
        write_json(self._folder / "fleet.json", report)
        write_bytes(self._folder / "fleet.html", html_from_fleet(report).encode("utf-8", "backslashreplace"))
        return report


class _Named(Talk):
    """One board's voice among many: each line says whose it is, and no bar is drawn."""

    def __init__(self, talk: Talk, name: str):
        self._talk, self._name = talk, name

    def say(self, line: str) -> None:
        self._talk.say(line if line.startswith(f"{self._name}: ") else f"{self._name}: {line}")

    @contextmanager
    def progress(self, title: str, total: int, done: int = 0) -> Iterator[Any]:
        yield lambda count, note="": None


def html_from_fleet(report: dict[str, Any]) -> str:
    """One self-contained page: no script, nothing fetched. Equal input, equal bytes."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgedistill.deployment", "."),
        autoescape=True,
        finalize=on_page,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    states = [row["state"] for row in report["boards"]]
    counts = {state: states.count(state) for state in (DONE, FAILED, WAITING)}
    return environment.get_template("fleet.html.j2").render(report=report, counts=counts)


def table_from_fleet(report: dict[str, Any]) -> str:
    """For a terminal."""
    rows = [("board", "state", "p50 ms", "precision", "")]
    for row in report["boards"]:
        p50 = "" if row["p50_ms"] is None else f"{row['p50_ms']:.2f}"
        rows.append((row["name"], row["state"], p50, row["executed"] or "", row["reason"] or row["provenance"] or ""))
    return "\n".join(table_lines(rows))


def _row(board: FleetBoard, state: str, **figures: Any) -> dict[str, Any]:
    place = {"name": board.name, "host": board.host, "group": board.group, "canary": board.canary}
    return {**place, "state": state, **dict.fromkeys(_EMPTY), **figures}


def _figures(found: dict[str, Any]) -> dict[str, Any]:
    bench = found.get("bench")
    timed = {"p50_ms": bench["end_to_end_ms"]["p50_ms"], "fps": bench["fps"]["end_to_end"]} if bench else {}
    return {"executed": found["executed"], "provenance": found["provenance"], **timed}


def _rows_before(path: Path, bundle_id: str, until: str) -> dict[str, Any]:
    """Rows of the boards that an earlier roll-out of this bundle brought at least as far."""
    try:
        stored = read_json(path)
        same = stored["version"] == VERSION and stored["id"] == bundle_id
        if not same or UNTIL.index(stored["until"]) < UNTIL.index(until):
            return {}
        return {row["name"]: row for row in stored["boards"] if row["state"] == DONE and _is_ours(row)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _is_ours(row: dict[str, Any]) -> bool:
    """Whether a table can be made of it."""
    figures = {name: row.get(name) or 0 for name in ("p50_ms", "fps", "seconds", "canary")}
    return (
        set(row) == {"name", "host", "group", "canary", "state", *_EMPTY}
        and all(isinstance(value, int | float) and abs(value) < 1e300 for value in figures.values())
        and all(value is None or isinstance(value, str) for name, value in row.items() if name not in figures)
    )
