"""The processors of this computer that this process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores of this process's affinity mask; all of the computer's where the system has none."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
