"""Errors of networks that answer with figures, in the unit of each value, with bootstrap intervals over images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgedistill.core.ranges import ranges_of
from edgedistill.evaluation.bootstrap import draws_of, interval_of
from edgedistill.records.outputs import Figure, OutputFigures, OutputGain, OutputValidation, RangeError
from edgedistill_device.inference.values import in_units
from edgedistill_device.value_spec import Value

STANDARD = "sd"  # unit of what is over all values


def value_measures(outputs: np.ndarray, targets: np.ndarray, values: Sequence[Value]) -> OutputFigures:
    """Mean absolute error, root mean square error, bias and R2 of each value and over all, and the error by range.

    Args:
        outputs: (N, K) float of the network, standard deviations from the training mean. One that is not finite
            counts as the mean.
        targets: (N, K) float, in the units.
        values: K of Value.

    Raises:
        ValueError: no images.
    """
    if len(targets) == 0:
        raise ValueError("no labelled images to measure on")
    answers, weights = _answers(outputs, values), draws_of(len(targets))
    figures, ranges = [], []
    parts: dict[str, list[tuple[float, np.ndarray]]] = {"mae": [], "r2": []}
    for number, value in enumerate(values):
        error, truth = answers[:, number] - targets[:, number], targets[:, number]
        for name, unit, figure in _FIGURES:
            here, drawn = float(figure(error, truth, _ALL)[0]), figure(error, truth, weights)
            figures.append(_figure(name, value.name, here, drawn, len(targets), value.unit if unit else ""))
            if name in parts:
                scale = value.std if unit else 1.0
                parts[name].append((here / scale, drawn / scale))
        ranges += _by_range(error, truth, value.name)
    for name, held in parts.items():
        mean, drawn = float(np.mean([here for here, _ in held])), np.mean([drawn for _, drawn in held], axis=0)
        figures.append(_figure(name, None, mean, drawn, len(targets), STANDARD if name == "mae" else ""))
    return OutputFigures(images=len(targets), figures=figures, ranges=ranges)


def value_validation(outputs: np.ndarray, targets: np.ndarray, values: Sequence[Value]) -> OutputValidation:
    """The same of a training, with the mean squared error in standard deviations as its loss."""
    loss = _loss(_answers(outputs, values) - targets, values)
    return OutputValidation(**value_measures(outputs, targets, values).given(), loss=loss)


def value_epoch(outputs: np.ndarray, targets: np.ndarray, values: Sequence[Value]) -> dict[str, float]:
    """Loss and R2 over all values as of `value_validation`, without their intervals."""
    errors = _answers(outputs, values) - targets
    r2 = [_r2(error, truth, _ALL)[0] for error, truth in zip(errors.T, targets.T, strict=True)]
    return {"loss": _loss(errors, values), "r2": float(np.mean(r2))}


def _loss(errors: np.ndarray, values: Sequence[Value]) -> float:
    return float(((errors / np.array([value.std for value in values])) ** 2).mean())


def value_gain(
    outputs: np.ndarray, other: np.ndarray, targets: np.ndarray, values: Sequence[Value], name: str = "mae_gain"
) -> OutputGain:
    """How much smaller the absolute errors are than another network's on the same images.

    Args:
        outputs, other: (N, K) of the network and of the other one, as of `value_measures`.
        name: of the figures.
    """
    first, second = (np.abs(_answers(one, values) - targets) for one in (outputs, other))
    smaller, weights = second - first, draws_of(len(targets))
    stds = np.array([value.std for value in values])
    drawn = weights @ smaller / len(targets)
    overall = 100 * (drawn / stds).mean(axis=1)
    return OutputGain(
        points=float(100 * (smaller.mean(axis=0) / stds).mean()),
        interval_points=interval_of(overall, len(targets)),
        by_output=[
            _figure(name, value.name, float(smaller[:, k].mean()), drawn[:, k], len(targets), value.unit)
            for k, value in enumerate(values)
        ],
    )


def _answers(outputs: np.ndarray, values: Sequence[Value]) -> np.ndarray:
    return in_units(np.nan_to_num(outputs.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0), values)


_ALL = np.ones((1, 1))


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.broadcast_to(weights, (len(weights), len(values))) @ values / len(values)


def _r2(error: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """1 - residual / total sum of squares; of equal truths 1 without an error, else 0, as scikit-learn's r2_score."""
    centred = truth - truth.mean()
    residual = _mean(error**2, weights)
    total = _mean(centred**2, weights) - _mean(centred, weights) ** 2
    flat = total <= 1e-12 * max(float((truth**2).mean()), 1e-300)
    return np.where(flat, (residual == 0).astype(float), 1 - residual / np.where(flat, 1.0, total))


_FIGURES: tuple[tuple[str, bool, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]], ...] = (
    ("mae", True, lambda error, truth, weights: _mean(np.abs(error), weights)),
    ("rmse", True, lambda error, truth, weights: np.sqrt(_mean(error**2, weights))),
    ("bias", True, lambda error, truth, weights: _mean(error, weights)),
    ("r2", False, _r2),
)
"""Name, whether it has the value's unit, (errors (N,), truths (N,), weights (draws, N)) -> (draws,)."""


def _figure(name: str, output: str | None, value: float, drawn: np.ndarray, images: int, unit: str) -> Figure:
    return Figure(name=name, output=output, value=value, interval=interval_of(drawn, images), unit=unit)


def _by_range(error: np.ndarray, truth: np.ndarray, name: str) -> list[RangeError]:
    places, bounds = ranges_of(truth)
    return [
        RangeError(
            output=name,
            low=low,
            high=high,
            images=int((places == number).sum()),
            mae=float(np.abs(error[places == number]).mean()),
            bias=float(error[places == number].mean()),
        )
        for number, (low, high) in enumerate(bounds)
    ]
