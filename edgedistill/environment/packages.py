"""Which packages this installation runs on, with versions: for provenance, and for an audit."""

from __future__ import annotations

import contextlib
import platform
import re
from functools import cache
from importlib import metadata
from typing import Any

from edgedistill.environment.requirements import EXTRAS, PACKAGES


def packages() -> dict[str, str]:
    """{name: version} of edgedistill's own requirements, without theirs."""
    versions: dict[str, str] = {}
    for row in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[row.name] = metadata.version(row.name)
    return versions


def dependencies() -> dict[str, Any]:
    """What is installed of edgedistill's requirements, and of theirs, as far as they go.

    Nothing is asked of the network: whether a version has a known weakness changes from day to
    day, the list does not.

    Returns:
        python; packages {normalised name: version}, sorted; audit: the command that looks them up.
    """
    return {
        "python": platform.python_version(),
        "packages": dict(_installed()),
        "audit": "pip-audit --no-deps --requirement FILE, with a line name==version for each package",
    }


@cache  # about 130 files are read for it
def _installed() -> tuple[tuple[str, str], ...]:
    """(normalised name, version) of all, sorted."""
    versions: dict[str, str] = {}
    waiting = [row.name for row in (*PACKAGES, *EXTRAS)]
    while waiting:
        name = _normalised(waiting.pop())
        if name in versions:
            continue
        try:
            stated = metadata.distribution(name).metadata
        except metadata.PackageNotFoundError:
            continue
        versions[name] = stated["Version"]
        waiting += [_name_of(line) for line in stated.get_all("Requires-Dist", []) if "extra ==" not in line]
    return tuple(sorted(versions.items()))


def audit_lines(listed: dict[str, Any]) -> str:
    """`dependencies()` as that FILE."""
    return "".join(f"{name}=={version}\n" for name, version in listed["packages"].items())


def _name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def _normalised(name: str) -> str:
    """PyPI's one spelling of a name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
