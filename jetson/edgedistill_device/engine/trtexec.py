"""The board's own trtexec on the same engine, beside our figures. It checks no output."""

import os
import re
import shutil
import subprocess

FOLDER = "/usr/src/tensorrt/bin"  # where JetPack puts it, outside PATH
TIMEOUT_S = 120
_SCOPES = {
    "Latency": "latency_ms",
    "GPU Compute Time": "compute_ms",
    "H2D Latency": "host_to_device_ms",
    "D2H Latency": "device_to_host_ms",
    "Enqueue Time": "enqueue_ms",
}
_NUMBER = r"(\d+(?:\.\d*)?(?:e[+-]?\d+)?)"
_VALUE = r"\b(\w+(?:\(\d+%\))?) = " + _NUMBER + " ms"


def summary_from_text(text):
    """trtexec's performance summary, TensorRT 8 to 11.

    Returns:
        None without one; else throughput_qps, and of latency_ms (H2D + compute + D2H), compute_ms,
        host_to_device_ms, device_to_host_ms and enqueue_ms those that it printed, each with
        min_ms, max_ms, mean_ms, p50_ms (its median) and the percentiles of that release; warnings,
        what it says after `[W] *`; enqueue_bound, whether one is that queueing the kernels takes
        longer than the kernels: then the GPU waits for the CPU, and compute_ms is no limit.
    """
    throughput = re.search(r"\bThroughput: " + _NUMBER + " qps", text)
    if not throughput:
        return None
    summary = {"throughput_qps": float(throughput.group(1))}
    for title, values in re.findall(r"\] ([A-Z][\w ]+): (min = .+)$", text, re.MULTILINE):
        if title in _SCOPES:
            summary[_SCOPES[title]] = {_key(name): float(value) for name, value in re.findall(_VALUE, values)}
    summary["warnings"] = re.findall(r"^\[[^\]]*\] \[W\] \* (.+?)\s*$", text, re.MULTILINE)
    summary["enqueue_bound"] = any("bound by Enqueue Time" in line for line in summary["warnings"])
    return summary


def compare(engine):
    """Run trtexec on an engine file for its own 3 seconds after its own warm-up.

    Args:
        engine: path, or None when the runner has no engine.

    Returns:
        {"summary": of `summary_from_text` or None, "reason": why there is none, or None,
        "command": what ran, or None}.
    """
    if engine is None:
        return _without("this backend has no TensorRT engine")
    program = os.path.join(FOLDER, "trtexec")
    if not os.access(program, os.X_OK):
        program = shutil.which("trtexec")
    if program is None:
        return _without("no trtexec in %s or on PATH" % (FOLDER,))
    command = [program, "--loadEngine=%s" % (engine,), "--percentile=99"]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            errors="replace",
        )
    except OSError as error:
        return _without("trtexec: %s" % (error.strerror,))
    try:
        text = process.communicate(timeout=TIMEOUT_S)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return _without("trtexec took more than %d s" % (TIMEOUT_S,))
    summary = summary_from_text(text)
    if process.returncode != 0 or summary is None:
        errors = [line for line in text.splitlines() if "[E]" in line] or ["no summary"]
        return _without("trtexec, exit code %d: %s" % (process.returncode, errors[-1].strip()))
    return {"summary": summary, "reason": None, "command": " ".join(command[1:])}


def _key(name):
    percentile = re.match(r"percentile\((\d+)%\)", name)
    if percentile:
        return "p%s_ms" % percentile.group(1)
    return {"median": "p50_ms"}.get(name, name + "_ms")


def _without(reason):
    return {"summary": None, "reason": reason, "command": None}
