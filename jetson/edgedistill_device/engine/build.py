"""Build the engine on this board: checks, a child process under a memory guard, an atomic rename."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

from edgedistill_device.board import power
from edgedistill_device.board.home import user_folder
from edgedistill_device.board.identity import (
    BUILD_TIMEOUT_S,
    attempts,
    board_name,
    check_disk,
    hidden_identity,
    memory_mib,
    memory_warnings,
    with_more,
)
from edgedistill_device.engine import build_child, engine_file
from edgedistill_device.engine.build_end import CRASH, DONE, MEMORY, NO_KERNEL, OTHER, ending, gave_up
from edgedistill_device.engine.build_log import Heard
from edgedistill_device.engine.trt_api import BUILDER
from edgedistill_device.errors import BuildError, EngineError
from edgedistill_device.json_text import json_text
from edgedistill_device.lock import held

# time.monotonic everywhere: a Nano has no battery-backed clock, so its time jumps at the first NTP sync.
_LOOK_S, _SUPPLY_S, _TALK_S = 0.1, 1.0, 15.0
_TIMED_OUT = 124


def build(folder, manifest, compiler="tensorrt", workspace_mib=None, timeout_s=BUILD_TIMEOUT_S, root="/", builder=None):
    """Build, retrying with less memory when it runs out; the previous engine stays until the end.

    If another build of this bundle is running, wait for it and use its engine.

    Args:
        folder: the bundle.
        manifest: Manifest, freshly read, with its hashes checked against the files.
        compiler: Python module of TensorRT; `tensorrt_rtx` compiles without a GPU.
        workspace_mib: scratch memory of the first attempt; None: chosen from the free memory.
        timeout_s: for all attempts together, including the wait before them.
        root: folder that holds /sys.
        builder: of trt_api.BUILDER, which it is when None.

    Returns:
        The sidecar, see engine_file.KEYS.

    Raises:
        BuildError: with the cause and what to do.
    """
    folder, deadline = os.path.abspath(str(folder)), time.monotonic() + timeout_s
    before = _engine_in_force(folder, manifest)
    try:
        os.makedirs(os.path.join(folder, "work"), exist_ok=True)
        with _alone(folder, deadline) as waited:
            sidecar = _engine_in_force(folder, manifest) if waited and workspace_mib is None else None
            if sidecar not in (None, before) and sidecar["compiler"] == compiler:
                _say("using the engine of the other build")
                return sidecar
            spec = _spec(folder, manifest, compiler, builder)
            return _planned(spec, manifest, workspace_mib, deadline, timeout_s, root)
    except (IOError, OSError) as error:
        raise BuildError("the engine cannot be stored: %s" % (error,))


@contextlib.contextmanager
def _alone(folder, deadline):
    """Hold the lock of this bundle's build; yield whether another build held it before."""
    busy = BuildError("this bundle is locked by another build; wait for it to end")
    last_said_at, waited = time.monotonic() - _TALK_S, False
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(held(os.path.join(folder, "work", "build.lock"), busy))
                break
            except BuildError:
                now, waited = time.monotonic(), True
                if now > deadline:
                    raise
                if now - last_said_at >= _TALK_S:
                    last_said_at = now
                    _say("this bundle is locked by another build, waiting for its engine")
                time.sleep(_LOOK_S)
        yield waited


def _engine_in_force(folder, manifest):
    """Return the sidecar of a complete engine of this bundle's model, or None."""
    try:
        return engine_file.read_engine(folder, manifest)[0]
    except EngineError:
        return None


def _planned(spec, manifest, workspace_mib, deadline, timeout_s, root):
    """Plan the attempts under the lock, when another build has released its memory, and build."""
    memory = memory_mib()
    planned = attempts(memory, workspace_mib, manifest.memory_budget_mib)
    board = board_name()
    hidden = hidden_identity()
    warnings = ["the board's name is not known: " + hidden] if hidden else []
    warnings += memory_warnings(memory) + power.warnings(root, board, power.assumed_by(manifest))
    for line in warnings:
        _say("warning: " + line)
    supply = power.SupplyWatch(root, board)
    spec = dict(spec, board=board, clocks=power.timing_conditions(root))
    check_disk(spec["bundle"], os.path.getsize(os.path.join(spec["bundle"], "model.onnx")))
    try:
        return _build(spec, manifest, planned, memory, warnings, deadline, timeout_s, supply)
    finally:
        shutil.rmtree(spec["stage"], ignore_errors=True)


def _build(spec, manifest, planned, memory, warnings, deadline, timeout_s, supply):
    left, tried = list(planned), []  # of tried: (Attempt, Ending)
    while left:
        attempt = left.pop(0)
        shutil.rmtree(spec["stage"], ignore_errors=True)  # left by a killed build
        os.makedirs(spec["stage"])
        _say(
            "attempt %d of %d: workspace %d MiB, %s cuBLAS and cuDNN"
            % (
                len(tried) + 1,
                len(tried) + 1 + len(left),
                attempt.workspace_mib,
                "with" if attempt.external_tactics else "without",
            )
        )
        code, used, heard = _run(dict(spec, **attempt._asdict()), deadline, timeout_s, supply)
        result = _result(spec["stage"])
        end = ending(code, result, heard)
        tried.append((attempt, end))
        if end.kind in (DONE, OTHER):
            ended = [end.line or "built" for _, end in tried]
            return _keep(spec, manifest, result, code, used, ended, warnings + supply.warnings())
        _say("attempt %d: %s" % (len(tried), end.line))
        left = _next(tried, left, memory, manifest.memory_budget_mib)
    raise BuildError(gave_up(tried))


def _next(tried, left, memory, budget_mib):
    """Return the remaining attempts that are worth trying after the last one ended."""
    kinds = [end.kind for _, end in tried]
    if kinds[-1] == NO_KERNEL:  # less workspace would not find one either
        ran_out = [attempt for attempt, end in tried if end.kind == MEMORY]
        more = with_more(tried[-1][0], ran_out, memory, budget_mib) if kinds.count(NO_KERNEL) == 1 else None
        return [more] if more else []
    return [] if NO_KERNEL in kinds or kinds.count(CRASH) > 1 else left


def _spec(folder, manifest, compiler, builder):
    return {
        "bundle": folder,
        "stage": os.path.join(folder, "work", "build"),
        "builder": builder or dict(BUILDER),
        "cache_folder": _cache_folder(),
        "compiler": compiler,
        "requested": manifest.precision_requested,
        "target_sm": manifest.target_sm,
        "target_tensorrt": manifest.target_tensorrt,
    }


def _run(spec, deadline, timeout_s, supply):
    """Run the child; return (exit code, memory of the system meanwhile, Heard with its lines).

    Raises:
        BuildError: the child took too long and was killed.
    """
    path = os.path.join(spec["stage"], "spec.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(json_text(spec))
    before = least = memory_mib()["available"]
    started = last_said_at = last_look_at = time.monotonic()
    # The working folder is that of this package, so that no other package of its name is imported.
    child = subprocess.Popen(
        [sys.executable, "-m", "edgedistill_device.engine.build_child", path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    )
    heard = Heard(child.stdout, _show)
    try:
        while child.poll() is None:
            now, available = time.monotonic(), memory_mib()["available"]
            least = min(least, available)
            if now > deadline:
                raise BuildError(
                    "no engine within %d s (exit code %d); give it more with --timeout-s" % (timeout_s, _TIMED_OUT)
                )
            if now - last_look_at >= _SUPPLY_S:
                last_look_at = now
                supply.look()
            if now - last_said_at >= _TALK_S:
                last_said_at = now
                _say("%d s, %d MiB of memory available" % (now - started, available))
            heard.wait(_LOOK_S)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        heard.end()
    used = {"available_before_mib": before, "available_least_mib": least, "delta_mib": before - least}
    return child.returncode, used, heard


def _result(stage):
    """Return what the child wrote, or {}."""
    try:
        with open(os.path.join(stage, build_child.RESULT), encoding="utf-8") as file:
            return json.load(file)
    except (IOError, OSError, ValueError):
        return {}


def _keep(spec, manifest, result, code, memory, ended, warnings):
    folder, stage = spec["bundle"], spec["stage"]
    if code == build_child.NO_DISK:
        raise BuildError("%s: cannot be written to; is the disk full?" % (stage,))
    if code or not result or "error" in result:
        raise BuildError(result.get("error", "the build ended with exit code %d" % (code,)))
    if manifest.files[result["onnx"]].sha256 != result["onnx_sha256"]:
        raise BuildError("%s changed while it was built; copy the bundle again" % (result["onnx"],))
    memory["process_peak_mib"] = result.pop("process_peak_mib")
    memory["method"] = "VmHWM of the build process; MemAvailable of the system every 0.1 s"
    _keep_timing_cache(os.path.join(stage, build_child.TIMING_CACHE), result.pop("timing_cache"))
    result["warnings"] = warnings + result["warnings"]
    record = dict(result, board=spec["board"], attempts=ended, memory=memory)
    return engine_file.publish(folder, os.path.join(stage, build_child.ENGINE), record)


def _keep_timing_cache(staged, path):
    """Copy beside and rename. Without a stored cache the next build is only slower."""
    if path is None:
        _say("warning: the timing cache was not stored: this user has no home folder; set XDG_CACHE_HOME")
        return
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(staged, path + ".tmp")
        os.replace(path + ".tmp", path)
    except (IOError, OSError) as error:
        _say("warning: the timing cache was not stored: %s" % (error,))


def _cache_folder():
    """Return the cache folder, shared by all bundles of this board; None if the user has no home folder."""
    caches = user_folder("XDG_CACHE_HOME", ".cache")
    return os.path.join(caches, "edgedistill", "timing") if caches else None


def _say(text):
    _show("build: %s\n" % (text,))


def _show(text):
    sys.stderr.write(text)
    sys.stderr.flush()
