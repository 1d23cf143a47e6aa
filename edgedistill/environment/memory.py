"""The memory of this process, and of this computer what it may still take."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

from edgedistill.environment.control_groups import group_folders

_SYSTEM, _OWN = Path("/proc/meminfo"), Path("/proc/self/status")


def available_memory_bytes() -> int | None:
    """What the system has, or less where a control group (version 2) of this process or one above has less left; None
    where the system does not tell."""
    available = _bytes_in(_SYSTEM, "MemAvailable")
    return None if available is None else min([available, *_left_in_groups()])


def peak_memory_bytes() -> int:
    """The most that this process has held, since it runs this program.

    `ru_maxrss` outlives `exec`, so that it is that of a larger process which started this one: it is the second choice.

    Source: the Linux man-pages, getrusage(2) and proc_pid_status(5), VmHWM.
    """
    held = _bytes_in(_OWN, "VmHWM")
    if held is not None:
        return held
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return unit_bytes * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _bytes_in(file: Path, key: str) -> int | None:
    """The line `KEY: N kB`; None where the system has no such file or line."""
    try:
        match = re.search(rf"^{key}:\s+(\d+) kB$", file.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    except OSError:
        return None
    return 1024 * int(match.group(1)) if match else None


def _left_in_groups() -> list[int]:
    left = [_left_in(folder) for folder in group_folders("memory")]
    return [bytes_left for bytes_left in left if bytes_left is not None]


def _left_in(folder: Path) -> int | None:
    """Files that are cached count as free: the system drops them when memory is short."""
    try:
        limit, used = (int((folder / f"memory.{name}").read_text()) for name in ("max", "current"))
        cached = re.search(r"^inactive_file (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):  # "max" is no limit
        return None
    return max(0, limit - used + (int(cached.group(1)) if cached else 0))
