"""What stage `bundle` hands over: the identity of the bundle."""

from __future__ import annotations

from typing import ClassVar

from edgedistill.records.base import ArtifactRecord


class BundleRecord(ArtifactRecord):
    """The folder `bundle` in the stage's folder."""

    stage: ClassVar[str] = "bundle"

    file_count: int
    bytes: int
    onnx_bytes: dict[str, int] = {}
    """Size of each ONNX file, by name; absent of older releases."""
    manifest_sha256: str
    serial: int
    """Larger than that of every bundle made before."""
    signed: bool
    key_id: str | None
    target: str
    precision_requested: str
