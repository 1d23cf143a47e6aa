"""Which places of an image a class's score comes from: class activation maps of an exported network. No torch.

The file is parted at the mean over all places of its last feature map, through which everything that the network says
has to pass.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import onnx
from onnx.utils import Extractor

from edgedistill.errors import ExportError
from edgedistill.onnx_model.exported_file import INPUT, OUTPUT
from edgedistill.onnx_model.findings import attribute
from edgedistill.onnx_model.session import OnnxSession

_LINEAR = frozenset(
    ("Gemm", "MatMul", "Conv", "Add", "Sub", "Mul", "Div", "BatchNormalization", "Identity", "Cast", "Dropout")
) | {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Constant", "Shape", "Gather", "Concat", "Slice"}

STEP = 1 / 512  # of the way from the mean to a place: few activations turn in it, and float32 still resolves it


class ActivationMaps:
    """`with ActivationMaps(path) as maps: logits, scores = maps.of(batch)`

    The score of a place is the logit, plus its slope from the mean towards the features of that place. Of a head that
    is linear (one layer after the mean) that is the class activation map itself: the head applied to the place's own
    features. Of a head with a layer between, as MobileNetV3's, it is that to first order: Grad-CAM without its ReLU,
    up to a constant. In both the mean of the scores is the logit.

    Attributes:
        exact: whether the head is linear.
        places: rows and columns of the last feature map.

    Raises:
        ExportError: on entering: no such mean, one of a single place, a file that ONNX Runtime does not take.

    Source: Zhou et al. 2016, arXiv:1512.04150 (class activation maps); Selvaraju et al. 2017, arXiv:1610.02391.
    """

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> ActivationMaps:
        model = onnx.shape_inference.infer_shapes(onnx.load(str(self._path)))
        features, pooled = _last_mean(model.graph, self._path.name)
        extractor = Extractor(model)
        body, head = extractor.extract_model([INPUT], [features, OUTPUT]), extractor.extract_model([pooled], [OUTPUT])
        self.exact = all(node.op_type in _LINEAR for node in head.graph.node)
        self._pooled_shape = _shapes(head.graph)[pooled]
        rows, columns = self.places = tuple(_shapes(model.graph)[features][2:])
        if rows * columns == 1:
            raise ExportError(f"{self._path.name} gives no heat maps: its last feature map has a single place")
        with ExitStack() as sessions:
            self._body, self._head = (
                sessions.enter_context(OnnxSession(self._path, content=part.SerializeToString()))
                for part in (body, head)
            )
            self._sessions = sessions.pop_all()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._sessions.close()

    def of(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """
        Args:
            batch: (1, 3, H, W) float32, the network's input.

        Returns:
            The (C,) logits, and (C, h, w) float64: every class's score of each place of the last feature map; None
            where a figure is not finite.
        """
        features, logits = self._body.run(batch)
        logits = logits.reshape(-1)
        places = features.reshape(features.shape[1], -1).T.astype(np.float64)
        if not np.isfinite(places).all() or not np.isfinite(logits).all():
            return logits, None
        mean = places.mean(axis=0)
        steps = STEP * (places - mean)
        slopes = [(self._logits(mean + step) - self._logits(mean - step)) / (2 * STEP) for step in steps]
        scores = self._logits(mean) + np.stack(slopes)
        return logits, scores.T.reshape(-1, *self.places)

    def _logits(self, pooled: np.ndarray) -> np.ndarray:
        """(F,) -> (C,) float64."""
        (logits,) = self._head.run(pooled.astype(np.float32).reshape(self._pooled_shape))
        return logits.reshape(-1).astype(np.float64)


def evidence(scores: np.ndarray, winner: int) -> np.ndarray:
    """What speaks for a class at each place: its score above the mean of all classes', at most 1.

    A softmax takes no notice of what all logits have in common, and neither does this. Each image has a scale of its
    own: its strongest place is 1, so that two images cannot be compared.

    Args:
        scores: (C, h, w), of `ActivationMaps.of`.
        winner: index of the class.

    Returns:
        (h, w) float64 in 0..1; 0 where nothing speaks for the class.
    """
    above = scores[winner] - scores.mean(axis=0)
    most = above.max()
    return np.clip(above, 0, None) / most if most > 0 else np.zeros_like(above)


def _last_mean(graph: onnx.GraphProto, name: str) -> tuple[str, str]:
    """Names of the last feature map and of its mean over all places.

    Raises:
        ExportError: there is no such mean that everything passes through.
    """
    shapes = _shapes(graph)
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    for node in reversed(graph.node):
        if _is_mean(node, shapes, constants) and not _reaches(INPUT, OUTPUT, node.output[0], makers):
            return node.input[0], node.output[0]
    raise ExportError(
        f"{name} gives no heat maps: they need a network whose last feature map is averaged over all its places before "
        "the class is told, and this one has no such mean"
    )


def _is_mean(node: onnx.NodeProto, shapes: dict[str, list[int]], constants: dict[str, np.ndarray]) -> bool:
    """Whether a node averages (1, F, h, w) over h and w."""
    before = shapes.get(node.input[0], []) if node.input else []
    if len(before) != 4:
        return False
    if node.op_type == "ReduceMean":
        axes = attribute(node, "axes", None)
        if axes is None and len(node.input) > 1:
            axes = constants.get(node.input[1], np.array([])).tolist()
        return sorted(axis % 4 for axis in axes or []) == [2, 3]
    whole = node.op_type == "AveragePool" and list(attribute(node, "kernel_shape", [])) == before[2:]
    return whole or node.op_type == "GlobalAveragePool"


def _reaches(start: str, end: str, cut: str, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether `end` is made of `start` by a way that does not pass the tensor `cut`."""
    seen, waiting = {cut}, [end]
    while waiting:
        tensor = waiting.pop()
        if tensor == start:
            return True
        if tensor not in seen and tensor in makers:
            waiting.extend(makers[tensor].input)
        seen.add(tensor)
    return False


def _shapes(graph: onnx.GraphProto) -> dict[str, list[int]]:
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
