"""The device code of this computer, as it travels: sources and units, nothing compiled."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import calibration
import jetson
from edgedistill.run_folder import sha256_of

PACKAGES = (jetson, calibration)


def copy_device_code(folder: Path) -> None:
    """Make jetson/ and calibration/ in a folder."""
    for package in PACKAGES:
        root = Path(package.__file__).parent
        for source in _sources(root):
            copy = folder / package.__name__ / source.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)


def device_code_sha256() -> str:
    """One hash over names and contents of what `copy_device_code` copies."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        root = Path(package.__file__).parent
        for source in _sources(root):
            name = f"{package.__name__}/{source.relative_to(root)}"
            digest.update(f"{sha256_of(source)}  {name}\n".encode())
    return digest.hexdigest()


def _sources(package: Path) -> list[Path]:
    return sorted([*package.rglob("*.py"), *package.rglob("*.service")])
