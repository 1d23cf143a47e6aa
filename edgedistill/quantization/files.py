"""The ONNX file of each precision that a board can execute, and its logits on this computer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgedistill.onnx_model.session import OnnxSession
from edgedistill.quantization.fp16 import logits_in_fp16
from edgedistill.records.layout import FP16, INT8, TYPED_INT8
from edgedistill.records.quantization import TypedFile

STEPS = {"fp32": "onnx", "fp16": "fp16", "int8": "int8"}  # precision -> its step of the ladder and of TEST_LOGITS


def precision_files(student: Path, quantized: Path, typed: list[TypedFile]) -> dict[str, Path]:
    """Precision -> the file that the board builds it from.

    Args:
        student: float ONNX.
        quantized: folder of stage `quantize`.
        typed: proofs of its files with typed tensors.
    """
    has_typed = any(file.precision == "int8" and file.passed for file in typed)
    return {"fp32": student, "fp16": quantized / FP16, "int8": quantized / (TYPED_INT8 if has_typed else INT8)}


def logits_of_file(path: Path, inputs: Iterable[np.ndarray]) -> np.ndarray:
    """(N, C) float32 logits of one of those files; inputs: (3, H, W) float32 each."""
    if path.name in (FP16, TYPED_INT8):
        return logits_in_fp16(path, inputs)
    with OnnxSession(path) as session:
        return session.logits(inputs)
