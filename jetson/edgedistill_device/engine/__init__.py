"""TensorRT engines: build, precision, runners, verify."""
