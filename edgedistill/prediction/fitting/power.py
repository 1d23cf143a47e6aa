"""Fit the power model to the published rows that give watts, and to what a camera-bound board draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from edgedistill.prediction.energy import BOARD_TERMS, gpu_term, idle_terms, voltage_of, work_mj
from edgedistill.prediction.fitting.fit import families, features_of
from edgedistill.prediction.latency import hardware
from edgedistill.prediction.published_rows import Row

NOISE = 0.05  # standard deviation of the logarithm of watts
BOARD = {"base_w": (3.0, 0.7), "cpu_w": (2.0, 0.7), "gpu_w": (3.0, 0.7)}
MJ_PER_GB = (100.0, 0.7)
MJ_PER_GMAC = {  # (value, standard deviation of its logarithm)
    "cuda.fp32": (30.0, 0.7),
    "cuda.fp16": (15.0, 0.7),
    "tensor.fp16": (5.0, 0.7),
    "tensor.fp32": (10.0, 0.7),
    "tensor.int8": (2.5, 0.7),
}
# A network's work on a chip of 8 nm over that on one of 12 nm, until anybody publishes watts of a busy Orin.
AMPERE_OVER_VOLTA = 0.7
VOLTAGE_SHARE = (0.7, 0.2)


@dataclass(frozen=True)
class Camera:
    """All that a board drew for a frame while a camera set the pace: zainmk/jetson-nano-benchmarks-lab.

    The network is taken for ResNet-50 in INT8, of which the same author gives latencies in these modes.
    """

    target: str
    mode: str
    fps: float
    frame_mj: float
    latency_ms: float

    @property
    def watts(self) -> float:
        return self.frame_mj * self.fps / 1000


CAMERAS = (
    Camera("orin-nano-8gb", "MAXN_SUPER", 29, 212, 1.162),
    Camera("orin-nano-8gb", "15W", 29, 184, 1.82),
    Camera("orin-nano-8gb", "7W", 29, 137, 3.73),
)


def priors(rows: list[Row]) -> dict[str, tuple[float, float]]:
    """Name of a constant -> (value, standard deviation of its logarithm)."""
    found = {"voltage_share": VOLTAGE_SHARE}
    for family, precisions in families().items():
        found[f"gb.{family}"] = MJ_PER_GB
        for precision in precisions:
            board = next(one for one in hardware().values() if one.family == family)
            unit = "tensor" if precision in board.tensor_precisions else "cuda"
            found[f"gmac.{family}.{precision}"] = MJ_PER_GMAC[f"{unit}.{precision}"]
    for target in dict.fromkeys([*(row.target for row in rows), *(one.target for one in CAMERAS)]):
        found.update({f"{target}.{term}": BOARD[term] for term in BOARD_TERMS})
    return found


def fit_power(rows: list[Row]) -> dict[str, Any]:
    """Constants as `energy.power_of` takes them.

    Args:
        rows: with watts.
    """
    prior = priors(rows)
    mean = np.log([value for value, _ in prior.values()])
    deviation = np.array([width for _, width in prior.values()])
    features = [features_of(row) for row in rows]

    def residual(values: np.ndarray) -> np.ndarray:
        fitted = _stored(dict(zip(prior, map(float, np.exp(values)), strict=True)), rows)
        of_rows = [
            watts_of(row, counted, fitted) / (row.watts or 1) for row, counted in zip(rows, features, strict=True)
        ]
        of_cameras = [_idle_w(one.target, one.mode, fitted) / one.watts for one in CAMERAS]
        return np.r_[np.log([*of_rows, *of_cameras]) / NOISE, (values - mean) / deviation]

    found = least_squares(residual, mean, xtol=1e-8, ftol=1e-8).x
    return _stored(dict(zip(prior, map(float, np.exp(found)), strict=True)), rows)


def watts_of(row: Row, features: Any, fitted: dict[str, Any]) -> float:
    """Predicted from the published latency, so that this error is of the power model alone."""
    board = hardware()[row.target]
    voltage = voltage_of(board, row.mode, fitted["voltage_share"])
    watts = _idle_w(row.target, row.mode, fitted)
    watts += fitted["boards"][row.target]["gpu_w"] * gpu_term(board, row.mode, voltage)
    return watts + work_mj(features, board, row.precision, voltage, fitted) / row.latency_ms


def held_out_watts(rows: list[Row], name_of: Callable[[Row], str]) -> list[tuple[Row, float]]:
    """(row, log error) of each row by a fit without its group."""
    found = []
    for name in dict.fromkeys(map(name_of, rows)):
        fitted = fit_power([row for row in rows if name_of(row) != name])
        for row in rows:
            if name_of(row) == name and row.target in fitted["boards"]:
                found.append((row, float(np.log(watts_of(row, features_of(row), fitted) / (row.watts or 1)))))
    return found


def _idle_w(target: str, mode: str, fitted: dict[str, Any]) -> float:
    of_board = fitted["boards"][target]
    return sum(of_board[term] * value for term, value in idle_terms(hardware()[target], mode).items())


def _stored(values: dict[str, float], rows: list[Row]) -> dict[str, Any]:
    gmac = {name.removeprefix("gmac."): value for name, value in values.items() if name.startswith("gmac.")}
    gb = {name.removeprefix("gb."): value for name, value in values.items() if name.startswith("gb.")}
    measured = {hardware()[row.target].family for row in rows}
    if "ampere" not in measured and "volta" in measured:
        gb["ampere"] = AMPERE_OVER_VOLTA * gb["volta"]
        for precision, of_fp16 in (("fp32", 2.0), ("fp16", 1.0), ("int8", 0.5)):
            gmac[f"ampere.{precision}"] = AMPERE_OVER_VOLTA * of_fp16 * gmac["volta.fp16"]
    boards: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        target, _, term = name.rpartition(".")
        if term in BOARD_TERMS:
            boards.setdefault(target, {})[term] = value
    for target, terms in boards.items():
        terms["inferred"] = hardware()[target].family not in measured
    return {
        "voltage_share": min(1.0, values["voltage_share"]),
        "mj_per_gmac": gmac,
        "mj_per_gb": gb,
        "boards": boards,
    }
