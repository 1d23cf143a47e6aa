"""Watts of a board while it runs a network, and the energy of an image: the latency model's counts and clocks again.

    watts = base + cpu * (CPU clock / highest)^3 + gpu * x * v^2 + energy of the work / its time
    x = GPU clock / highest; v = its voltage over the highest, 1 - s + s * x
    energy of the work = v^2 * (multiply-accumulates * mJ each, by family and precision) + bytes * mJ each

`python -m edgedistill.prediction.fitting.fit` finds the constants from the published rows that give watts. Between the
frames of a camera the GPU draws nothing in this model: published camera-bound figures need no such share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgedistill.config.target import Hardware, Precision
from edgedistill.prediction.features import Features
from edgedistill.prediction.latency import ELEMENT_BYTES, hardware, stored

BOARD_TERMS = ("base_w", "cpu_w", "gpu_w")


@dataclass(frozen=True)
class Power:
    """What a board draws.

    Attributes:
        busy_w: while it runs one image after the other.
        image_mj: busy_w for the time of an image.
        idle_w: without a network.
        inferred: what the work itself takes was published of another family of chips only.
    """

    busy_w: float
    image_mj: float
    idle_w: float
    inferred: bool

    def frame_mj(self, fps: float, latency_ms: float) -> float:
        """Energy of one frame of a camera, all that the board draws until the next."""
        busy_fraction = min(1.0, fps * latency_ms / 1000)
        return 1000 * (self.idle_w + busy_fraction * (self.busy_w - self.idle_w)) / fps


def power_of(features: Features, target: str, mode: str, precision: Precision, latency_ms: float) -> Power | None:
    """None where no watts are published of the board.

    Args:
        features, latency_ms: of one image, or both of one batch, which then counts as an image.
    """
    fitted = stored()["power"]
    of_board = fitted["boards"].get(target)
    if of_board is None:
        return None
    board = hardware()[target]
    idle_w = sum(of_board[term] * value for term, value in idle_terms(board, mode).items())
    voltage = voltage_of(board, mode, fitted["voltage_share"])
    busy_w = idle_w + of_board["gpu_w"] * gpu_term(board, mode, voltage)
    busy_w += work_mj(features, board, precision, voltage, fitted) / latency_ms
    return Power(busy_w, busy_w * latency_ms, idle_w, of_board["inferred"])


def idle_terms(board: Hardware, mode: str) -> dict[str, float]:
    """What multiplies `base_w` and `cpu_w`."""
    highest = max(clocks.cpu_mhz for clocks in board.modes.values())
    return {"base_w": 1.0, "cpu_w": (board.modes[mode].cpu_mhz / highest) ** 3}


def clock_share(board: Hardware, mode: str) -> float:
    """GPU clock over the board's highest."""
    return board.modes[mode].gpu_mhz / max(clocks.gpu_mhz for clocks in board.modes.values())


def voltage_of(board: Hardware, mode: str, share: float) -> float:
    """Over that at the highest clock.

    Args:
        share: of the voltage that grows with the clock.
    """
    return 1 - share + share * clock_share(board, mode)


def gpu_term(board: Hardware, mode: str, voltage: float) -> float:
    """What multiplies `gpu_w`; half of it belongs to the multiprocessors that the mode leaves on."""
    active = board.modes[mode].multiprocessors or board.multiprocessors
    return clock_share(board, mode) * voltage**2 * (1 + active / board.multiprocessors) / 2


def work_mj(
    features: Features, board: Hardware, precision: Precision, voltage: float, fitted: Mapping[str, Any]
) -> float:
    """Energy of arithmetic and of memory."""
    gigabytes = ELEMENT_BYTES[precision] * (features.moved + features.depthwise_moved + features.other_moved) / 1e9
    arithmetic = fitted["mj_per_gmac"][f"{board.family}.{precision}"] * features.macs / 1e9
    return voltage**2 * arithmetic + fitted["mj_per_gb"][board.family] * gigabytes
