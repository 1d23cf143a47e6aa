"""What every file that this project exports has: its tensors' names, and its preprocessing as metadata. No torch."""

from __future__ import annotations

import json
from pathlib import Path

import onnx

from edgedistill.errors import ExportError
from edgedistill_device.preprocess_spec import Preprocess, preprocess_from_dict

INPUT, OUTPUT = "image", "logits"


def preprocess_from_onnx(path: Path) -> Preprocess:
    """How images become this file's input, from its metadata.

    Raises:
        ExportError: not exported by this project.
    """
    model = onnx.load(str(path), load_external_data=False)
    stored = {entry.key: entry.value for entry in model.metadata_props}
    try:
        return preprocess_from_dict(json.loads(stored["preprocess"]))
    except (KeyError, ValueError) as error:
        raise ExportError(f"{path.name}: its metadata has no preprocessing of ours: {error}") from None
