"""What the process takes on the board: an estimate from a few published logs, never a measurement.

Known: what CUDA, cuBLAS and cuDNN take of the process is [memory] of the board's file in config/targets/, from
TensorRT's own logs; together they are 600 to 700 MiB on a Nano, whatever the network. An engine of 19 MiB for 14 MiB
of weights and 36 MiB for its context: wang-xinyu/tensorrtx issue 1160 (Nano, TensorRT 8.2, YOLOv5s at 640 px in FP16).
Inferred: that an engine built without cuBLAS and cuDNN saves their share; no measurement of it exists.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgedistill.config.target import load_target
from edgedistill.prediction.features import Features
from edgedistill.prediction.latency import ELEMENT_BYTES

_ENGINE_BY_WEIGHTS = 19 / 14  # transformed copies of some weights, and the kernels
_CONTEXT_BY_LARGEST = 4.0  # context and workspace over the largest kernel's input and output


@dataclass(frozen=True)
class Memory:
    """MiB; None where nothing is published for the board.

    Attributes:
        network: engine and context alone.
        lean: the whole process, the engine built without cuBLAS and cuDNN.
        full: the whole process with them.
    """

    network: float
    lean: float | None
    full: float | None


def memory_of(features: Features, target: str, precision: str) -> Memory:
    """The estimate for one image at a time."""
    width = ELEMENT_BYTES[precision] / 2**20
    network = (_ENGINE_BY_WEIGHTS * features.parameters + _CONTEXT_BY_LARGEST * features.peak) * width
    board = load_target(target).memory
    if board is None:
        return Memory(network, None, None)
    lean = board.process_mib + network
    return Memory(network, lean, lean + board.libraries_mib)
