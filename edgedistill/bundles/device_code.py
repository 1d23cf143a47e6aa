"""The device code that bundles and agents carry: sources and units, nothing compiled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import edgedistill_calibration
import edgedistill_device
from edgedistill.core.files import sha256_of_bytes

PACKAGES = (edgedistill_device, edgedistill_calibration)
# `python3 -m jetson` was the word of version 0.1: agents and units on enrolled boards still say it to a new bundle.
# A regular package, because a namespace package would give way to jetson-inference's `jetson`.
_OLD_WORD = {
    "jetson/__init__.py": """# The word of edgedistill 0.1 for `python3 -m edgedistill_device`.
import edgedistill_device

edgedistill_device.remove_cache_of(__spec__)
""",
    "jetson/__main__.py": """import runpy

runpy.run_module("edgedistill_device", run_name="__main__", alter_sys=True)
""",
}


def package_in(folder: Path) -> str:
    """Name of the device package in a bundle; version 0.1 called it `jetson`."""
    return "edgedistill_device" if (folder / "edgedistill_device").is_dir() else "jetson"


def copy_device_code(folder: Path) -> None:
    """Copy edgedistill_device/ and edgedistill_calibration/ into a folder, and jetson/ for older releases' command."""
    for name, content in _files():
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)


def device_code_sha256() -> str:
    """One hash over names and contents of what `copy_device_code` copies."""
    return sha256_of_bytes("".join(f"{sha256_of_bytes(content)}  {name}\n" for name, content in _files()).encode())


def _files() -> Iterator[tuple[str, bytes]]:
    """Name below the folder, content."""
    for package in PACKAGES:
        root = Path(package.__path__[0])
        for source in sorted([*root.rglob("*.py"), *root.rglob("*.service")]):
            yield f"{package.__name__}/{source.relative_to(root)}", source.read_bytes()
    for name, text in _OLD_WORD.items():
        yield name, text.encode()
