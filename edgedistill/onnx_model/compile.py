"""Ask a real TensorRT whether it parses and builds a file. It is this computer's, not the board's.

TensorRT for RTX accepts what 8.2 refuses (Conv biases behind an Identity, for one), so this adds to
the pre-flight and does not replace it.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgedistill.core.text import printable_values
from edgedistill.environment.own_modules import module_command, module_environment
from edgedistill.environment.requirements import install_command
from edgedistill.errors import PreflightError

COMPILERS = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}  # the first that is here
LIMIT_SECONDS, LIMIT_MIB = 300.0, 4096
_CHILD = "edgedistill.onnx_model.compile_child"
_PAUSE_SECONDS = 0.02


def compiler_here() -> str | None:
    """Module name of the compiler that would be asked."""
    return next((name for name in COMPILERS if find_spec(name) is not None), None)


def compile_onnx(
    path: Path, limit_seconds: float = LIMIT_SECONDS, limit_mib: int = LIMIT_MIB, only_parse: bool = False
) -> dict[str, Any]:
    """Parse and build in a child process.

    Args:
        only_parse: ask the parser and build nothing, which takes a second.

    Returns:
        compiler, version, verdict ("builds", "the parser takes it", "refused by the parser", "refused by the builder",
        "stopped: ..." at a limit, "crashed: ..."), said (its complaints), engine_bytes, seconds,
        peak_mib, basis.

    Raises:
        PreflightError: no compiler is installed.
    """
    name = compiler_here()
    if name is None:
        raise PreflightError(
            f"no TensorRT on this computer to ask; {install_command('tensorrt-rtx')}, or check without --compile"
        )
    command = module_command(_CHILD, name, str(path), *(["parse"] if only_parse else []))
    child = watched(command, limit_seconds, limit_mib)
    result = {"version": None, "said": [], "engine_bytes": None, "verdict": child["stopped"]}
    if child["stopped"] is None:
        try:
            result = json.loads(child["stdout"].splitlines()[-1])
        except (IndexError, ValueError):
            last = (child["stderr"].strip().splitlines() or ["nothing"])[-1]
            result["verdict"] = f"crashed: exit code {child['returncode']}, it said: {last[:300]}"
    return {
        "compiler": COMPILERS[name],
        **printable_values(result),
        "seconds": round(child["seconds"], 3),
        "peak_mib": child["peak_mib"],
        "basis": "a compiler on this computer; not the board's parser, which may refuse what this one takes",
    }


def watched(command: list[str], limit_seconds: float, limit_mib: int) -> dict[str, Any]:
    """Run a process under a limit of time and of resident memory.

    RLIMIT_AS would count the address space that CUDA reserves and never uses, so the resident set
    is looked at instead; a child that takes all in less than the pause between two looks escapes.

    Returns:
        returncode, stopped (why, or None), stdout, stderr, seconds, peak_mib.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started, peak, stopped = time.monotonic(), 0.0, None
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=module_environment())
        try:
            while child.poll() is None:
                peak = max(peak, _resident_mib(child.pid))
                if peak > limit_mib:
                    stopped = f"stopped: out of memory, more than {limit_mib} MiB"
                elif time.monotonic() - started > limit_seconds:
                    stopped = f"stopped: out of time, more than {limit_seconds:g} s"
                if stopped:
                    break
                time.sleep(_PAUSE_SECONDS)
        finally:
            child.kill()
            child.wait()
        seconds = time.monotonic() - started
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    return {
        "returncode": child.returncode,
        "stopped": stopped,
        "stdout": texts[0],
        "stderr": texts[1],
        "seconds": seconds,
        "peak_mib": round(peak),
    }


def _resident_mib(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except (OSError, ValueError):  # it just ended
        return 0.0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if len(fields) > 1 else 0.0
