"""The command line as a process of its own that need not import torch and its like each time.

    python command_server.py serve SOCKET PID imports them once and forks for each command; ends when process PID does,
                                      and removes the folder of SOCKET
    python -S command_server.py SOCKET WORDS  stands for `python -m edgedistill WORDS`: same folder, environment,
                                      streams, signals and exit code; when it is killed, so is the command

Our own modules are imported anew by every command. A module that $FORKED_MODULE names, found on $PYTHONPATH,
is run in place of edgedistill.
"""

import array
import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys

HEAVY = (
    "torch",
    "timm",
    "torchvision",
    "cv2",
    "albumentations",
    "onnx",
    "onnxruntime",
    "onnxslim",
    "matplotlib.figure",
    "jinja2",
    "optuna",
    "rich.live",
    "pydantic",
    "torch.onnx",
    "safetensors.torch",
    "torch.utils.tensorboard",
    "torch.distributed",
    "timm.optim",
    "scipy.optimize",
    "scipy.special",
    "scipy.sparse.csgraph",
)
STREAMS = (0, 1, 2)
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MODULE = "FORKED_MODULE"


def ask(path, words):
    """The exit code of the command."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        job = json.dumps({"words": words, "cwd": os.getcwd(), "env": dict(os.environ)}).encode()
        connection.sendmsg(
            [len(job).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", STREAMS))]
        )
        connection.sendall(job)
        for number in PASSED_ON:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda number, _: connection.send(bytes([number])))
        code = int(connection.recv(16) or b"70")
    if code < 0:  # by a signal: so must this be
        os.kill(os.getpid(), -code)
    return code


def serve(path, pid):
    before = set(os.environ)
    import importlib
    import shutil

    import edgedistill  # noqa: F401  first, as on the command line: it says what OpenCV may decode

    for name in HEAVY:
        with contextlib.suppress(ImportError):  # an extra that is not here
            importlib.import_module(name)
    gc.freeze()  # or every command looks through all that torch has made, and copies it
    ours = {name: value for name, value in os.environ.items() if name not in before}
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{path}.new")
        server.listen()
        os.rename(f"{path}.new", path)  # who sees it is let in
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who watches a command is not waited for
        ended = os.pidfd_open(pid)
        while True:
            ready, _, _ = select.select([server, ended], [], [])
            if ended in ready:
                shutil.rmtree(os.path.dirname(path))
                return
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                watch(connection, ours)
            connection.close()


def watch(connection, ours):
    """Fork the command, pass its exit code on; kill it when who asked is gone."""
    try:
        size, streams, _, _ = socket.recv_fds(connection, 4, len(STREAMS))
        with connection.makefile("rb") as incoming:
            job = json.loads(incoming.read(int.from_bytes(size, "big")))
        pid = os.fork()
        if pid == 0:
            connection.close()
            command(job, streams, ours)
        for stream in streams:
            os.close(stream)
        ended = os.pidfd_open(pid)
        while ended not in select.select([ended, connection], [], [])[0]:
            os.kill(pid, next(iter(connection.recv(1)), signal.SIGKILL))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        connection.sendall(str(code).encode())
    finally:
        os._exit(0)


def command(job, streams, ours):
    import runpy
    import traceback

    code = 70
    try:
        os.chdir(job["cwd"])
        os.environ.clear()
        os.environ.update({**ours, **job["env"]})
        for stream, number in zip(streams, STREAMS, strict=True):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
        sys.argv = ["edgedistill", *job["words"]]
        sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        runpy.run_module(os.environ.get(MODULE, "edgedistill"), run_name="__main__", alter_sys=False)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:  # whatever happened, this is no server
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
