"""The control groups of this process, in which a container has its limits."""

from __future__ import annotations

from pathlib import Path

_OF_PROCESS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def group_folders(controller: str) -> list[Path]:
    """Of the groups of this process with that controller and of those above, as far as this process sees them; of
    version 2, and of version 1 where the system has that. Empty where there are none."""
    try:
        lines = _OF_PROCESS.read_text().splitlines()
    except OSError:  # no Linux
        return []
    folders = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _GROUPS / controllers
        folder = root / group.lstrip("/")
        folders += [place for place in (folder, *folder.parents) if place.is_relative_to(root)]
    return folders
