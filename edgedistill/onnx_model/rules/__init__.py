"""The pre-flight's rules by theme. A rule is a generator: (graph, target) -> findings.

They follow the importers' source (onnx/onnx-tensorrt; releases.toml says what was read for each release) and
the threads named beside them, not a run of the board's parser.
"""

from edgedistill.onnx_model.rules import (
    attributes,
    operators,
    parameters,
    quantization,
    tensors,
    types,
    versions,
)

RULES = (
    *versions.RULES,
    *operators.RULES,
    *attributes.RULES,
    *types.RULES,
    *parameters.RULES,
    *quantization.RULES,
    *tensors.RULES,
)
