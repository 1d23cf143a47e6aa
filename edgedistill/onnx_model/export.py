"""PyTorch -> ONNX at opset 13 / IR 7, proved in ONNX Runtime before the file is kept."""

from __future__ import annotations

import copy
import io
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxslim
import torch
from timm.layers import padding
from timm.utils import reparameterize_model
from torch import nn

from edgedistill.core.files import write_bytes
from edgedistill.errors import ExportError
from edgedistill.onnx_model.exported_file import INPUT, OUTPUT
from edgedistill.onnx_model.findings import Graph, given, node_name
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.records.export import Proof
from edgedistill_device.preprocess_spec import Preprocess

OPSET, IR = 13, 7  # TensorRT 8.2, the Nano's last, documents up to opset 13 and ONNX 1.8's IR 7
_SHAPE_ARITHMETIC = {"Shape", "Size", "ConstantOfShape", "Range", "NonZero"}
MAX_RELATIVE_DIFFERENCE = 1e-4  # float32 kernels that sum in another order stay below 1e-5


def onnx_from_model(
    model: nn.Module,
    probe: np.ndarray,
    path: Path,
    metadata: dict[str, str],
    *,
    pixels: Pixels | None = None,
    for_board: bool = True,
) -> Proof:
    """Export, fold, and prove equal on real images.

    Args:
        model: classifier in eval mode; left as it was.
        probe: (N, 3, H, W) float32, normalised, real images.
        path: file to write; it does not exist afterwards if the proof fails.
        metadata: kept in the file's metadata.
        pixels: puts the normalisation into the graph; the proof then gives the file these.
        for_board: refuse what folding should have taken away and did not.

    Raises:
        ExportError: the exporter failed, or ONNX Runtime and PyTorch disagree.
    """
    net = copy.deepcopy(model).cpu().eval().to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        expected = np.concatenate([net(torch.from_numpy(p[np.newaxis])).numpy() for p in probe])
    if pixels is not None:
        net, probe = _FromPixels(net, pixels), pixels.images
    proto = graph_from_model(net, torch.from_numpy(probe[:1]), path.name)
    left = leftovers(proto) if for_board else []
    if left:
        raise ExportError(f"{path.name}: {left[0]}; the board would compute what is constant")
    onnx.helper.set_model_props(proto, metadata)
    proto.ir_version = IR
    write_bytes(path, proto.SerializeToString(deterministic=True))
    try:
        return _proof(path, probe, expected)
    except ExportError:
        path.unlink()  # a wrong artifact must not survive to the next stage
        raise


@dataclass(frozen=True)
class Pixels:
    """The probe as a board that only resizes gives it.

    Attributes:
        images: (N, 3, H, W) float32, values 0..255: `to_input` under `spec_of_pixels`.
        spec: mean and std that go into the graph.
    """

    images: np.ndarray
    spec: Preprocess


def spec_of_pixels(spec: Preprocess) -> Preprocess:
    """The same framing with a mean and std that undo the division by 255, up to one last bit."""
    return spec._replace(mean=(0.0,) * 3, std=(1 / 255,) * 3)


class _FromPixels(nn.Module):
    """(x - 255 mean) * (1 / 255 std), then the network."""

    shift: torch.Tensor
    factor: torch.Tensor

    def __init__(self, net: nn.Module, pixels: Pixels):
        super().__init__()
        mean = torch.tensor(pixels.spec.mean, dtype=torch.float64).reshape(1, 3, 1, 1)
        std = torch.tensor(pixels.spec.std, dtype=torch.float64).reshape(1, 3, 1, 1)
        self.net = net
        self.register_buffer("shift", (255 * mean).float())
        self.register_buffer("factor", (1 / (255 * std)).float())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.net((image - self.shift) * self.factor)


def graph_from_model(model: nn.Module, image: torch.Tensor, name: str) -> onnx.ModelProto:
    """The folded graph for one image, its branches merged; not proved.

    Args:
        model: in eval mode; left as it was.
        image: (1, 3, H, W) float32.
        name: for messages.

    Raises:
        ExportError: the exporter cannot write this model.
    """
    return _folded(exported(model, image), name)


@contextmanager
def _quiet_log() -> Iterator[None]:
    """PyTorch takes the function that says whether its log is on for what it says, and prints each graph that fails."""
    is_enabled = torch._C._jit_is_onnx_log_enabled
    torch._C._jit_is_onnx_log_enabled = None  # type: ignore[assignment]
    try:
        yield
    finally:
        torch._C._jit_is_onnx_log_enabled = is_enabled


@contextmanager
def _same_padding_in_numbers() -> Iterator[None]:
    """timm's SAME padding as constants: traced it is arithmetic on shapes, which onnxslim 0.1.98 folds wrongly.

    Where a 5x5 Conv of stride 2 meets an odd side, as in EfficientNet-Lite at 240 px, half of 15 became 7: padding of 1
    instead of 2 on each side.
    """
    of_tensors = padding.get_same_padding

    def of_numbers(x: int, kernel_size: int, stride: int, dilation: int) -> int:
        return of_tensors(int(x), kernel_size, stride, dilation)  # a traced side is a tensor

    padding.get_same_padding = of_numbers
    try:
        yield
    finally:
        padding.get_same_padding = of_tensors


def leftovers(proto: onnx.ModelProto) -> list[str]:
    """What an exported network should not compute on a board: faults in words, empty when clean."""
    graph = Graph(proto, 0)
    readers = Counter(name for node in graph.nodes for name in node.input)
    lines = []
    for node in graph.nodes:
        name, source = node_name(node), given(node, 0)
        maker = graph.producers.get(source)
        if node.op_type in _SHAPE_ARITHMETIC:
            lines.append(f"shape arithmetic is left at {name}")
        if node.op_type == "Identity" and source in graph.constants:
            lines.append(f"an Identity stands on the constant {source}")
        after_conv = maker is not None and maker.op_type == "Conv" and readers[source] == 1
        if node.op_type == "BatchNormalization" and after_conv:
            lines.append(f"{name} is not folded into the Conv before it")
    return lines


def exported(model: nn.Module, image: torch.Tensor, with_weights: bool = True, opset: int = OPSET) -> onnx.ModelProto:
    """The exporter's graph, its branches merged; without weights they are inputs that follow the image.

    Args:
        model, image: as of `graph_from_model`.
        opset: another one only for what no board is given.

    Raises:
        ExportError: the exporter cannot write this model.
    """
    net, buffer = reparameterize_model(model), io.BytesIO()
    for module in net.modules():
        if hasattr(module, "fused_attn"):
            # The fused operator needs opset 14; timm asks once, when built.
            module.fused_attn = False  # type: ignore[assignment]  # nn.Module's stub knows tensors and modules alone
    try:
        with warnings.catch_warnings(), _quiet_log(), _same_padding_in_numbers():
            # The TorchScript exporter is the one that writes opset 13; it announces its end.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            # What it cannot fold, onnxslim does.
            warnings.filterwarnings("ignore", "Constant folding", UserWarning)
            torch.onnx.export(
                net,
                (image,),
                buffer,  # type: ignore[arg-type]  # the stub is of dynamo's exporter; this one takes a file
                opset_version=opset,
                input_names=[INPUT],
                output_names=[OUTPUT],
                export_params=with_weights,
                do_constant_folding=with_weights,
                dynamo=False,
            )
    except Exception as error:  # the exporter raises dozens of types for one reason
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(f"the exporter cannot write this model at opset {opset}: {reason}") from error
    return onnx.load_from_string(buffer.getvalue())


def _folded(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """No shape arithmetic and no Identity on an initializer.

    The exporter merges equal biases through Identity nodes; TensorRT 8.2 then refuses the Conv,
    because its bias is no initializer. A freshly initialised net has many equal biases.
    """
    slim = onnxslim.slim(proto)
    onnx.checker.check_model(slim)
    versions = {entry.domain: entry.version for entry in slim.opset_import}
    if versions.get("") != OPSET:
        raise ExportError(f"{name}: expected opset {OPSET}, the folded graph has {versions}")
    return slim


def _proof(path: Path, probe: np.ndarray, expected: np.ndarray) -> Proof:
    with OnnxSession(path) as session:
        got = session.logits(probe)
    if not np.isfinite(expected).all():
        raise ExportError(f"{path.name}: PyTorch itself gives NaN or infinity on the probe images")
    largest = float(np.abs(expected).max()) or 1.0
    worst = float(np.abs(got - expected).max())
    top = expected.argmax(axis=1)
    # A class change between two logits that are equal within the limit is a tie, not a change.
    behind = expected.max(axis=1) - expected[np.arange(len(top)), got.argmax(axis=1)]
    agree = float((behind <= MAX_RELATIVE_DIFFERENCE * largest).mean())
    if not worst <= MAX_RELATIVE_DIFFERENCE * largest or agree < 1:
        raise ExportError(
            f"{path.name}: ONNX Runtime differs from PyTorch by {worst / largest:.1e} of the largest "
            f"logit on {len(probe)} images, limit {MAX_RELATIVE_DIFFERENCE:.0e}, same class on "
            f"{agree:.1%}; removed. Was the model in eval mode?"
        )
    return Proof(
        max_abs_difference=worst,
        max_relative_difference=worst / largest,
        top1_agreement_fraction=agree,
        opset=OPSET,
        ir=IR,
        file_bytes=path.stat().st_size,
    )
