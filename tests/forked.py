"""Programs that stand for a Python and need not import anew what takes long: command_server.py. Python 3.6 too."""

import fcntl
import functools
import os
import subprocess
import sys
import tempfile
import time
import zlib

ON_A_BOARD = ("edgedistill_device", "numpy", "cv2", "onnxruntime", "argparse", "ctypes", "subprocess", "tarfile")
HERE = os.path.dirname(os.path.abspath(__file__))
SERVER, CLIENT = (os.path.join(HERE, name) for name in ("command_server.py", "command_client.py"))
SERVERS = []


@functools.lru_cache(maxsize=None)  # noqa: UP033 - Python 3.6 has no cache
def forked(python, modules, sources):
    """A program that stands for that Python without importing the modules anew: its path.

    All workers of one pytest have one server for it, which ends with that pytest.

    Args:
        sources: folders in which the server finds the modules too; the commands have their own PYTHONPATH.
    """
    pytest = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    key = zlib.crc32(" ".join((python, sources) + modules).encode())
    folder = os.path.join(tempfile.gettempdir(), f"forked-{os.getuid()}-{pytest}-{key}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    place, program = os.path.join(folder, "socket"), os.path.join(folder, "python")
    with open(os.path.join(folder, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(place):
            with open(program, "w") as file:
                file.write(f'#!/bin/sh\nexec {sys.executable} -S -E {CLIENT} {place} "$@"\n')
            os.chmod(program, 0o700)
            server = subprocess.Popen(
                [python, SERVER, place, str(pytest), program, ",".join(modules), sources],
                stdin=subprocess.DEVNULL,
                # site leaves out of sys.path what PYTHONPATH holds; commands without it would not find it then
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            )
            while not os.path.exists(place):
                assert server.poll() is None
                time.sleep(0.02)
            SERVERS.append(server)  # it is not waited for
    return program
