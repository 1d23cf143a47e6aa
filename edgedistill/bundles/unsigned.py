"""A bundle around one ONNX file, for timing only: random images, and the outputs of ONNX Runtime on this computer.

Its verify compares the board's outputs with this computer's and says nothing of accuracy. It is not
signed, so no board serves it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx

from edgedistill.bundles.device_code import copy_device_code
from edgedistill.bundles.write import TOLERANCE
from edgedistill.config.task import CLASSIFICATION
from edgedistill.core.files import write_json
from edgedistill.errors import BundleError
from edgedistill.onnx_model.session import OnnxSession
from edgedistill_device.decode import read_image
from edgedistill_device.manifest import VERSION, Manifest, write_manifest
from edgedistill_device.preprocess import resize_box, to_input, view
from edgedistill_device.preprocess_spec import Preprocess, preprocess_from_dict

IMAGES = 4
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def write_throwaway(model: Path, out: Path, precision: str) -> Manifest:
    """
    Args:
        model: one input (1, 3, H, W) float32, one output (1, classes).
        out: folder to make.
        precision: fp32 or fp16, asked of the board.

    Raises:
        BundleError: another kind of network.
        ExportError: ONNX Runtime does not take it.
    """
    name, output, size, classes, metadata = _signature(model)
    stored = metadata.get("preprocess")
    spec = preprocess_from_dict(json.loads(stored)) if stored else Preprocess(size, min(size), "area", *_IMAGENET)
    images = out / "golden" / "images"
    images.mkdir(parents=True)
    shutil.copyfile(model, out / "model.onnx")
    rng = np.random.default_rng(0)
    inputs = []
    for number in range(IMAGES):
        path = images / f"{number:04d}.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (*resize_box(spec.size, spec.resize_px), 3), dtype=np.uint8))
        inputs.append(view(read_image(path, spec.sixteen_bit), spec))
    with OnnxSession(model) as session:
        logits = session.logits(np.concatenate([to_input(image, spec) for image in inputs]))
    np.save(out / "golden" / "inputs.npy", np.stack(inputs))
    np.save(out / "golden" / "logits.npy", logits.astype(np.float32))
    write_json(out / "golden" / "labels.json", [int(best) for best in logits.argmax(1)])
    copy_device_code(out)
    manifest = Manifest(
        VERSION,
        0,
        model.stem,
        "any",
        0,
        "",
        precision,
        name,
        output,
        (1, 3, *size),
        tuple(str(number) for number in range(classes)),
        spec,
        {**TOLERANCE, "int8": 1.0},
        None,
        None,
        CLASSIFICATION.name,
        (),
        {"goldens": "random images, outputs of ONNX Runtime: for timing only"},
        files={},
    )
    return write_manifest(str(out), manifest)


def _signature(model: Path) -> tuple[str, str, tuple[int, int], int, dict[str, str]]:
    """(input, output, (height, width), classes, metadata) of a network that this can time."""
    try:
        loaded = onnx.load(str(model), load_external_data=False)
    except Exception as error:  # protobuf's, onnx's and the system's share no base
        raise BundleError(f"{model}: not a readable ONNX file: {error}") from None
    weights = {tensor.name for tensor in loaded.graph.initializer}
    inputs = [value for value in loaded.graph.input if value.name not in weights]
    shapes = [_shape(value) for value in (*inputs, *loaded.graph.output)]
    fits = len(shapes) == 2 and len(shapes[0]) == 4 and len(shapes[1]) == 2 and len(inputs) == 1
    if not fits or shapes[0][:2] != [1, 3] or shapes[1][0] != 1 or 0 in sum(shapes, []):
        raise BundleError(
            f"{model}: expected one input (1, 3, H, W) and one output (1, classes), all static, got "
            f"{shapes} (0: not static)"
        )
    metadata = {entry.key: entry.value for entry in loaded.metadata_props}
    return inputs[0].name, loaded.graph.output[0].name, (shapes[0][2], shapes[0][3]), shapes[1][1], metadata


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    return [size.dim_value for size in value.type.tensor_type.shape.dim]
