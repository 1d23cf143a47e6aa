"""What every file that this project exports has: its tensors' names, and its preprocessing as metadata. No torch."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from edgedistill.config.task import CLASSIFICATION, REGRESSION, Task, labels_task
from edgedistill.errors import ExportError
from edgedistill_device.preprocess_spec import Preprocess, preprocess_from_dict
from edgedistill_device.value_spec import Value, value_from_json

INPUT, OUTPUT = "image", "logits"


def preprocess_from_onnx(path: Path) -> Preprocess:
    """How images become this file's input, from its metadata.

    Raises:
        ExportError: not exported by this project.
    """
    stored = metadata_from_onnx(path)
    try:
        return preprocess_from_dict(json.loads(stored["preprocess"]))
    except (KeyError, ValueError) as error:
        raise ExportError(f"{path.name}: its metadata has no preprocessing that edgedistill wrote: {error}") from None


def classes_from_onnx(path: Path) -> tuple[str, ...]:
    """Names of this file's classes, from its metadata; index = logit position.

    Raises:
        ExportError: not exported by this project.
    """
    stored = metadata_from_onnx(path)
    try:
        classes = json.loads(stored["classes"])
    except (KeyError, ValueError, RecursionError) as error:
        raise ExportError(f"{path.name}: its metadata has no classes that edgedistill wrote: {error}") from None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ExportError(f"{path.name}: its metadata has no list of class names")
    return tuple(classes)


def values_from_onnx(path: Path) -> tuple[Value, ...]:
    """What this file's outputs are where they are figures, from its metadata; none of classes.

    Raises:
        ExportError: not exported by this project.
    """
    stored = metadata_from_onnx(path)
    try:
        return tuple(value_from_json(row) for row in json.loads(stored.get("values", "[]")))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ExportError(f"{path.name}: its metadata has no values that edgedistill wrote: {error}") from None


def task_from_onnx(path: Path) -> Task:
    """What this file's outputs mean, from its metadata.

    Raises:
        ExportError: of a release that has other tasks.
    """
    stored = metadata_from_onnx(path)
    name = stored.get("task", REGRESSION.name if "values" in stored else CLASSIFICATION.name)
    try:
        return labels_task(name)
    except KeyError:
        raise ExportError(f"{path.name}: exported for the task {name!r}, which this release does not have") from None


def metadata_from_onnx(path: Path) -> dict[str, str]:
    """What is written into the file beside its network.

    Raises:
        ExportError: not readable.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError as error:
        raise ExportError(f"{path}: not a readable ONNX file: {error}; export it again") from None
    return {entry.key: entry.value for entry in model.metadata_props}
