"""`python -m edgedistill.prediction.fitting.fit`: fit the latency model to the published rows and say how good it is.

Robust least squares on the logarithm of the latency. Every constant has a prior, a log-normal
around what a well-used GPU would give, because few rows are published and some constants are seen by few
of them. All rows of one method (one author's way of measuring) share a factor that is fitted with a tight
prior; a prediction for other users has factor 1.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from edgedistill.config.target import load_target
from edgedistill.errors import RecipeError
from edgedistill.prediction.features import Features, catalogue
from edgedistill.prediction.latency import COMPUTE, DEPTHWISE, GAINS, STORED, TERMS, data_sheet_ms, hardware
from edgedistill.prediction.published_rows import Row

NOISE = 0.08  # standard deviation of a log latency; runs of one script differ by 2 to 8 %
METHOD = 0.05  # the same of a method's factor
PRIOR = {  # term -> (usual multiple of the data sheet's time, standard deviation of its logarithm)
    "dense3x3": (0.85, 0.5),  # Winograd needs fewer multiplications than are counted
    "dense": (1.6, 0.5),
    "pointwise": (2.0, 0.5),
    "gemm": (2.0, 0.5),
    "matmul": (5.0, 1.0),
    "moved": (1.4, 0.4),
    "depthwise_moved": (3.3, 0.7),
    "other_moved": (1.4, 0.4),
    "kernels": (10.0, 0.7),
    "network": (0.5, 0.7),
    "python_call": (1.0, 0.7),
}


@dataclass(frozen=True)
class Fit:
    """Fitted logarithms: TERMS, then GAINS, then one for each method."""

    target: str
    values: np.ndarray
    methods: tuple[str, ...]

    @property
    def stored(self) -> dict[str, Any]:
        """As `latency_ms` takes it."""
        constants = np.exp(self.values)
        return {
            "constants": dict(zip(TERMS, map(float, constants[: len(TERMS)]), strict=True)),
            "gains": dict(zip(GAINS, map(float, constants[len(TERMS) : len(TERMS) + len(GAINS)]), strict=True)),
        }

    def factor(self, method: str) -> float:
        """Of a method; 1 for one that was not seen."""
        if method not in self.methods:
            return 1.0
        return float(np.exp(self.values[len(TERMS) + len(GAINS) + self.methods.index(method)]))


def features_of(row: Row) -> Features:
    counted = catalogue()[(row.network, row.image_px)]
    return counted[max(counted)]


def prior(target: str) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation) of the logarithms of TERMS and GAINS, PRIOR and the board's own.

    Raises:
        RecipeError: the board has none, or names a term that the model does not have.
    """
    board = load_target(target).prior
    if board is None:
        raise RecipeError(f"targets/{target}.toml has no [prior], so nothing can be fitted for it")
    unknown = sorted(set(board.terms) - set(TERMS))
    if unknown:
        raise RecipeError(f"targets/{target}.toml: [prior.terms] has no key {unknown[0]!r}; it has: {', '.join(TERMS)}")
    terms = {**PRIOR, **board.terms}
    gains = {"compute": board.compute_gain, "depthwise": board.depthwise_gain}
    pairs = [*(terms[name] for name in TERMS), *(gains[name] for name in GAINS)]
    return np.log([mean for mean, _ in pairs]), np.array([deviation for _, deviation in pairs])


def fit(rows: list[Row], target: str) -> Fit:
    """The most probable constants, by least squares with a loss that tames outliers.

    Args:
        rows: of one board; those of one network together count as one.
    """
    methods = tuple(sorted({row.method for row in rows}))
    mean, deviation = prior(target)
    mean = np.r_[mean, np.zeros(len(methods))]
    deviation = np.r_[deviation, np.full(len(methods), METHOD)]
    sheet = np.array([data_sheet_ms(features_of(row), target, row.precision, row.in_python) for row in rows])
    observed = np.log([row.latency_ms for row in rows])
    shares = Counter(row.network for row in rows)
    vote = np.array([shares[row.network] ** -0.5 for row in rows]) / NOISE

    def residual(values: np.ndarray) -> np.ndarray:
        return np.r_[_residual(values, sheet, observed, rows, target, methods)[0] * vote, (values - mean) / deviation]

    def jacobian(values: np.ndarray) -> np.ndarray:
        of_rows = _residual(values, sheet, observed, rows, target, methods)[1]
        return np.r_[of_rows * vote[:, None], np.diag(1 / deviation)]

    def loss(squares: np.ndarray) -> np.ndarray:
        """The soft absolute value of the rows, plain squares of the priors, with two derivatives."""
        root = np.sqrt(1 + squares)
        soft, plain = (2 * (root - 1), 1 / root, -0.5 / root**3), (squares, np.ones_like(root), np.zeros_like(root))
        return np.where(np.arange(len(squares)) < len(rows), soft, plain)

    found = least_squares(residual, mean, jacobian, loss=loss, ftol=None, xtol=1e-12, gtol=1e-12)
    return Fit(target, found.x, methods)


def _residual(
    values: np.ndarray,
    sheet: np.ndarray,
    observed: np.ndarray,
    rows: list[Row],
    target: str,
    methods: tuple[str, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """log(predicted / observed) of each row, and its derivatives."""
    terms = len(TERMS)
    cost = np.exp(values[:terms]) * sheet
    second = np.array([row.precision == hardware()[target].other for row in rows])
    cost[np.ix_(second, np.array(COMPUTE))] *= np.exp(values[terms])
    cost[second, DEPTHWISE] *= np.exp(values[terms + 1])
    total = cost.sum(axis=1)
    share = cost / total[:, None]
    jacobian = np.zeros((len(rows), len(values)))
    jacobian[:, :terms] = share
    jacobian[second, terms] = share[second][:, list(COMPUTE)].sum(axis=1)
    jacobian[second, terms + 1] = share[second, DEPTHWISE]
    position = np.array([terms + len(GAINS) + methods.index(row.method) for row in rows])
    jacobian[np.arange(len(rows)), position] = 1
    return np.log(total) + values[position] - observed, jacobian


def main(words: list[str] | None = None) -> None:
    """Fit, validate, store, print; docs/estimate.md holds what it printed."""
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
