"""ONNX that the TensorRT of a board parses: export, check, fix, proof of equality."""
