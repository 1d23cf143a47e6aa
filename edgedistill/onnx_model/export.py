"""PyTorch -> ONNX at opset 13 / IR 7, proved in ONNX Runtime before the file is kept."""

from __future__ import annotations

import copy
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxslim
import timm.layers
import torch
from timm.utils import reparameterize_model
from torch import nn

from edgedistill.errors import ExportError
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.run_folder import write_bytes

OPSET, IR = 13, 7  # TensorRT 8.2, the Nano's last, documents up to opset 13 and ONNX 1.8's IR 7
INPUT, OUTPUT = "image", "logits"
MAX_RELATIVE_DIFFERENCE = 1e-4  # float32 kernels that sum in another order stay below 1e-5


def onnx_from_model(
    model: nn.Module, probe: np.ndarray, path: Path, metadata: dict[str, str]
) -> dict[str, Any]:
    """Export, fold, and prove equal on real images.

    Args:
        model: classifier in eval mode; left as it was.
        probe: (N, 3, H, W) float32, normalised, real images.
        path: file to write; it does not exist afterwards if the proof fails.
        metadata: kept in the file's metadata.

    Returns:
        max_abs_difference, max_relative_difference (to the largest |logit|),
        top1_agreement_fraction, opset, ir, file_bytes.

    Raises:
        ExportError: the exporter failed, or ONNX Runtime and PyTorch disagree.
    """
    net = reparameterize_model(copy.deepcopy(model).cpu().eval())
    net = net.to(memory_format=torch.contiguous_format)
    proto = _folded(_exported(net, torch.from_numpy(probe[:1])), path.name)
    onnx.helper.set_model_props(proto, metadata)
    proto.ir_version = IR
    write_bytes(path, proto.SerializeToString(deterministic=True))
    with torch.no_grad():
        expected = np.concatenate([net(torch.from_numpy(p[np.newaxis])).numpy() for p in probe])
    try:
        return {**_proof(path, probe, expected), "opset": OPSET, "ir": IR,
                "file_bytes": path.stat().st_size}  # fmt: skip
    except ExportError:
        path.unlink()  # a wrong artifact must not survive to the next stage
        raise


def _exported(net: nn.Module, image: torch.Tensor) -> onnx.ModelProto:
    buffer = io.BytesIO()
    fused = timm.layers.use_fused_attn()
    timm.layers.set_fused_attn(False)  # the fused operator needs opset 14
    try:
        with warnings.catch_warnings():
            # The TorchScript exporter is the one that writes opset 13; it announces its end.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            torch.onnx.export(
                net, (image,), buffer, opset_version=OPSET, input_names=[INPUT],
                output_names=[OUTPUT], do_constant_folding=True, dynamo=False,
            )  # fmt: skip
    except Exception as error:  # the exporter raises dozens of types for one reason
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(
            f"the exporter cannot write this model at opset {OPSET}: {reason}"
        ) from error
    finally:
        timm.layers.set_fused_attn(bool(fused))
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


def _proof(path: Path, probe: np.ndarray, expected: np.ndarray) -> dict[str, float]:
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
    return {
        "max_abs_difference": worst,
        "max_relative_difference": worst / largest,
        "top1_agreement_fraction": agree,
    }
