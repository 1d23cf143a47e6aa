"""A bundle as an OCI image layout: one layer, and that layer is the bundle's archive as it is.

Source: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md. No clock, so equal
bundles give equal digests. The layer is a plain tar, so its digest is also its diff id.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgedistill.bundles.archive import write_archive
from edgedistill.core.files import sha256_of_bytes
from edgedistill_device.manifest import NAME, id_of, manifest_from_bytes

_TYPE = "application/vnd.oci.image."


def write_layout(bundle: Path, out: Path) -> dict[str, Any]:
    """Fill the new folder `out`; the image's tag is the bundle's id.

    Returns:
        digest of the image's manifest, tag.

    Raises:
        BundleError: not signed, or not what its manifest says.
    """
    blobs = out / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layer = write_archive(bundle, out / "layer")
    (out / "layer").rename(blobs / layer["sha256"])
    content = (bundle / NAME).read_bytes()
    manifest, tag = manifest_from_bytes(content), id_of(content)
    about = {
        "org.opencontainers.image.title": manifest.model,
        "org.opencontainers.image.version": str(manifest.serial),
        "edgedistill.config.target": manifest.target,
    }
    config = _blob(
        blobs,
        f"{_TYPE}config.v1+json",
        {
            "architecture": "arm64",  # every Jetson's
            "os": "linux",
            "config": {"Labels": about},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer['sha256']}"]},
        },
    )
    image = _blob(
        blobs,
        f"{_TYPE}manifest.v1+json",
        {
            "schemaVersion": 2,
            "mediaType": f"{_TYPE}manifest.v1+json",
            "config": config,
            "layers": [
                {"mediaType": f"{_TYPE}layer.v1.tar", "digest": f"sha256:{layer['sha256']}", "size": layer["bytes"]}
            ],
            "annotations": about,
        },
    )
    named = {**image, "annotations": {"org.opencontainers.image.ref.name": tag}}
    (out / "index.json").write_bytes(
        _bytes({"schemaVersion": 2, "mediaType": f"{_TYPE}index.v1+json", "manifests": [named]})
    )
    (out / "oci-layout").write_bytes(_bytes({"imageLayoutVersion": "1.0.0"}))
    return {"digest": image["digest"], "tag": tag}


def _blob(blobs: Path, media_type: str, value: dict[str, Any]) -> dict[str, Any]:
    """Store JSON under its digest; returns the descriptor that points at it."""
    content = _bytes(value)
    digest = sha256_of_bytes(content)
    (blobs / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _bytes(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
