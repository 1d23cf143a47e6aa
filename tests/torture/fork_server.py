"""A process that has imported everything heavy once and forks a command line for each job.

One JSON job a line on stdin: words, cwd, and perhaps env, kill_after_s, faults, limits, constants. One JSON
answer a line on stdout: code (negative: the signal), seconds, out, err, events. The child is the real
command line: it only saves the imports.
"""

import fcntl
import gc
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

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
    "tomlkit",
    "torch.onnx",
    "safetensors.torch",
)


SAID_BYTES = 1 << 20


def child(job):
    from faults import Faults

    try:
        _child(job, Faults)
    finally:
        os._exit(71)  # whatever happened, the fork must not go on as a server


def _child(job, Faults):
    os.chdir(job["cwd"])
    os.environ.update(job.get("env", {}))
    os.dup2(job["out"], 1)
    os.dup2(job["err"], 2)
    sys.stdout, sys.stderr = (
        os.fdopen(os.dup(n), "w", errors=how, buffering=1) for n, how in ((1, "strict"), (2, "backslashreplace"))
    )
    code, faults = 70, None
    try:
        if "faults" in job:
            faults = Faults(**job["faults"])
            faults.install()
        for name, value in job.get("limits", {}).items():
            if name == "RLIMIT_AS":  # given as bytes above what the imports have mapped
                mapped = Path("/proc/self/statm").read_text().split()[0]
                value += int(mapped) * resource.getpagesize()
            resource.setrlimit(getattr(resource, name), (value, value))
        for name, value in job.get("constants", {}).items():
            module, _, constant = name.rpartition(".")
            setattr(sys.modules[module], constant, value)
        from edgedistill.cli.main import main

        code = main(job["words"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    if faults is not None:
        os.write(job["events"], str(faults.count).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(job):
    """The job, and those of `beside` at the same time."""
    jobs = [job, *({**other, "cwd": job["cwd"]} for other in job.pop("beside", ()))]
    return [waited(start) for start in [started(each) for each in jobs]]


def started(job):
    readers = {}
    for name in ("out", "err", "events"):  # pipes: a limit on files must not meet what is said
        readers[name], job[name] = os.pipe()
        fcntl.fcntl(job[name], fcntl.F_SETPIPE_SZ, SAID_BYTES)
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(job)
    for name in readers:
        os.close(job[name])
    return job, pid, start, readers


def waited(begun):
    job, pid, start, readers = begun
    kill_at = start + job["kill_after_s"] if "kill_after_s" in job else None
    late, killed = start + job.get("deadline_s", 240), False
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        now = time.monotonic()
        if done:
            break
        if not killed and (now > late or (kill_at is not None and now >= kill_at)):
            os.kill(pid, signal.SIGKILL)
            killed = True
        time.sleep(0.002)
    said = {name: _there_now(reader) for name, reader in readers.items()}
    return {"code": os.waitstatus_to_exitcode(status), "seconds": now - start, "late": killed and now > late, **said}


def _there_now(reader):
    """What lies in a pipe; a child of the child may hold its other end open."""
    os.set_blocking(reader, False)
    try:
        return os.read(reader, SAID_BYTES).decode("utf-8", "replace")
    except BlockingIOError:
        return ""
    finally:
        os.close(reader)


def serve():
    import edgedistill  # first, as on the command line: it says what OpenCV may decode

    for name in HEAVY:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(edgedistill.__path__, "edgedistill."):
        if module.name.rpartition(".")[2] not in {"__main__", "compile_child"}:
            importlib.import_module(module.name)
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        answers.write(json.dumps(run(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
