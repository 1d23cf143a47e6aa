"""The command line as two processes under `torchrun` (gloo, CPU), and one of them killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time

from end_to_end import HEAVY, SOURCES
from forked import forked


def torchrun(*words, cwd, restarts=1, module="edgedistill", path=()):
    """Started; `communicate` gives what it says.

    Args:
        restarts: how often torchrun begins anew when one of the two dies.
        module: run with `words`; found below `path` too.
    """
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--max-restarts",
        str(restarts),
        "--no-python",
        forked(sys.executable, HEAVY, SOURCES),
        "-m",
        module,
        *map(str, words),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((SOURCES, *map(str, path))),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def kill_one_worker(process, ready, which=1, delay_s=0.0, seconds=200):
    """SIGKILL one of the two, some time after `ready()`; False when they had ended before."""
    deadline = time.monotonic() + seconds
    while not ready() and process.poll() is None:
        assert time.monotonic() < deadline, "it never was ready to be killed"
        time.sleep(0.01)
    time.sleep(delay_s)
    listed = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
    workers = [int(pid) for pid in listed.stdout.split()]
    if len(workers) == 2:
        with contextlib.suppress(ProcessLookupError):
            os.kill(workers[which], signal.SIGKILL)
            return True
    return False
