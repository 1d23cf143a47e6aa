"""The files that a TensorRT without precision flags takes its types from, each proved before it may be shipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from edgedistill.core.text import plural
from edgedistill.errors import ExportError, QuantizeError
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.quantization.fp16 import fp16_from_onnx, logits_in_fp16
from edgedistill.quantization.fp16_range import MEANS, summed
from edgedistill.quantization.half import LARGEST, float32_layers
from edgedistill.quantization.observe import plan_of, shaped
from edgedistill.records.quantization import TypedFile

IMAGES = 1000  # at most, of a proof
LIMIT = 1e-2  # of FP16: largest logit difference over the largest logit
INT8_FACTOR = 1.25  # what the Q/DQ file differs by from float may become so much more with FP16 around it
INT8_CLASSES = 0.01  # and so many more images may have another class
TIE = 2.0**-10  # of the largest logit: FP16's own step there, so logits that are closer are one number in FP16
HEADROOM = 2.0  # other images reach further than those that were seen
_DELICATE = {
    *("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL2", "GlobalAveragePool", "AveragePool"),
    *("Softmax", "LogSoftmax", "LayerNormalization", "InstanceNormalization", "GroupNormalization"),
    *("Pow", "Exp", "Sqrt", "Reciprocal", "Div"),
}


@dataclass(frozen=True)
class Difference:
    """A file against the float network on the same images.

    Attributes:
        relative: largest logit difference over the largest logit; None where a logit is not finite.
        ties: images whose two largest float logits are one number in FP16.
        other_class: images of another class than float's, ties left out.
        agreement_fraction: images of the same class, ties counted; None of figures.
        drop_points: what the file loses in the task's primary figure on the labelled images; 0 without any.
    """

    relative: float | None
    ties: int
    other_class: int
    agreement_fraction: float | None
    drop_points: float


class Proof:
    """The images of a proof, and what the float network says of them."""

    def __init__(
        self,
        path: Path,
        images: Iterable[np.ndarray],
        labels: np.ndarray | None = None,
        drop: Callable[[np.ndarray, np.ndarray], float] | None = None,
    ):
        """
        Args:
            path: float ONNX.
            images: (3, H, W) float32 each, at most IMAGES, iterated once for each file.
            labels: (M,) int of the first M images.
            drop: of figures, (outputs, float outputs) of those M images -> `Difference.drop_points`; None of classes.
        """
        self.path, self.images, self.drop = path, images, drop
        self.labels = np.empty(0, np.int64) if labels is None else labels
        with OnnxSession(path) as session:
            self.logits = session.logits(images)

    def difference(self, logits: np.ndarray) -> Difference:
        """Of a file's logits for these images."""
        largest = np.abs(self.logits).max()
        relative = float(np.abs(logits - self.logits).max() / largest) if np.isfinite(logits).all() else None
        if self.drop is not None:
            lost = self.drop(logits[: len(self.labels)], self.logits[: len(self.labels)])
            return Difference(relative, ties=0, other_class=0, agreement_fraction=None, drop_points=lost)
        second, first = np.sort(self.logits, axis=1)[:, -2:].T
        tie, same = first - second < TIE * largest, logits.argmax(axis=1) == self.logits.argmax(axis=1)
        right, own = (found[: len(self.labels)].argmax(axis=1) == self.labels for found in (self.logits, logits))
        return Difference(
            relative=relative,
            ties=int(tie.sum()),
            other_class=int((~same & ~tie).sum()),
            agreement_fraction=float(same.mean()),
            drop_points=100.0 * (int(right.sum()) - int(own.sum())) / max(len(self.labels), 1),
        )


class FirstOf:
    """So many images of some iterables, one after the other; each iteration begins again."""

    def __init__(self, count: int, *parts: Iterable[np.ndarray]):
        self._count, self._parts = count, parts

    def __iter__(self) -> Iterator[np.ndarray]:
        return islice(chain.from_iterable(self._parts), self._count)


def typed_fp16(proof: Proof, largest: dict[str, float], out: Path) -> TypedFile:
    """Write the FP16 file; float32 is kept for what may overflow and, if that fails, for all that sums or divides.

    Args:
        largest: float tensor -> largest |x| on calibration images.
        out: file to write.

    Returns:
        The first that passes, or the last, which is not to be shipped.
    """
    overflowing = overflowing_layers(proof.path, largest)
    graph = onnx.load(str(proof.path), load_external_data=False).graph
    delicate = {node.output[0] for node in graph.node if node.op_type in _DELICATE}

    def passes(found: Difference) -> str:
        return _beyond(found, LIMIT, 0)

    made = _made("fp16", proof, proof.path, out, overflowing, passes)
    if not made.passed and not delicate <= overflowing:
        made = _made("fp16", proof, proof.path, out, overflowing | delicate, passes)
    return made


def typed_int8(
    proof: Proof, int8: Path, largest: dict[str, float], out: Path, max_drop_points: float | None = None
) -> TypedFile:
    """Write the INT8 file with FP16 around its Q/DQ nodes; arguments and result as above.

    Args:
        int8: Q/DQ with float32 around it, whose own difference from float sets the limits.
        max_drop_points: the gate that the Q/DQ file passed, of top-1 on the proof's labelled images; None without one.
    """
    with OnnxSession(int8) as session:
        own = proof.difference(session.logits(proof.images))
    limit = max(LIMIT, INT8_FACTOR * (own.relative or 0.0))
    classes = own.other_class + int(INT8_CLASSES * len(proof.logits))

    def beyond(found: Difference) -> str:
        if max_drop_points is not None and found.drop_points > max_drop_points:
            what = "top-1 falls" if proof.drop is None else "the task's figure falls"
            return f"{what} by {found.drop_points:.1f} points on validation images, limit {max_drop_points:g}"
        return _beyond(found, limit, classes)

    source = {"source_relative_logit_difference": own.relative, "source_other_class": own.other_class}
    try:
        made = _made("int8", proof, int8, out, overflowing_layers(int8, largest), beyond, limit)
    except (QuantizeError, ExportError) as error:  # the INT8 file itself serves, with float32 around it
        made = TypedFile(precision="int8", passed=False, why=str(error), limit=limit)
    return made.model_copy(update=source)


def overflowing_layers(path: Path, largest: dict[str, float]) -> set[str]:
    """Layers, by their first output, that make or read a tensor that FP16 may not hold, or sum one up beyond it.

    Args:
        path: float ONNX or the Q/DQ file made from it, whose quantized tensors reach as far as what they stand for.
        largest: float tensor of the float ONNX -> largest |x| seen.
    """
    model, reaches = shaped(path), dict(largest)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            reaches[node.output[0]] = reaches.get(node.input[0], 0.0)
    shapes, beyond = plan_of(model).shapes, LARGEST / HEADROOM
    return {
        node.output[0]
        for node in model.graph.node
        if any(reaches.get(name, 0.0) > beyond for name in (*node.input, *node.output))
        or (node.op_type in MEANS and reaches.get(node.input[0], 0.0) * summed(node, shapes) > LARGEST)
    }


def _made(
    precision: Literal["fp16", "int8"],
    proof: Proof,
    source: Path,
    out: Path,
    kept: set[str],
    beyond: Callable[[Difference], str],
    limit: float = LIMIT,
) -> TypedFile:
    """One attempt, with its proof.

    Raises:
        QuantizeError, ExportError: it cannot be made, or ONNX Runtime does not take it.
    """
    fp16_from_onnx(source, out, kept)
    with OnnxSession(out) as session:  # the very file runs; its numbers are taken with every rounding
        session.run(next(iter(proof.images))[np.newaxis])
    found = proof.difference(logits_in_fp16(out, proof.images))
    why = beyond(found)
    return TypedFile(
        precision=precision,
        passed=not why,
        why=why,
        limit=limit,
        images=len(proof.logits),
        max_relative_logit_difference=found.relative,
        agreement_fraction=found.agreement_fraction,
        ties=found.ties,
        other_class=found.other_class,
        float32_layers=float32_layers(onnx.load(str(out))),
        file_bytes=out.stat().st_size,
    )


def _beyond(found: Difference, limit: float, classes: int) -> str:
    """Why a file does not pass, or ""."""
    if found.relative is None:
        return "a logit is NaN or infinite in FP16"
    if found.relative > limit:
        return f"logits differ from float by {found.relative:.2g} of the largest, limit {limit:.2g}"
    if found.other_class > classes:
        images = plural(found.other_class, "image gets", "images get")
        return f"{images} another class than with float, at most {classes} may"
    return ""


def line_from_typed(file: TypedFile) -> str:
    """What a person should hear of it."""
    word = file.precision.upper()
    if not file.passed:
        instead = "FP16 is served as FP32" if file.precision == "fp16" else "INT8 is served with FP32 around it"
        return f"the {word} file for a TensorRT without precision flags is not shipped, {instead}: {file.why}"
    apart, source = file.max_relative_logit_difference or 0.0, file.source_relative_logit_difference
    beside = "" if source is None else f" ({source:.2g} with FP32 around it)"
    return (
        f"{word} typed in the file: differs from float by {apart:.2g} of the largest logit{beside} "
        f"on {file.images} images, {plural(len(file.float32_layers), 'layer stays', 'layers stay')} float32"
    )
