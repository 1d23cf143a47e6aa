"""Images that show the same thing: exact copies by hash, near copies by appearance.

A photograph of the same object under another exposure, contrast or JPEG quality must not stand in
both the training and the test images. Two signatures that agree mean two such images.
"""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 32  # pixels a side of a signature
BLOCK = 2048  # rows of one matrix product: bounds the memory to BLOCK x N
MOST_IMAGES = 50_000  # compared each with each; four times as many would take sixteen times as long


def signature(image: np.ndarray) -> np.ndarray:
    """What stays of an image when exposure, contrast and size are taken away.

    The grey image is brought to 32 x 32, each pixel is compared with its surroundings (a
    high-pass), what all of a row or a column shares is taken off (busbars, seams and grids are
    the same on every part), and the result has mean 0 and length 1, so that a dot product of two
    signatures is their correlation.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (1024,) float32; all zero for a flat image, which then resembles nothing.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = small - cv2.GaussianBlur(small, (0, 0), 3)
    detail -= detail.mean(axis=0, keepdims=True)
    detail -= detail.mean(axis=1, keepdims=True)
    length = float(np.linalg.norm(detail))
    if length < 1e-3:
        return np.zeros(SIDE * SIDE, np.float32)
    return (detail / length).ravel()


def alike_pairs(signatures: np.ndarray, similarity: float) -> list[tuple[int, int, float]]:
    """All pairs (i < j) whose correlation is at least `similarity`.

    Every pair is compared: N² / 2 products of 1024, in blocks, so memory stays at BLOCK x N
    floats. MOST_IMAGES take about 10^12 multiplications: minutes.
    """
    pairs = []
    for start in range(0, len(signatures), BLOCK):
        block = signatures[start : start + BLOCK] @ signatures[start:].T
        for i, j in zip(*np.nonzero(block >= similarity), strict=True):
            if j > i:
                pairs.append((start + int(i), start + int(j), float(block[i, j])))
    return pairs


def groups_from_pairs(count: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    """(count,) group numbers: the smallest index that is reachable over the pairs."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        a, b = root(i), root(j)
        parent[max(a, b)] = min(a, b)
    return np.array([root(i) for i in range(count)], dtype=np.int64)
