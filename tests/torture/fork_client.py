"""The command line, many times, without importing torch each time."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from end_to_end import SOURCES

HERE = Path(__file__).resolve().parent


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
    """`with ForkClient() as fork_client: fork_client.run("data", "r.toml", cwd=...)`."""

    def __enter__(self):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((SOURCES, str(HERE))),
            "NO_ALBUMENTATIONS_UPDATE": "1",
            "OMP_NUM_THREADS": "1",
            "SOURCE_DATE_EPOCH": "1700000000",
            "PYTHONWARNINGS": "ignore",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "fork_server.py")],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def run(self, *words, cwd, **job):
        """`job`: env, kill_after_s, faults (of faults.Faults), limits, constants, deadline_s."""
        return self.run_all(job | {"words": words}, cwd=cwd)[0]

    def run_all(self, *jobs, cwd):
        """Jobs with `words`, at the same time."""
        first, *others = [{**job, "words": [*map(str, job["words"])]} for job in jobs]
        sent = {**first, "cwd": str(cwd), "beside": others}
        self._process.stdin.write(json.dumps(sent) + "\n")
        self._process.stdin.flush()
        outcomes = []
        for job, answer in zip(jobs, json.loads(self._process.stdout.readline()), strict=True):
            assert not answer["late"], f"{job} hung; it said:\n{answer['err']}"
            events = int(answer["events"]) if answer["events"] else None
            outcomes.append(Outcome(answer["code"], answer["out"], answer["err"], answer["seconds"], events))
        return outcomes
