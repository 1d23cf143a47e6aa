"""A heat map over the picture that it is of."""

from __future__ import annotations

import cv2
import numpy as np

LEAST_PX = 256  # height of a picture for people
_COLOUR, _SHARE = (255, 106, 0), 0.6  # orange, and how much of it lies over the hottest place


def heated(frame: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The picture in grey, with the more orange over a place, the hotter it is.

    Args:
        frame: (H, W, 3) uint8, RGB.
        heat: (h, w) float in 0..1, of any size: it is laid over the whole frame.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    height, width = frame.shape[:2]
    smooth = np.clip(cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)[:, :, np.newaxis]
    share = _SHARE * smooth[:, :, np.newaxis]
    return np.rint(grey * (1 - share) + np.array(_COLOUR) * share).astype(np.uint8)


def beside_its_heat(frame: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The picture and, to its right, `heated`: both so large that a person can look at them.

    Returns:
        (k H, 2 k W, 3) uint8, RGB, with the least whole k that gives LEAST_PX rows.
    """
    times = -(-LEAST_PX // frame.shape[0])
    large = np.repeat(np.repeat(frame, times, axis=0), times, axis=1)
    return np.hstack([large, heated(large, heat)])
