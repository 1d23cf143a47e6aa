"""ONNX Runtime on this computer: every export is proved in it, so there is nothing more to check."""

from __future__ import annotations

from edgedistill.onnx_model.backends import Backend


class OnnxRuntime(Backend):
    name, title = "onnxruntime", "ONNX Runtime"


BACKEND = OnnxRuntime()
