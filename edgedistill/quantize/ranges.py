"""Activation ranges: every float tensor of the model, image by image, in constant memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx

from calibration.histogram import Histogram
from calibration.scales import amax_minmax, amax_mse, amax_percentile
from edgedistill.errors import QuantizeError
from edgedistill.onnx_model.session import OnnxSession


def amax_from_model(
    path: Path, images: Iterable[np.ndarray], threshold: str, percentile: float
) -> dict[str, float]:
    """Largest |x| to keep, for the input and every float activation.

    Args:
        path: float ONNX file.
        images: (1, 3, H, W) float32 each; streamed, none is kept.
        threshold: `mse`, `minmax` or `percentile`.
        percentile: of |x|, used by `percentile`.

    Returns:
        {tensor name: amax}, as `calibration/` stores it.

    Raises:
        QuantizeError: no images, or a tensor that is NaN or infinite.
    """
    rules = {"mse": amax_mse, "minmax": amax_minmax,
             "percentile": lambda histogram: amax_percentile(histogram, percentile)}  # fmt: skip
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    names = _float_activations(model)
    source = model.graph.input[0].name
    histograms = {name: Histogram() for name in (source, *names)}
    seen = 0
    with tempfile.TemporaryDirectory() as folder:
        exposed = Path(folder) / "exposed.onnx"
        onnx.save(_with_outputs(model, names), str(exposed))
        with OnnxSession(exposed, names) as session:
            for image in images:
                values = {source: image, **dict(zip(names, session.run(image), strict=True))}
                for name, found in values.items():
                    _add(histograms[name], found, name, seen)
                seen += 1
    if not seen:
        raise QuantizeError("expected calibration images, got none")
    return {name: float(rules[threshold](histogram)) for name, histogram in histograms.items()}


def _add(histogram: Histogram, values: np.ndarray, name: str, image: int) -> None:
    try:
        histogram.add(values)
    except ValueError as error:
        raise QuantizeError(f"calibration image {image}: tensor {name}: {error}") from None


def _float_activations(model: onnx.ModelProto) -> list[str]:
    kinds = {value.name: value.type.tensor_type.elem_type
             for value in (*model.graph.value_info, *model.graph.output)}  # fmt: skip
    made = [name for node in model.graph.node for name in node.output]
    return [name for name in made if kinds.get(name) == onnx.TensorProto.FLOAT]


def _with_outputs(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    known = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    del exposed.graph.output[:]
    exposed.graph.output.extend([known[name] for name in names])
    return exposed
