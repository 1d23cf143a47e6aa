"""A float, FP16 or INT8 ONNX file in ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np
import onnxruntime

from edgedistill.errors import ExportError


class OnnxSession:
    """`with OnnxSession(path) as session: session.logits(batch)`; one input, static batch of 1.

    Args:
        path: the file.
        outputs: names; None: all.
        content: a part of the file, as bytes, that is run in its place.
    """

    def __init__(self, path: Path, outputs: list[str] | None = None, content: bytes | None = None):
        self._path, self._outputs, self._content = path, outputs, content

    def __enter__(self) -> OnnxSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Without VNNI the sums of two products of INT8 saturate at 16 bits on x86 (microsoft/onnxruntime#12088): a
        # network that TensorRT computes exactly would look worse than it is. No effect on other processors and types.
        options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                self._content or str(self._path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exception classes share no public base
            reason = str(error).splitlines()[0]
            raise ExportError(f"{self._path.name}: ONNX Runtime does not take it: {reason}") from None
        self._input = self._session.get_inputs()[0].name
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del self._session

    def run(self, image: np.ndarray) -> list[np.ndarray]:
        """Every asked-for output for a (1, 3, H, W) float32 image."""
        return self._session.run(self._outputs, {self._input: image})

    def logits(self, batch: Iterable[np.ndarray]) -> np.ndarray:
        """(N, 3, H, W) float32 -> (N, C) float32, image by image."""
        return np.concatenate([self.run(image[np.newaxis])[0] for image in batch])
