"""Ask the release that is served whether it is in order: `activate`, `rollback` and `status --recover` do.

The agent starts `python3 -m edgedistill_device health`, or `verify`, in the folder of the release that
`live` leads to, never in whatever ROOT/current names. It is a process of its own: native code that crashes
or hangs there is a failed check and not the end of the agent, and the agent itself needs no numpy.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys

from edgedistill_device.errors import ReleaseError
from edgedistill_device.releases.root import RELEASES, folder_of, is_folder
from edgedistill_device.releases.switch import active

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
TIMEOUT_S = 180  # starting Python, numpy, OpenCV and TensorRT is most of it; no Nano was there to time


class CheckDiedError(ReleaseError):
    """The process of a check crashed, or did not end."""


def ask_current(root, backend, timeout_s):
    """What `health` says of the release that `live` leads to at this moment.

    Args:
        backend: of board.json.

    Returns:
        The dict of its last line.

    Raises:
        CheckDiedError: it crashed, or took too long.
        ReleaseError: it refused, or its answer is not one of `health`.
    """
    return _answer_of_current(root, "health", "health check", backend, timeout_s)


def verify_current(root, backend, timeout_s):
    """The same of `verify`, which keeps a pass where it passes."""
    return _answer_of_current(root, "verify", "verify", backend, timeout_s)


def _answer_of_current(root, verb, title, backend, timeout_s):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    folder = folder_of(root, RELEASES, active(root).current)
    package = "edgedistill_device" if is_folder(os.path.join(folder, "edgedistill_device")) else "jetson"  # of 0.1
    # The working folder comes before PYTHONPATH: what is imported is the release's own code.
    child = subprocess.Popen(
        [sys.executable, "-m", package, verb, "--backend", backend],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_die_with_agent(),
    )
    try:
        out, stderr = child.communicate(timeout=timeout_s)
    except BaseException as error:  # a Ctrl-C too; and its children too, or they keep the GPU
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise CheckDiedError("%s: no answer within %g s" % (title, timeout_s))
    if child.returncode < 0:
        number = -child.returncode
        raise CheckDiedError("%s: died of signal %d (%s)" % (title, number, signal.Signals(number).name))
    if child.returncode:
        raise ReleaseError("%s: %s" % (title, _last_line(stderr) or "exit code %d" % child.returncode))
    try:
        answer = json.loads(_last_line(out))
        if answer.pop("verb") != verb:
            raise KeyError("verb")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ReleaseError("%s: expected its JSON, got %.80r" % (title, _last_line(out)))
    return answer


def _die_with_agent():
    """What the child calls before it starts: an agent that is killed leaves no one on the GPU."""
    libc = ctypes.CDLL(None)  # loaded before the fork
    if not hasattr(libc, "prctl"):  # only Linux has it
        return None
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _last_line(content):
    lines = content.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""
