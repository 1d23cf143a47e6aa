"""INT8 and FP16 from a float ONNX file, and what they cost in accuracy."""
