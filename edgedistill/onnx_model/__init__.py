"""ONNX that a board's TensorRT parses: export, counts, pre-flight."""
