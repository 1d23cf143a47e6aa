"""The latency of a network on a board: each kernel's arithmetic and memory, a launch, a network.

    ms = sum over terms of (constant * the time that the board's data sheet would give) + launches + one

The constants say how far from the data sheet a kind of kernel is. `python -m edgedistill.prediction.fitting.fit`
finds them.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from edgedistill.config.target import Hardware, targets
from edgedistill.errors import RecipeError
from edgedistill.prediction.features import Features

STORED = "constants.json"
TERMS = (
    "dense3x3",
    "dense",
    "pointwise",
    "gemm",
    "matmul",
    "moved",
    "depthwise_moved",
    "other_moved",
    "kernels",
    "network",
    "python_call",
)
COMPUTE, DEPTHWISE = range(5), 6  # positions in TERMS that a precision changes
GAINS = ("compute", "depthwise")
ELEMENT_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


@cache
def hardware() -> dict[str, Hardware]:
    """Target -> its data sheet, of the boards with published measurements."""
    return {name: target.hardware for name, target in targets().items() if target.hardware}


def data_sheet_ms(features: Features, target: str, precision: str, in_python: bool = False) -> tuple[float, ...]:
    """Each of TERMS, were the board as fast as its data sheet; launches in thousands, network 1.

    Args:
        in_python: the time includes a framework's call around TensorRT, as some published rows do.
    """
    board = hardware()[target]
    peaks: dict[str, float] = dict(board.peak_gmacs_per_s.items())
    peak = peaks[precision] * 1e6  # per ms
    bandwidth = board.bandwidth_gb_per_s * 1e6 / ELEMENT_BYTES[precision]  # elements per ms
    f = features
    macs = (f.dense3x3_macs, f.dense_macs, f.pointwise_macs, f.gemm_macs, f.matmul_macs)
    moved = (f.moved, f.depthwise_moved, f.other_moved)
    return (
        *(value / peak for value in macs),
        *(value / bandwidth for value in moved),
        f.kernels / 1000,
        1.0,
        float(in_python),
    )


def shares(
    features: Features, target: str, precision: str, fitted: dict[str, Any], in_python: bool = False
) -> dict[str, float]:
    """Term -> its ms.

    Args:
        fitted: `constants` and `gains` of one board.
    """
    gains = fitted["gains"] if precision == hardware()[target].other else dict.fromkeys(GAINS, 1.0)
    milliseconds = {}
    for position, value in enumerate(data_sheet_ms(features, target, precision, in_python)):
        gain = gains["compute"] if position in COMPUTE else 1.0
        gain = gains["depthwise"] if position == DEPTHWISE else gain
        milliseconds[TERMS[position]] = fitted["constants"][TERMS[position]] * gain * value
    return milliseconds


def latency_ms(
    features: Features, target: str, precision: str, fitted: dict[str, Any], in_python: bool = False
) -> float:
    """The sum of `shares`."""
    return sum(shares(features, target, precision, fitted, in_python).values())


@cache
def constants() -> dict[str, Any]:
    """Target -> what the last fit stored: constants, gains, errors, interval."""
    text = (resources.files("edgedistill.prediction") / STORED).read_text(encoding="utf-8")
    return json.loads(text)["targets"]


def refuse_unless_fitted(target: str, precision: str) -> None:
    """
    Raises:
        RecipeError: nothing usable is published for this board or precision.
    """
    fitted = "; ".join(
        f"{name} {' and '.join(p.upper() for p in sorted(board.peak_gmacs_per_s))}"
        for name, board in hardware().items()
        if name in constants()
    )
    if target not in hardware():
        raise RecipeError(
            f"no prediction for {target}: no usable measurement of it is published; there is one for {fitted}"
        )
    if target not in constants():
        raise RecipeError(
            f"no prediction for {target}: its constants were never fitted (docs/extend.md, A board); "
            f"there is one for {fitted}"
        )
    if precision not in hardware()[target].peak_gmacs_per_s:
        raise RecipeError(
            f"no prediction for {target} in {precision.upper()}: too few usable "
            f"measurements are published; there is one for {fitted}"
        )
