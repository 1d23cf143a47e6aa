"""INT8 and FP16 from a float ONNX file."""

from edgedistill.callable_module import call_as_verb

call_as_verb(__name__)
