"""Export a signed bundle: a folder, one file, or the format of an updater."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from edgedistill.bundles.archive import require_signature, write_archive
from edgedistill.bundles.mender import write_artifact
from edgedistill.bundles.oci import write_layout
from edgedistill.errors import BundleError
from edgedistill_device.errors import ManifestError
from edgedistill_device.manifest import NAME, SIGNATURE, id_of, read_manifest
from edgedistill_device.releases.archive import SUFFIX


class Format(NamedTuple):
    """One row.

    Attributes:
        suffix: of the name that is made when none was given.
        write: called with the bundle and a place that is free; returns JSON-able facts.
        mark: a file in it, when it is a folder: only a folder with this file is replaced.
    """

    suffix: str
    write: Callable[[Path, Path], dict[str, Any]]
    mark: str | None = None


def export_bundle(bundle: Path, kind: str, out: Path) -> dict[str, Any]:
    """Write a bundle as `kind`, whole or not at all.

    Args:
        bundle: signed.
        kind: a key of FORMATS.
        out: replaced when it is a file, or a folder of the same kind.

    Returns:
        JSON-able: format, path, id, and what the format adds.

    Raises:
        BundleError: not signed, not whole, or `out` is something else.
    """
    form = FORMATS[kind]
    require_signature(bundle)
    if out.is_dir() and not (form.mark and (out / form.mark).is_file()):
        raise BundleError(f"{out} is a folder, but not a {kind} that edgedistill wrote; choose another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        read_manifest(bundle, compiled=True)
        beside = out.with_name(out.name + ".partial")
        _remove(beside)
        try:
            facts = form.write(bundle, beside)
            _put_in_place(beside, out)
        finally:
            _remove(beside)
    except ManifestError as error:
        raise BundleError(f"{bundle}: {error}") from None
    except OSError as error:
        raise BundleError(f"{out}: {error.strerror or error}") from None
    return {"format": kind, "path": str(out), "id": id_of((bundle / NAME).read_bytes()), **facts}


def _copy(bundle: Path, out: Path) -> dict[str, Any]:
    names = [*read_manifest(bundle, compiled=True).files, NAME, SIGNATURE]
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle / name, out / name)
    return {"files": len(names)}


def _put_in_place(beside: Path, out: Path) -> None:
    """Replace a folder: the old one is moved aside, and moved back if this fails."""
    old = out.with_name(f".{out.name}.old")
    if out.is_dir() and not out.is_symlink():
        _remove(old)
        os.replace(out, old)
    try:
        os.replace(beside, out)
    except OSError:
        if not os.path.lexists(out) and old.exists():
            os.replace(old, out)
        raise
    _remove(old)  # also one that a kill left


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


FORMATS = {
    "folder": Format(".edb", _copy, mark=NAME),
    "archive": Format(SUFFIX, write_archive),
    "mender": Format(".mender", write_artifact),
    "oci": Format(".oci", write_layout, mark="oci-layout"),
}
