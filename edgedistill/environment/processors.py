"""The processors of this computer that this process may use."""

from __future__ import annotations

import os
from pathlib import Path

from edgedistill.environment.control_groups import group_folders


def usable_cores() -> int:
    """Cores of this process's affinity mask, all of the computer's where the system has none; no more than the quota of
    its control groups, which is what a container with limited CPUs has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(min(_quotas(), default=cores))))


def _quotas() -> list[float]:
    """In cores: of the process's control groups and of those above."""
    quotas = [_quota_in(folder) for folder in group_folders("cpu")]
    return [quota for quota in quotas if quota is not None]


def _quota_in(folder: Path) -> float | None:
    """Of one control group, version 2 or 1; None where there is no limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no limit
        return None
