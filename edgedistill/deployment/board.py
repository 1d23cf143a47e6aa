"""The verbs of one board: `python3 -m edgedistill_device VERB` there, its last line here.

The agent's verbs run the code that enrolment put there, a bundle's verbs the code of that bundle.
What runs in the board's shell is one of two constant scripts; paths, names and options reach it
as its arguments.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from edgedistill.deployment.ssh import PLAIN_PATH, Connection, Sent, Upload
from edgedistill.deployment.streams import Answer, Say, clean, object_from_line
from edgedistill.errors import BoardError
from edgedistill.records.benchmark import BenchAnswer, FramesPerSecond, Samples
from edgedistill.records.board_answers import (
    AcceptAnswer,
    ActivateAnswer,
    BoardAnswer,
    BuildAnswer,
    DoctorAnswer,
    PruneAnswer,
    RollbackAnswer,
    StatusAnswer,
    Times,
    VerifyAnswer,
    WantAnswer,
)
from edgedistill_device.benchmark.benchreport import report_from_line
from edgedistill_device.errors import BenchError

Answered = TypeVar("Answered", bound=BoardAnswer)
SAMPLES = "work/bench_samples.json"  # of the last bench, in a bundle's folder

# $2 is the interpreter; version 0.1 called the package `jetson`.
_PACKAGE = (
    'python=$2; shift 2; package=edgedistill_device; [ -d $package ] || package=jetson; exec "$python" -m $package "$@"'
)
# In their own folder, so that no package of this name in the login's home is found first.
_AGENT = (
    'unset CDPATH; cd "$1" 2>/dev/null && root=$(pwd -P) && cd agent 2>/dev/null || exit 3; '
    'export PYTHONPATH="$root/agent"; ' + _PACKAGE + ' --root "$root"'
)
_BUNDLE = (
    'unset CDPATH; cd "$1" 2>/dev/null || exit 3; export PYTHONPATH="$PWD" PYTHONDONTWRITEBYTECODE=1; '
    + _PACKAGE
    + ' --bundle "$PWD"'
)
_NO_FOLDER, _USAGE, _NOT_FOUND = 3, 2, (126, 127)
TIMEOUT_S = {"build": 2 * 3600, "bench": 3600}  # of others: ten minutes
# A verb whose connection was cut notices when it next speaks, which a build does every 15 s.
BUSY = ("is locked by another", "is at work in")  # the second is what 0.1 said
BUSY_WAIT_S, _BUSY_LOOK_S = 60.0, 1.0


class Machine(Protocol):
    """What can run commands and take files: a board by ssh, or this computer."""

    name: str

    def run(self, words: Sequence[str], say: Say | None = None, timeout_s: float | None = None) -> Answer: ...

    def put(self, folder: Path, uploads: Sequence[Upload], there: str, sent: Sent | None = None) -> None: ...


@dataclass(frozen=True)
class Board:
    """One machine with a root folder.

    Attributes:
        machine: connected.
        root: absolute, or relative to the login's home; of plain characters.
        python: interpreter there.
        say: called with each line that a verb prints, as it is printed.
    """

    machine: Machine
    root: str
    python: str
    say: Say

    def __post_init__(self) -> None:
        if not PLAIN_PATH.match(self.root):  # sftp reads it too; python only ever is an argument
            raise BoardError(f"root {clean(self.root)!r}: expected a path of letters, digits and . _ + = @ - /")

    def agent(self, verb: str, *words: str) -> dict[str, Any]:
        """A verb of the board itself: want, accept, activate, rollback, status, prune, doctor.

        Raises:
            BoardError: it refused, with its own message.
            SshError: the connection ended.
        """
        absent = f"it is not enrolled: edgedistill enrol {self.machine.name} --target TARGET --key NAME"
        return self._verb(["sh", "-c", _AGENT, "sh", self.root], verb, words, absent)

    def status(self) -> StatusAnswer:
        """Its releases, and which one is active.

        Raises:
            BoardError: no answer, or one that is not of that form.
            SshError: the connection ended.
        """
        fault = f"unexpected answer, or board.json is missing; run: edgedistill enrol {self.machine.name}"
        return self._read(StatusAnswer, self.agent("status"), "status", fault)

    def doctor(self) -> DoctorAnswer:
        """The board's own checks.

        Raises:
            BoardError: no answer, or one that is not of that form.
            SshError: the connection ended.
        """
        return self._read(DoctorAnswer, self.agent("doctor"), "doctor", "unexpected checks")

    def want(self, bundle_id: str, allow_downgrade: bool = False) -> WantAnswer:
        """Check the manifest in incoming/ID; which files are left to send.

        Raises:
            BoardError, SshError: as `agent`.
        """
        return self._read(WantAnswer, self.agent("want", bundle_id, *_downgrade(allow_downgrade)), "want")

    def accept(self, bundle_id: str, allow_downgrade: bool = False) -> AcceptAnswer:
        """Make a release of incoming/ID.

        Raises:
            BoardError, SshError: as `agent`.
        """
        return self._read(AcceptAnswer, self.agent("accept", bundle_id, *_downgrade(allow_downgrade)), "accept")

    def activate(self, bundle_id: str) -> ActivateAnswer:
        """Activate a release, if it passes its health check.

        Raises:
            BoardError, SshError: as `agent`.
        """
        return self._read(ActivateAnswer, self.agent("activate", bundle_id), "activate")

    def rollback(self, leave: str | None = None) -> RollbackAnswer:
        """Return to the previous release.

        Args:
            leave: roll back only if this release is current, so that repeating it is safe.

        Raises:
            BoardError, SshError: as `agent`.
        """
        words = () if leave is None else ("--leave", leave)
        return self._read(RollbackAnswer, self.agent("rollback", *words), "rollback")

    def prune(self, keep: int) -> PruneAnswer:
        """Remove all releases but the newest `keep`, the active one and the previous one.

        Raises:
            BoardError, SshError: as `agent`.
        """
        return self._read(PruneAnswer, self.agent("prune", "--keep", str(keep)), "prune")

    def build(self, folder: str, backend: str) -> BuildAnswer:
        """Build the engine of a bundle that is there.

        Raises:
            BoardError, SshError: as `agent`.
        """
        return self._read(BuildAnswer, self.bundle(folder, "build", "--backend", backend), "build")

    def verify(self, folder: str, backend: str) -> VerifyAnswer:
        """Compare its outputs with the workstation's.

        Raises:
            BoardError, SshError: as `agent`.
        """
        return self._read(VerifyAnswer, self.bundle(folder, "verify", "--backend", backend), "verify")

    def bench(self, folder: str, backend: str, runs: int, tune: str | None = None) -> BenchAnswer:
        """Time a bundle that is there and was verified.

        Args:
            tune: of `TUNE`, how the fastest way of running its engine is looked for; None: as that code does it.

        Raises:
            BoardError, SshError: as `agent`.
        """
        tuning = () if tune is None else ("--tune", tune)
        answer = self.bundle(folder, "bench", "--backend", backend, "--runs", str(runs), *tuning)
        return checked_bench(answer, self.machine.name)

    def bundle(self, folder: str, verb: str, *words: str) -> dict[str, Any]:
        """A verb of a bundle that is there: build, verify, bench.

        Raises:
            BoardError, SshError: as `agent`.
        """
        absent = f"{folder} is not there; run it again"
        return self._verb(["sh", "-c", _BUNDLE, "sh", folder], verb, words, absent)

    def samples(self, folder: str) -> Samples | None:
        """Raw samples of the last bench of a bundle there; None when there are none that can be read.

        Raises:
            SshError: the connection ended.
        """
        try:
            return samples_of(self.text(f"{folder}/{SAMPLES}"))
        except BoardError:  # more of them than this computer reads
            return None

    def text(self, path: str) -> str | None:
        """The last line of a file there as it is, None when there is none."""
        answer = self.machine.run(["cat", path], timeout_s=60)
        return answer.line if answer.code == 0 else None

    def release(self, bundle_id: str) -> str:
        return f"{self.root}/releases/{bundle_id}"

    def _read(
        self, form: type[Answered], answer: dict[str, Any], verb: str, fault: str = "unexpected answer"
    ) -> Answered:
        return form.from_json(answer, f"{self.machine.name}: edgedistill_device {verb}: {fault}", BoardError)

    def _verb(self, script: list[str], verb: str, words: Sequence[str], absent: str) -> dict[str, Any]:
        name, answer = self.machine.name, self._ask([*script, self.python, verb, *words], verb)
        if answer.code == _NO_FOLDER:
            raise BoardError(f"{name}: {absent}")
        if answer.code in _NOT_FOUND:
            raise BoardError(f"{name}: no {self.python} there; name it with --python ({answer.error})")
        if answer.code == _USAGE:
            raise BoardError(
                f"{name}: its agent does not know this `{verb}`; update it: edgedistill enrol {name} ({answer.error})"
            )
        if answer.code != 0 and not (verb == "doctor" and answer.line):
            raise BoardError(f"{name}: {answer.error or f'edgedistill_device {verb}: exit code {answer.code}'}")
        try:
            return object_from_line(answer.line, verb)
        except BoardError as error:
            raise BoardError(f"{name}: edgedistill_device {verb}: {error}") from None

    def _ask(self, command: list[str], verb: str) -> Answer:
        """Run it; wait while a verb of an interrupted connection still holds the board's lock."""
        deadline = time.monotonic() + BUSY_WAIT_S
        while True:
            answer = self.machine.run(command, self.say, TIMEOUT_S.get(verb, 600))
            if answer.code != 1 or not any(words in answer.error for words in BUSY) or time.monotonic() > deadline:
                return answer
            self.say(f"{answer.error}: waiting")
            time.sleep(_BUSY_LOOK_S)


def _downgrade(allowed: bool) -> tuple[str, ...]:
    return ("--allow-downgrade",) if allowed else ()


def samples_of(line: str | None) -> Samples | None:
    """Raw samples of a bench, or None: a failure to read them is ignored."""
    if line is None:
        return None
    try:
        samples = object_from_line(line)
        return {str(scope): [round(float(value), 4) for value in values] for scope, values in samples.items()}
    except (BoardError, TypeError, ValueError):
        return None


def checked_bench(answer: dict[str, Any], name: str) -> BenchAnswer:
    """Check the last line of `bench`.

    Raises:
        BoardError: it is not a report of `bench`.
    """
    try:
        report_from_line(json.dumps(answer))
    except BenchError as error:
        raise BoardError(f"{name}: {error}") from None
    for key, form in (("host_ms", Times), ("end_to_end_ms", Times), ("fps", FramesPerSecond)):
        try:
            form.model_validate(answer[key])
        except ValidationError:
            raise BoardError(
                f"{name}: its benchmark says {key} is {str(answer[key])[:80]!r}, which are no figures"
            ) from None
    return BenchAnswer.from_json(answer, f"{name}: edgedistill_device bench: unexpected answer", BoardError)


@contextmanager
def connected(host: str, root: str, python: str, ssh_config: Path | None, say: Say) -> Iterator[Board]:
    """The board behind an SSH host, while the block lasts.

    Raises:
        SshError: no connection.
    """
    with Connection(host, ssh_config) as machine:
        yield Board(machine, root, python, say)
