"""Weights rounded for what their layer puts out, not each to the nearest step.

The error of a layer's output depends on how its inputs go together, which rounding each weight to the nearest step
does not look at. Coordinate descent on that error: one weight after the other goes to the step that is best given all
others. The steps stay those of the nearest rounding: the largest weight of each output channel keeps its 127, so that
whoever takes the scale from the rounded weights, as TensorRT does, finds the same scale and the same integers.

Source: Nagel et al. 2020, arXiv:2004.10568 (a layer's output error is quadratic in the rounding); Frantar et al. 2022,
arXiv:2210.17323 (blocks and damping); Behdin et al. 2023, arXiv:2309.01885 (coordinate descent).
"""

from __future__ import annotations

import numpy as np

from edgedistill_calibration.scales import LEVELS, SMALLEST_AMAX

SWEEPS = 4  # over all weights of a layer
BLOCK = 64  # weights whose gradient is followed one by one


def scales_of(weight: np.ndarray) -> np.ndarray:
    """(O, ...) -> (O,) float32, one step an output channel, as the Q/DQ file and TensorRT have it."""
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    return (np.maximum(largest, SMALLEST_AMAX) / LEVELS).astype(np.float32)


def nearest(weight: np.ndarray) -> np.ndarray:
    """(O, ...) float32, each weight on the nearest step."""
    scale = scales_of(weight).reshape(-1, *[1] * (weight.ndim - 1))
    return (np.clip(np.rint(weight / scale), -LEVELS, LEVELS) * scale).astype(np.float32)


def rounded(weight: np.ndarray, moments: np.ndarray, cross: np.ndarray, stay: float) -> np.ndarray:
    """Each weight on a step, for the least squared error of the layer's output.

    Args:
        weight: (G, O, d) float, groups, outputs of each, inputs of each.
        moments: (G, d, d), covariance of the INT8 layer's inputs.
        cross: (G, O, d), covariance of the float layer's outputs with them.
        stay: how much the weights are held where they were, in variances of their inputs: the less the two
            covariances are to be trusted, the more.

    Returns:
        (G, O, d) float32, multiples of the output channel's step.
    """
    inputs = weight.shape[2]
    scale = scales_of(weight.reshape(-1, inputs)).reshape(*weight.shape[:2], 1).astype(np.float64)
    pinned = np.abs(weight) >= np.abs(weight).max(axis=2, keepdims=True)
    variances = np.einsum("gdd->gd", moments)
    ridge = stay * (variances + variances.mean(axis=1, keepdims=True)) + np.finfo(np.float32).tiny
    moments = moments + np.eye(inputs) * ridge[:, np.newaxis, :]
    cross = cross + weight * ridge[:, np.newaxis, :]
    steps = np.clip(np.rint(weight / scale), -LEVELS, LEVELS)
    for _ in range(SWEEPS):
        if not _sweep(steps, scale, pinned, moments, cross):
            break
    return (steps * scale).astype(np.float32)


def _sweep(steps: np.ndarray, scale: np.ndarray, pinned: np.ndarray, moments: np.ndarray, cross: np.ndarray) -> int:
    """Move each weight once, in place; how many moved."""
    moved, inputs = 0, steps.shape[2]
    gradient = (steps * scale) @ moments - cross
    for start in range(0, inputs, BLOCK):
        stop = min(start + BLOCK, inputs)
        before = steps[:, :, start:stop].copy()
        for place in range(start, stop):
            curvature = moments[:, place, place][:, np.newaxis]
            now = steps[:, :, place]
            best = np.rint(now - gradient[:, :, place] / (curvature * scale[:, :, 0]))
            best = np.where(pinned[:, :, place], now, np.clip(best, -LEVELS, LEVELS))
            change = (best - now) * scale[:, :, 0]
            steps[:, :, place] = best
            gradient[:, :, start:stop] += change[:, :, np.newaxis] * moments[:, np.newaxis, place, start:stop]
        change = (steps[:, :, start:stop] - before) * scale
        moved += int((change != 0).sum())
        gradient[:, :, stop:] += change @ moments[:, start:stop, stop:]
    return moved
