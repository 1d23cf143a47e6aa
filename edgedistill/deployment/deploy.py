"""The road of one board: look at it, copy what it lacks, build, verify, bench, switch.

Every step's last line is kept in a receipt, so that a rerun does what is not done yet. The board
decides by itself what it accepts: what is checked here is checked there again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedistill.bundles.archive import require_signature
from edgedistill.bundles.device_code import device_code_sha256
from edgedistill.core.files import read_json, write_json
from edgedistill.core.text import printable
from edgedistill.deployment.board import Board
from edgedistill.deployment.ssh import Upload
from edgedistill.deployment.streams import object_from_line
from edgedistill.errors import BoardError, BundleError
from edgedistill.onnx_model.backends import DEFAULT, backend_named
from edgedistill.progress.reporter import Talk
from edgedistill_device.benchmark.benchreport import report_from_line
from edgedistill_device.errors import BenchError, ManifestError
from edgedistill_device.manifest import NAME, SIGNATURE, Manifest, id_of, read_manifest

UNTIL = ("build", "verify", "bench", "activate")
VERSION = 1  # of a receipt
SAMPLES = "work/bench_samples.json"  # of the last bench, in a bundle's folder
KEEP = 3  # releases on a board: current, previous, and one more
ASKS_AGAIN = "run: python3 -m edgedistill_device "  # how a board's refusal ends when a step has to be done (again)


@dataclass(frozen=True)
class SignedBundle:
    """A whole bundle on this computer.

    Attributes:
        id: first 16 hex digits of the manifest's SHA-256, its name on every board.
    """

    folder: Path
    id: str
    manifest: Manifest


@dataclass(frozen=True)
class Wanted:
    """What a deployment is to do.

    Attributes:
        until: the last step, of UNTIL.
        runs: timed inferences of the benchmark.
        allow_downgrade: let a board take an older serial.
    """

    until: str = "activate"
    runs: int = 200
    allow_downgrade: bool = False


def signed_bundle(folder: Path) -> SignedBundle:
    """Check a bundle before anything travels.

    Raises:
        BundleError: not whole, or not signed.
    """
    try:
        manifest = read_manifest(folder, compiled=True)
    except ManifestError as error:
        raise BundleError(str(error)) from None
    require_signature(folder)
    return SignedBundle(folder, id_of((folder / NAME).read_bytes()), manifest)


def deploy(board: Board, bundle: SignedBundle, wanted: Wanted, receipt: Path, talk: Talk) -> dict[str, Any]:
    """Bring a bundle to one board, as far as `wanted.until`.

    Args:
        board: connected.
        receipt: JSON file here; what an earlier run of the same bundle did there is not done again.

    Returns:
        JSON-able: host, id, serial, model, target, backend, until, doctor, status (before), accept,
        build, provenance, requested, executed and, as far as it came, verify, bench, samples_ms,
        activate, prune.

    Raises:
        BoardError: the board refuses, in its own words.
        SshError: the connection ended; the rerun goes on from there.
    """
    road = _Road(board, bundle, wanted, receipt, talk)
    try:
        road.go()
    except BoardError as error:
        if not road.believed or ASKS_AGAIN not in str(error):
            raise
        talk.say(f"{error}: what was done before no longer holds, and is done again")
        road.go()
    return road.found()


class _Road:
    """One deployment under way, and its receipt."""

    def __init__(self, board: Board, bundle: SignedBundle, wanted: Wanted, receipt: Path, talk: Talk):
        self._board, self._bundle, self._wanted = board, bundle, wanted
        self._path, self._talk, self._name = receipt, talk, board.machine.name
        self._key = {"version": VERSION, "host": self._name, "root": board.root, "id": bundle.id}
        self._steps = self._known()
        self._backend = DEFAULT
        self.believed = False  # a step is done: the receipt says so, or verify did here; others work there too

    def go(self) -> None:
        self.look()
        self.copy()
        for step in UNTIL[: UNTIL.index(self._wanted.until) + 1]:
            self.step(step)

    def look(self) -> None:
        """The board's own checks, before anything is copied."""
        status = self._board.status()
        pinned = status["board"]
        if pinned.get("target") != self._bundle.manifest.target:
            raise BoardError(
                f"{self._name}: it is enrolled as {pinned.get('target')!r}, this bundle is for "
                f"{self._bundle.manifest.target!r}; nothing was copied"
            )
        self._backend = pinned["backend"]
        agent = status.get("agent")
        if not isinstance(agent, dict) or agent.get("sha256") != device_code_sha256():
            self._talk.say(f"{self._name}: its agent is another edgedistill's; for this one's: edgedistill enrol")
        doctor = self._board.doctor()
        if not doctor["ok"]:
            line = f"{self._name}: doctor: {failed_check(doctor)}"
            if not backend_named(self._backend).stand_in:
                raise BoardError(f"{line}; nothing was copied")
            self._talk.say(f"{line} (it is a stand-in, so that does not stop it)")
        row = {row["id"]: row for row in status["releases"]}.get(self._bundle.id)
        if row is None:
            self._steps = {}
        elif not row.get("verified"):
            self._steps = {name: said for name, said in self._steps.items() if name in ("accept", "build")}
        timed = self._steps.get("bench")
        if timed and timed["host_ms"].get("runs") != self._wanted.runs:
            del self._steps["bench"]
        self._steps |= {"status": status, "doctor": doctor}

    def copy(self) -> None:
        """Only what no release there has; a copy that was cut is gone on with, a damaged release mended.

        The board's own agent looks at each byte of a release before anything of it runs.
        """
        bundle, board = self._bundle, self._board
        incoming = f"{board.root}/incoming/{bundle.id}"
        downgrade = ("--allow-downgrade",) if self._wanted.allow_downgrade else ()
        try:
            if self._send(incoming, downgrade) and "accept" in self._steps:
                self._talk.say(f"{self._name}: {bundle.id} is there")
                return
        except BoardError:
            # Another deployment of the same bundle may have made a release of what both copied into.
            if _has(self._steps["status"], bundle.id) or not _has(board.status(), bundle.id):
                raise
        self._keep("accept", board.agent("accept", bundle.id, *downgrade))

    def _send(self, incoming: str, downgrade: tuple[str, ...]) -> bool:
        """Whether it was there, whole; else it is in `incoming` now."""
        bundle, board = self._bundle, self._board
        first = [Upload(name, (bundle.folder / name).stat().st_size) for name in (NAME, SIGNATURE)]
        board.machine.put(bundle.folder, first, incoming)
        want = board.agent("want", bundle.id, *downgrade)
        if want.get("release_exists") is True:
            return True
        if "accept" in self._steps:
            self._talk.say(f"{self._name}: {bundle.id} is damaged there, and is mended")
            self._steps = {name: self._steps[name] for name in ("status", "doctor")}
        uploads = uploads_of(want, bundle)
        total = sum(upload.bytes for upload in uploads)
        have = sum(upload.have for upload in uploads)
        self._talk.say(
            f"{self._name}: {len(uploads)} of {len(bundle.manifest.files)} files to copy, {(total - have) / 1e6:.1f} MB"
        )
        left = [upload for upload in uploads if upload.have != upload.bytes or upload.bytes == 0]
        if left:
            with self._talk.progress(f"{self._name}: bytes copied", total, have) as sent:
                board.machine.put(bundle.folder, left, incoming, sent)
        return False

    def step(self, name: str) -> None:
        if name in self._steps and name != "activate":  # that is asked, the board may have gone back
            self._talk.say(f"{self._name}: {name} was done before")
            self.believed = True
            return
        self._talk.say(f"{self._name}: {name}")
        try:
            self._activate() if name == "activate" else self._bundle_verb(name)
        except BoardError:
            # A file or an engine may have been damaged since: the rerun looks at all of it again.
            self._steps = {}
            self._write()
            raise
        self.believed |= name == "verify"

    def _activate(self) -> None:
        said = self._board.agent("activate", self._bundle.id)
        self._read_back()
        self._keep("activate", said)
        if len(self._steps["status"]["releases"]) >= KEEP:
            self._keep("prune", self._board.agent("prune", "--keep", str(KEEP)))

    def _read_back(self) -> None:
        """Nothing is said of what is served but what the board says afterwards, when asked anew."""
        status = self._board.status()
        current, lines = status.get("current"), status.get("problems")
        if current != self._bundle.id or status.get("proven") is not True:
            why = "; ".join(map(str, lines)) if isinstance(lines, list) and lines else "it does not say why"
            raise BoardError(
                f"{self._name}: {self._bundle.id} was activated, and now the board says that it serves "
                f"{current}, not proven: {why}"
            )

    def _bundle_verb(self, name: str) -> None:
        release = self._board.release(self._bundle.id)
        runs = ("--runs", str(self._wanted.runs)) if name == "bench" else ()
        said = self._board.bundle(release, name, "--backend", self._backend, *runs)
        self._keep(name, checked_bench(said, self._name) if name == "bench" else said)
        if name == "bench":
            self._keep("samples_ms", samples_of(self._board.text(f"{release}/{SAMPLES}")))

    def found(self) -> dict[str, Any]:
        manifest, last = self._bundle.manifest, self._steps.get("bench") or self._steps["build"]
        executed = last.get("executed")
        return {
            "host": self._name,
            "id": self._bundle.id,
            "serial": manifest.serial,
            "model": printable(manifest.model),
            "target": manifest.target,
            "backend": self._backend,
            "until": self._wanted.until,
            "requested": manifest.precision_requested,
            "executed": executed if isinstance(executed, str) else None,
            "provenance": _provenance(self._backend, self._name, last),
            **self._steps,
        }

    def _known(self) -> dict[str, Any]:
        try:
            stored = read_json(self._path)
        except (OSError, ValueError, RecursionError):
            return {}
        steps = stored.get("steps") if isinstance(stored, dict) and stored.get("key") == self._key else None
        if not isinstance(steps, dict) or not all(
            isinstance(said, dict) or (said is None and name == "samples_ms") for name, said in steps.items()
        ):
            return {}
        try:
            return steps if "bench" not in steps else steps | {"bench": checked_bench(steps["bench"], self._name)}
        except BoardError:
            return {}

    def _keep(self, name: str, said: Any) -> None:
        self._steps[name] = said
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, {"key": self._key, "steps": self._steps})


def _has(status: dict[str, Any], release: str) -> bool:
    return any(row["id"] == release for row in status["releases"])


def uploads_of(want: dict[str, Any], bundle: SignedBundle) -> list[Upload]:
    """What the board asked for, held against the manifest: it names no file of this computer.

    Raises:
        BoardError: a name that the bundle does not have, or a size that is no size.
    """
    uploads, rows = [], want.get("files")
    for row in rows if isinstance(rows, list) else [rows]:
        name = row.get("name") if isinstance(row, dict) else None
        entry = bundle.manifest.files.get(name) if isinstance(name, str) else None
        have = row.get("have") if entry else None
        if entry is None or type(have) is not int or have < 0:
            raise BoardError(f"the board wants {str(row)[:80]!r}, which is no file of this bundle; refused")
        uploads.append(Upload(name, entry.bytes, have if have <= entry.bytes else 0))
    return uploads


def failed_check(doctor: dict[str, Any]) -> str:
    """The first check that failed, as one line."""
    for check in doctor.get("checks", []):
        if isinstance(check, dict) and not check.get("ok") and check.get("required"):
            return f"{check.get('name')}: {check.get('found')}; {check.get('advice')}"
    return "it says that something is missing, and not what"


def samples_of(line: str | None) -> dict[str, list[float]] | None:
    """Raw samples of a bench as they lie there, or None: they are worth no failure."""
    if line is None:
        return None
    try:
        samples = object_from_line(line)
        return {str(scope): [round(float(value), 4) for value in values] for scope, values in samples.items()}
    except (BoardError, TypeError, ValueError):
        return None


def checked_bench(said: dict[str, Any], name: str) -> dict[str, Any]:
    """The last line of `bench`, held against the form that all of ours have.

    Raises:
        BoardError: it has another.
    """
    try:
        report = report_from_line(json.dumps(said))
    except BenchError as error:
        raise BoardError(f"{name}: {error}") from None
    for key, least in (("host_ms", {"p50_ms"}), ("end_to_end_ms", {"p50_ms"}), ("fps", {"pipelined", "end_to_end"})):
        row = report[key]
        if not isinstance(row, dict) or not all(
            isinstance(row.get(name), int | float) or (name in row and row[name] is None and name not in least)
            for name in least | set(row)
        ):
            raise BoardError(f"{name}: its benchmark says {key} is {str(row)[:80]!r}, which are no figures")
    return report


def _provenance(backend: str, host: str, said: dict[str, Any]) -> str:
    """What the board says of itself; one that was enrolled as a stand-in is none, whatever it says."""
    words = str(said.get("provenance") or f"measured: {said.get('board', 'a board')}")
    if backend_named(backend).stand_in and not words.startswith("stand-in"):
        return f"stand-in: {words}"
    return words
