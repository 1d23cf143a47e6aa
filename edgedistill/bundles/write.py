"""Write a bundle: what the board needs, its own device code included."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgedistill.bundles.device_code import copy_device_code
from edgedistill.bundles.golden import pixels_only
from edgedistill.bundles.keys import KeyInfo
from edgedistill.bundles.serials import numbered
from edgedistill.config.target import Target
from edgedistill.core.files import sha256_of, write_bytes, write_json
from edgedistill.data.shards import read_bytes
from edgedistill.errors import BundleError
from edgedistill.onnx_model.exported_file import INPUT, OUTPUT
from edgedistill_device.errors import ManifestError
from edgedistill_device.inference.gallery import NAME as GALLERY
from edgedistill_device.manifest import NAME, VERSION, Manifest, write_manifest
from edgedistill_device.preprocess_spec import Preprocess
from edgedistill_device.value_spec import Value

# Largest logit difference over the largest logit. fp32: kernels sum in another order. fp16: 10
# mantissa bits through some 50 layers. int8: see stages/bundle.py.
TOLERANCE = {"fp32": 1e-3, "fp16": 3e-2}
# Smallest cosine of an embedding with the workstation's of the same image, for the same reasons; int8: as above.
LEAST_COSINE = {"fp32": 0.9999, "fp16": 0.995}


class Golden(NamedTuple):
    """Images with the workstation's outputs, which the board's are compared with.

    Attributes:
        images: n image files or shard members; only their pixels are put into the bundle.
        inputs: (n, H, W, 3) uint8, those images as the workstation framed them.
        logits: (n, classes) float32 of the workstation's ONNX Runtime.
        labels: (n,) int; (n, K) float of a regression, in their units.
    """

    images: list[Path]
    inputs: np.ndarray
    logits: np.ndarray
    labels: np.ndarray


def write_bundle(
    out: Path,
    *,
    onnx: dict[str, Path],
    amax: dict[str, float] | None,
    classes: list[str],
    preprocess: Preprocess,
    golden: Golden,
    before: Path,
    model: str,
    target: Target,
    precision_requested: str,
    tolerance: dict[str, float],
    latency_budget_ms: float | None,
    memory_budget_mib: float | None,
    task: str,
    values: tuple[Value, ...],
    provenance: dict[str, Any],
    documents: dict[str, str],
    key: KeyInfo | None,
    gallery: Path | None = None,
) -> dict[str, Any]:
    """Fill the folder `out`, manifest last. Equal inputs give equal bytes.

    Args:
        onnx: name in the bundle -> file: see edgedistill_device.manifest.
        golden: what the board is compared with.
        before: the bundle that this one replaces, if it is there: equal content keeps its serial.
        tolerance: precision -> largest logit difference over the largest logit.
        latency_budget_ms: median from the image file that the board's health check allows.
        memory_budget_mib: what the process may take there; the board plans its build by it.
        task: name of a `config.task.Task`; the board runs those of `edgedistill_device.manifest.TASKS`.
        values: what the outputs of a regression are; none of classes.
        documents: further files, name -> text, for people.
        key: what will sign it, whose serials rise; None when nothing does.
        gallery: file of `edgedistill_device.inference.gallery`, of an embedding.

    Returns:
        file_count, bytes, onnx_bytes (of each ONNX file), manifest_sha256, serial.

    Raises:
        BundleError: what was written does not agree with its own manifest, or its serial does not rise.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name, path in onnx.items():
        shutil.copyfile(path, out / name)
    if gallery is not None:
        shutil.copyfile(gallery, out / GALLERY)
    if amax is not None:
        write_json(out / "calibration.json", amax)
    texts = {"classes.txt": "".join(f"{name}\n" for name in classes), **documents}
    for name, text in texts.items():
        write_bytes(out / name, text.encode())
    _write_golden(out / "golden", golden)
    copy_device_code(out)
    manifest = Manifest(
        VERSION,
        0,
        model,
        target.name,
        target.sm,
        target.tensorrt,
        precision_requested,
        INPUT,
        OUTPUT,
        (1, 3, *preprocess.size),
        tuple(classes),
        preprocess,
        tolerance,
        latency_budget_ms,
        memory_budget_mib,
        task,
        values,
        provenance,
        files={},
    )
    return _facts(out, _write_numbered(out, manifest, before, key))


def _facts(bundle: Path, serial: int) -> dict[str, Any]:
    sizes = [path.stat().st_size for path in bundle.rglob("*") if path.is_file()]
    return {
        "file_count": len(sizes),
        "bytes": sum(sizes),
        "onnx_bytes": {path.name: path.stat().st_size for path in sorted(bundle.glob("*.onnx"))},
        "manifest_sha256": sha256_of(bundle / NAME),
        "serial": serial,
    }


def _write_golden(folder: Path, golden: Golden) -> None:
    (folder / "images").mkdir(parents=True)
    for number, path in enumerate(golden.images):
        content, suffix = pixels_only(read_bytes(path), str(path))
        (folder / "images" / f"{number:04d}{suffix}").write_bytes(content)
    np.save(folder / "inputs.npy", golden.inputs)
    np.save(folder / "logits.npy", golden.logits)
    write_json(folder / "labels.json", golden.labels.tolist())


def _write_numbered(out: Path, manifest: Manifest, before: Path, key: KeyInfo | None) -> int:
    def write(serial: int) -> bytes:
        write_manifest(str(out), manifest._replace(serial=serial))
        return (out / NAME).read_bytes()

    try:
        return numbered(write, before, key)
    except ManifestError as error:
        raise BundleError(f"the bundle does not agree with its manifest: {error}") from None
