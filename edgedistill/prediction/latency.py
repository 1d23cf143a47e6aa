"""The latency of a network on a board: each kernel's arithmetic and memory, its launch, a network.

    ms = sum over terms of (constant * factor of the chips' family * the time that the data sheet would give)

One set of constants is shared by all boards; a few factors by the boards of one family of chips; clocks, peak rates and
bandwidth of a board's power mode come from its file in config/targets/. `python -m edgedistill.prediction.fitting.fit`
finds constants and factors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from math import prod
from typing import Any

from edgedistill.config.target import Hardware, Precision, load_target, targets
from edgedistill.errors import RecipeError
from edgedistill.prediction.features import Features

STORED = "constants.json"
COMPUTE = ("dense3x3", "dense", "grouped", "pointwise", "gemm", "matmul")
MOVED = ("weights", "moved", "other_moved")
LAUNCHES = ("kernels_gpu", "kernels_cpu")
TERM_WORDS = {  # for people: what a share of the time goes to
    "dense3x3": "3x3 convolutions of stride 1",
    "dense": "other convolutions",
    "grouped": "convolutions in groups",
    "pointwise": "1x1 convolutions",
    "gemm": "fully connected layers",
    "matmul": "matrix products",
    "depthwise": "depthwise convolutions",
    "weights": "reading weights",
    "moved": "memory traffic of convolutions and matrix products",
    "other_moved": "memory traffic of other layers",
    "kernels_gpu": "kernel launches on the GPU",
    "kernels_cpu": "kernel launches on the CPU",
    "network": "the constant part of a run",
}
TERMS = tuple(TERM_WORDS)
ELEMENT_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
HALF_BYTES = 2


@cache
def hardware() -> dict[str, Hardware]:
    """Target -> its data sheet, of the boards that can be predicted."""
    return {name: target.hardware for name, target in targets().items() if target.hardware}


def mode_of(target: str, name: str | None) -> str:
    """The power mode that is meant, the board's usual one where none is named.

    Raises:
        RecipeError: the board has no such mode.
    """
    board = hardware()[target]
    if name is None:
        return board.usual_mode
    mode = board.mode_named(name)
    if mode is None:
        raise RecipeError(f"{target} has no power mode {name!r}; it has: {', '.join(board.modes)}")
    return mode


def data_sheet_ms(features: Features, board: Hardware, mode: str, precision: Precision) -> dict[str, float]:
    """Each of TERMS, were the board as fast as its data sheet; launches are 1 us at 1 GHz, a network 1 ms at 1 GHz.

    INT8 is for what TensorRT quantizes: what is no convolution or product stays in half precision. A depthwise
    convolution costs a cycle of a CUDA core for each element that it reads or writes, in any precision.
    """
    peak, bandwidth, clocks = board.macs_per_ms(mode, precision), board.bytes_per_ms(mode), board.modes[mode]
    width = ELEMENT_BYTES[precision]
    bytes_moved = {
        "weights": width * features.parameters,
        "moved": width * max(0.0, features.moved - features.parameters),
        "other_moved": max(width, HALF_BYTES) * features.other_moved,
    }
    return {
        **{term: getattr(features, f"{term}_macs") / peak for term in COMPUTE},
        "depthwise": features.depthwise_moved / board.core_cycles_per_ms(mode),
        **{term: count / bandwidth for term, count in bytes_moved.items()},
        "kernels_gpu": features.kernels / clocks.gpu_mhz,
        "kernels_cpu": features.kernels / clocks.cpu_mhz,
        "network": 1e3 / clocks.cpu_mhz,
    }


def constants_of(term: str, board: Hardware, precision: Precision) -> tuple[str, ...]:
    """Names of the shared constant and of the family's factors that multiply a term."""
    family = board.family
    if term in COMPUTE:
        unit = "tensor" if precision in board.tensor_precisions else "cuda"
        return f"{unit}.{term}", f"{family}.{precision}", f"{family}.{unit}.{term}"
    if term == "depthwise":
        return f"{'tensor' if board.tensor_precisions else 'cuda'}.depthwise", f"{family}.depthwise"
    return term, f"{family}.{'kernels' if term in LAUNCHES else term}"


def shares(
    features: Features, target: str, mode: str, precision: Precision, fitted: Mapping[str, float]
) -> dict[str, float]:
    """Term -> its ms.

    Args:
        fitted: `constants` of constants.json.
    """
    board, milliseconds = hardware()[target], {}
    for term, value in data_sheet_ms(features, board, mode, precision).items():
        milliseconds[term] = value * prod(fitted[name] for name in constants_of(term, board, precision))
    return milliseconds


def latency_ms(features: Features, target: str, mode: str, precision: Precision, fitted: Mapping[str, float]) -> float:
    """The sum of `shares`."""
    return sum(shares(features, target, mode, precision, fitted).values())


@cache
def stored() -> dict[str, Any]:
    """What the last fit stored: `constants`, `power`, and of each board errors, interval and rows."""
    return json.loads((resources.files("edgedistill.prediction") / STORED).read_text(encoding="utf-8"))


def constants() -> dict[str, float]:
    """Of the latency model."""
    return stored()["constants"]


def refuse_unless_fitted(target: str, precision: str) -> None:
    """
    Raises:
        RecipeError: nothing usable is published for this kind of chip, or the board does not compute so.
    """
    predicted = ", ".join(sorted(set(hardware()) & set(stored()["boards"])))
    if target not in hardware():
        raise RecipeError(
            f"no prediction for {target}: no usable measurement of its kind of chip is published; there is one for "
            f"{predicted}"
        )
    if target not in stored()["boards"]:
        raise RecipeError(
            f"no prediction for {target}: its constants were never fitted (docs/extend.md, A board); "
            f"there is one for {predicted}"
        )
    if precision not in hardware()[target].macs_per_cycle:
        known = " and ".join(name.upper() for name in hardware()[target].macs_per_cycle)
        raise RecipeError(
            f"no prediction for {load_target(target).title} in {precision.upper()}: its file has peak rates for {known}"
        )
