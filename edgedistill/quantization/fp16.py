"""The FP16 twin of a float model, for the accuracy ladder on this computer.

TensorRT makes its own FP16 engine from the float file; this file only shows what rounding to
FP16 costs. CPU kernels may sum in FP32, so an accumulator that overflows on the board may not
show here.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgedistill.core.files import write_bytes


def fp16_from_onnx(path: Path, out_path: Path) -> None:
    """Weights and activations in float16, input and output kept float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one per weight below float16's smallest
        half = convert_float_to_float16(onnx.load(str(path)), keep_io_types=True)
    write_bytes(out_path, half.SerializeToString(deterministic=True))
