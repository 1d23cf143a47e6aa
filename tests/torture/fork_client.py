"""The command line, many times, with faults, limits and kills, and forked (command_server.py)."""

import contextlib
import fcntl
import json
import os
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from command_client import Command
from end_to_end import SOURCES, socket_of_commands

HERE = Path(__file__).resolve().parent
SAID_BYTES = 1 << 20
LOOK_S = 0.002


class Outcome(NamedTuple):
    """What became of a command: exit code (negative: killed by it), its words, events counted."""

    code: int
    out: str
    err: str
    seconds: float
    events: int | None

    @property
    def last_line(self):
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else ""


class ForkClient:
    """`fork_client.run("data", "r.toml", cwd=...)`."""

    def __init__(self):
        self._socket = socket_of_commands()
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((SOURCES, str(HERE))),
            "NO_ALBUMENTATIONS_UPDATE": "1",
            "OMP_NUM_THREADS": "1",
            "SOURCE_DATE_EPOCH": "1700000000",
        }

    def run(self, *words, cwd, **job):
        """`job`: env, kill_after_s, faults (of faults.Faults), limits, constants, deadline_s."""
        return self.run_all(job | {"words": words}, cwd=cwd)[0]

    def run_all(self, *jobs, cwd):
        """Jobs with `words`, at the same time."""
        with contextlib.ExitStack() as running:
            return [self._outcome(*begun) for begun in [self._begin(job, cwd, running) for job in jobs]]

    def _begin(self, job, cwd, running):
        events = Path(running.enter_context(tempfile.TemporaryDirectory()), "count")
        events.touch()
        readers, writers = zip(os.pipe(), os.pipe(), strict=True)
        for writer in writers:  # pipes: a limit on files must not meet what is said
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, SAID_BYTES)
        how = {key: job[key] for key in ("faults", "limits", "constants") if key in job} | {"events": str(events)}
        environment = {**self._environment, **job.get("env", {}), "FORKED_JOB": json.dumps(how)}
        words = ["-m", "forked_job", *map(str, job["words"])]
        start = time.monotonic()
        command = Command(self._socket, words, str(cwd), environment, (0, *writers))
        running.enter_context(closing(command))
        for writer in writers:
            os.close(writer)
        return job, command, start, readers, events

    def _outcome(self, job, command, start, readers, events):
        limit_s = job.get("deadline_s", 240)
        code = _code(command, start + min(job.get("kill_after_s", limit_s), limit_s))
        seconds = time.monotonic() - start
        out, err = map(_there_now, readers)
        assert seconds < limit_s, f"{job} hung; it said:\n{err}"
        count = events.read_text()
        return Outcome(code, out, err, seconds, int(count) if count else None)


def _code(command, kill_at):
    """The exit code; of a command that has not ended by then, after its kill."""
    try:
        return command.wait(max(0.001, kill_at - time.monotonic()))
    except TimeoutError:
        command.kill()
        return command.wait()


def _there_now(reader):
    """What lies in a pipe; a child of the child may hold its other end open."""
    os.set_blocking(reader, False)
    try:
        return os.read(reader, SAID_BYTES).decode("utf-8", "replace")
    except BlockingIOError:
        return ""
    finally:
        os.close(reader)
