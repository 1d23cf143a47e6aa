"""Write a bundle as one file, equal bundles as equal bytes; the format is in edgedistill_device/releases/archive.py."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgedistill.core.files import sha256_of, whole_file
from edgedistill.errors import BundleError
from edgedistill_device.errors import ManifestError
from edgedistill_device.manifest import NAME, SIGNATURE, manifest_from_bytes, read_manifest
from edgedistill_device.releases.archive import END, SUFFIX, Source, extract, head_of, header, padding

_PIECE = 1 << 20


def write_archive(bundle: Path, out: Path) -> dict[str, Any]:
    """Write `out`, whole or not at all.

    Args:
        bundle: a signed bundle; files that its manifest does not list stay behind.
        out: the file, `NAME.edb.tar`.

    Returns:
        bytes, sha256.

    Raises:
        BundleError: not signed, or not what its manifest says.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with whole_file(out) as file:
            for piece in _pieces(bundle):
                file.write(piece)
    except ManifestError as error:
        raise BundleError(f"{bundle}: {error}") from None
    return {"bytes": out.stat().st_size, "sha256": sha256_of(out)}


def unpack_archive(archive: Path, folder: Path) -> Path:
    """Unpack an archive into a bundle's folder. The board checks the signer.

    Args:
        archive: of `write_archive`.
        folder: a new folder in it is the bundle.

    Returns:
        The bundle.

    Raises:
        BundleError: not an archive of a bundle, or not what its manifest says.
    """
    bundle = folder / archive.name.removesuffix(SUFFIX)
    bundle.mkdir()
    try:
        with open(archive, "rb") as file:
            source = Source(file)
            content, signature = head_of(source)
            (bundle / NAME).write_bytes(content)
            (bundle / SIGNATURE).write_bytes(signature)
            extract(source, manifest_from_bytes(content), str(bundle))
    except (ManifestError, OSError) as error:
        shutil.rmtree(bundle)
        raise BundleError(f"{archive}: {error}") from None
    return bundle


def require_signature(bundle: Path) -> None:
    """Raise BundleError unless the bundle has a signature; the board checks the signer."""
    if not (bundle / SIGNATURE).is_file():
        raise BundleError(
            f"{bundle} is not signed, and a board takes only signed bundles: edgedistill keys new release, then make "
            "the bundle again with --set deploy.sign_key=release"
        )


def _pieces(bundle: Path) -> Iterator[bytes]:
    require_signature(bundle)
    files = sorted(read_manifest(bundle, compiled=True).files)
    for name in (NAME, SIGNATURE, *files):
        size = (bundle / name).stat().st_size
        yield header(name, size)
        with open(bundle / name, "rb") as file:
            yield from iter(lambda: file.read(_PIECE), b"")
        yield padding(size)
    yield END
