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


def beyond_board(memory: Memory, target: str) -> str:
    """Why a network cannot run on a board, or "".

    That is where engine and process, without cuBLAS and cuDNN, are estimated at more than all that the board has,
    which its system shares.
    """
    board, needed = load_target(target), memory.network if memory.lean is None else memory.lean
    if not board.memory_mib or needed <= board.memory_mib:
        return ""
    what = "engine and context" if memory.lean is None else "its process without cuBLAS and cuDNN"
    return f"{what} would take about {needed:.0f} MiB, {board.title} has {board.memory_mib} in all"


def note_on_libraries(memory: Memory, target: str) -> str:
    """One line where the process fits into all of the board's memory only without cuBLAS and cuDNN, else ""."""
    board = load_target(target)
    if memory.full is None or not board.memory_mib or memory.full <= board.memory_mib or beyond_board(memory, target):
        return ""
    return (
        f"with cuBLAS and cuDNN its process would take about {memory.full:.0f} MiB, {board.title} has "
        f"{board.memory_mib} in all: it can run only where the engine is built without them"
    )
