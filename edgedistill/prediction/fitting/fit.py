"""`python -m edgedistill.prediction.fitting.fit`: fit the latency model to the published rows and say how good it is.

Robust least squares on the logarithm of the latency, all boards at once. Every constant has a prior, a log-normal
around what a well-used GPU would give; a family's factors have one around 1, so that a family with few rows takes the
others' constants. A row's grade says how far it is trusted. What a source adds by its way of measuring is fitted too: a
factor for each source, wide where it does not state the board's power mode, the time of a framework's call where one
was timed, and slower launches before TensorRT 7. A prediction for other users has none of these.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from edgedistill.prediction.features import Features, catalogue
from edgedistill.prediction.latency import (
    COMPUTE,
    ELEMENT_BYTES,
    LAUNCHES,
    MOVED,
    STORED,
    TERMS,
    constants_of,
    data_sheet_ms,
    hardware,
)
from edgedistill.prediction.published_rows import CALLS, Row

# Standard deviation of a log latency: runs of one script differ by 2 to 8 %, sources of one network by more.
NOISE = {"A": 0.075, "B": 0.15, "C": 0.375, "D": 0.6}
SOURCE = {"A": 0.03, "B": 0.06, "C": 0.2, "D": 0.2}  # the same of a source's factor
MODE_NOT_STATED = 0.2
OLD = (1.3, 0.4)
CALL = {"mmdeploy": 3.0}  # ms at 1 GHz of the CPU; others:
USUAL_CALL, CALL_DEVIATION = 0.6, 0.5
FACTOR = {"depthwise": 0.3, "kernels": 0.4, "network": 0.7}  # deviation of a family's factor; others:
USUAL_FACTOR = 0.3
KIND_FACTOR = 0.2
PRIOR = {  # constant -> (usual multiple of the data sheet's time, standard deviation of its logarithm)
    "cuda.dense3x3": (0.9, 0.5),  # Winograd needs fewer multiplications than are counted
    "cuda.dense": (1.5, 0.5),
    "cuda.grouped": (3.0, 0.5),
    "cuda.pointwise": (1.6, 0.5),
    "cuda.gemm": (2.0, 0.5),
    "cuda.matmul": (5.0, 0.5),
    "tensor.dense3x3": (1.3, 0.5),
    "tensor.dense": (1.6, 0.5),
    "tensor.grouped": (5.0, 0.5),
    "tensor.pointwise": (1.6, 0.5),
    "tensor.gemm": (2.0, 0.5),
    "tensor.matmul": (5.0, 0.5),
    "weights": (1.2, 0.3),
    "moved": (1.4, 0.4),
    "cuda.depthwise": (50.0, 0.7),
    "tensor.depthwise": (25.0, 0.7),
    "other_moved": (1.4, 0.4),
    "kernels_gpu": (3.0, 1.0),
    "kernels_cpu": (1.0, 1.0),
    "network": (0.1, 1.0),
}


@dataclass(frozen=True)
class Fit:
    """Fitted constants and factors by name; `nuisance` of the sources that were seen."""

    constants: dict[str, float]
    nuisance: dict[str, float]


def families() -> dict[str, tuple[str, ...]]:
    """Family -> the precisions that any of its boards computes in."""
    found: dict[str, tuple[str, ...]] = {}
    for board in hardware().values():
        found[board.family] = tuple(
            p for p in ELEMENT_BYTES if p in {*found.get(board.family, ()), *board.macs_per_cycle}
        )
    return found


def priors() -> dict[str, tuple[float, float]]:
    """Of constants and of the families' factors: (value, standard deviation of its logarithm)."""
    factors = {}
    for family, precisions in families().items():
        kinds = [f"{unit}.{kind}" for unit in ("cuda", "tensor") for kind in COMPUTE]
        for name in (*precisions, *kinds, *MOVED, "depthwise", "kernels", "network"):
            factors[f"{family}.{name}"] = (1.0, KIND_FACTOR if name in kinds else FACTOR.get(name, USUAL_FACTOR))
    return {**PRIOR, **factors}


def features_of(row: Row) -> Features:
    counted = catalogue()[(row.network, row.image_px)]
    return counted[max(counted)].of_batch(row.batch)


def fit(rows: list[Row]) -> Fit:
    """The most probable constants, by least squares with a loss that tames outliers.

    Args:
        rows: of any boards; those of one network on one board and mode together count as one.
    """
    prior = {**priors(), **_nuisance_priors(rows)}
    names = {name: place for place, name in enumerate(prior)}
    mean = np.log([value for value, _ in prior.values()])
    deviation = np.array([width for _, width in prior.values()])
    design = _Design(rows, names)
    observed = np.log([row.latency_ms for row in rows])
    shared = Counter((row.network, row.target, row.mode) for row in rows)
    vote = np.array([1 / NOISE[row.grade] / shared[(row.network, row.target, row.mode)] ** 0.5 for row in rows])

    def residual(values: np.ndarray) -> np.ndarray:
        return np.r_[(design.log_ms(values) - observed) * vote, (values - mean) / deviation]

    def jacobian(values: np.ndarray) -> np.ndarray:
        return np.r_[design.jacobian(values) * vote[:, None], np.diag(1 / deviation)]

    def loss(squares: np.ndarray) -> np.ndarray:
        """The soft absolute value of the rows, plain squares of the priors, with two derivatives."""
        root = np.sqrt(1 + squares)
        soft, plain = (2 * (root - 1), 1 / root, -0.5 / root**3), (squares, np.ones_like(root), np.zeros_like(root))
        return np.where(np.arange(len(squares)) < len(rows), soft, plain)

    found = np.exp(least_squares(residual, mean, jacobian, loss=loss, ftol=1e-10, xtol=1e-10, gtol=1e-10).x)
    values = {name: float(found[place]) for name, place in names.items()}
    return Fit({name: values[name] for name in priors()}, {name: values[name] for name in _nuisance_priors(rows)})


def _source(row: Row) -> str:
    """Rows that share a factor: of one source, and of one board where it does not state the power mode."""
    return f"source.{row.method}" + ("" if row.mode_stated else f" on {row.target}")


def _nuisance_priors(rows: list[Row]) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for row in rows:
        width = SOURCE[row.grade] if row.mode_stated else MODE_NOT_STATED
        found.setdefault(_source(row), (1.0, width))
        if row.method in CALLS:
            found.setdefault(f"call.{row.method}", (CALL.get(row.method, USUAL_CALL), CALL_DEVIATION))
    return {**found, "old": OLD}


class _Design:
    """Rows as products: the latency of a row is a sum of terms, each a data sheet's time times two constants."""

    def __init__(self, rows: list[Row], names: dict[str, int]):
        self._size = len(names)
        sheets = []
        places: list[list[tuple[int, ...]]] = []
        for row in rows:
            board = hardware()[row.target]
            sheet = data_sheet_ms(features_of(row), board, row.mode, row.precision)
            clocks = board.modes[row.mode]
            sheets.append([*(sheet[term] for term in TERMS), 1e3 / clocks.cpu_mhz * (row.method in CALLS)])
            of_terms = [constants_of(term, board, row.precision) for term in TERMS]
            call = names.get(f"call.{row.method}", names["old"])
            found = [[names[name] for name in several] for several in [*of_terms, ()]]
            found[-1] = [call]
            places.append([tuple((several + [-1, -1])[:3]) for several in found])
        self._sheet = np.array(sheets)
        self._places = np.array(places)
        self._source = np.array([names[_source(row)] for row in rows])
        self._old = np.array([names["old"] if row.old else -1 for row in rows])
        self._launches = [TERMS.index(term) for term in LAUNCHES]

    def _cost(self, values: np.ndarray) -> np.ndarray:
        """(rows, terms) ms."""
        padded = np.r_[values, 0.0]  # place -1 is a factor of 1
        cost = self._sheet * np.exp(padded[self._places].sum(axis=2))
        cost[:, self._launches] *= np.exp(padded[self._old])[:, None]
        return cost

    def log_ms(self, values: np.ndarray) -> np.ndarray:
        return np.log(self._cost(values).sum(axis=1)) + values[self._source]

    def jacobian(self, values: np.ndarray) -> np.ndarray:
        """(rows, constants)."""
        cost = self._cost(values)
        share = cost / cost.sum(axis=1, keepdims=True)
        found = np.zeros((len(share), self._size + 1))
        every = np.arange(len(share))[:, None]
        for side in range(3):
            np.add.at(found, (every, self._places[:, :, side]), share)
        np.add.at(found, (every[:, 0], self._old), share[:, self._launches].sum(axis=1))
        np.add.at(found, (every[:, 0], self._source), 1.0)
        return found[:, :-1]


def main(words: list[str] | None = None) -> None:
    """Fit, validate, store, print; docs/predict.md holds its first tables."""
    from edgedistill.prediction.fitting.report import report_and_store

    parser = argparse.ArgumentParser(prog="python -m edgedistill.prediction.fitting.fit", description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(STORED),
        metavar="FILE",
        help="where the constants go (default: %(default)s in the current folder)",
    )
    report_and_store(parser.parse_args(words).output)


if __name__ == "__main__":
    main()
