"""Images that show the same thing: exact copies by hash, near copies by appearance.

A photograph of the same object under another exposure, contrast or JPEG quality must not stand in
both the training and the test images. Two signatures that agree mean two such images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

SIDE = 32  # pixels a side of a signature
BLOCK = 1024  # rows and columns of one matrix product: its memory does not depend on the images
MOST_IMAGES = 100_000  # compared each with each, minutes; twice as many would take four times as long
CERTAIN = 0.9999  # a bar that has risen so far finds nothing that equal bytes do not
_SKETCH, _SAMPLED = 128, 4096  # numbers a sketch has, images that its directions are taken from
_ROUNDING = 1e-3  # of float32, with room
LISTED = 50  # pairs between splits that are named; all are counted


class Rows(Protocol):
    """(N, 1024) float32 by row, slice or rows: an array, or `Signatures`."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


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


def alike_pairs(signatures: Rows, similarity: float) -> list[tuple[int, int, float]]:
    """All pairs (i < j) whose correlation is at least `similarity`, for few images.

    Frames of one scene are all alike: their pairs grow with the square. `look_alikes` keeps a forest.
    """
    return [
        pair
        for i, j, alike in _blocks(signatures, [similarity])
        for pair in zip(i.tolist(), j.tolist(), alike.tolist(), strict=True)
    ]


@dataclass(frozen=True)
class LookAlikes:
    """What is alike among N images.

    Attributes:
        similarity: the bar that was used in the end.
        pairs: (i, j) that join the same images as all pairs at that bar; fewer than N.
        leak_counts: all pairs at that bar whose images were given in different splits, by names
            like `test/train`.
        leaks: the first LISTED of them, (i, j, correlation), most alike first.
    """

    similarity: float
    pairs: list[tuple[int, int]]
    leak_counts: Counter
    leaks: list[tuple[int, int, float]]


def look_alikes(
    signatures: Rows, similarity: float, given: list[str], weights: np.ndarray, largest: float
) -> LookAlikes:
    """Join images that are alike, in memory that grows with the number of images only.

    Where a chain of look-alikes weighs more than `largest`, the bar rises by a quarter of what it lacks
    to 1 until none does. The pairs are not kept: a spanning forest of the most alike ones joins the
    same images at every bar.

    Args:
        signatures: (N, 1024) of `signature`.
        similarity: the first bar, above 0.
        given: N names of the splits that the user gave.
        weights: (N,) of the images; 1 each, less for those that belong together anyway.
        largest: see above.

    Source: the largest spanning forest holds the components at every threshold (Gower and Ross
    1969, J. R. Stat. Soc. C 18, 54-64).
    """
    bars = _bars(similarity)
    forest, leaks = _Forest(len(signatures)), _Leaks(given, np.array(bars, np.float32))
    for i, j, alike in _blocks(signatures, bars):
        leaks.add(i, j, alike)
        forest.add(i, j, alike)
        if forest.waiting >= BLOCK * BLOCK:
            _raise_bar(bars, forest, weights, largest)
    _raise_bar(bars, forest, weights, largest)
    if len(bars) == 1:
        return LookAlikes(bars[0], [], Counter(), [])
    i, j, _ = forest.edges
    return LookAlikes(bars[0], list(zip(i.tolist(), j.tolist(), strict=True)), *leaks.at(bars[0]))


def _bars(similarity: float) -> list[float]:
    """Ascending; at the last one the search gives up."""
    bars = [similarity]
    while len(bars) == 1 or bars[-1] < CERTAIN:
        bars.append(bars[-1] + (1 - bars[-1]) / 4)
    return bars


def _raise_bar(bars: list[float], forest: _Forest, weights: np.ndarray, largest: float) -> None:
    """Take bars off the front until no part is too heavy: further pairs only make parts heavier."""
    forest.thin()
    while len(bars) > 1 and np.bincount(forest.parts(), weights).max() > largest:
        bars.pop(0)
        forest.cut(bars[0])


def _blocks(signatures: Rows, bars: list[float]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(i, j, correlation) of the pairs i < j at the first bar, BLOCK x BLOCK comparisons at a time.

    The bar may have risen before the next block; at the last of several there is nothing to find.
    """
    several, sketches = len(bars) > 1, _sketches(signatures)
    for top in range(0, len(signatures), BLOCK):
        for left in range(top, len(signatures), BLOCK):
            if several and len(bars) == 1:
                return
            rows = np.arange(top, min(top + BLOCK, len(signatures)))
            columns = np.arange(left, min(left + BLOCK, len(signatures)))
            if sketches is not None:
                possible = sketches[rows] @ sketches[columns].T >= bars[0] - _ROUNDING
                possible &= rows[:, np.newaxis] < columns
                rows, columns = rows[possible.any(axis=1)], columns[possible.any(axis=0)]
            block = signatures[rows] @ signatures[columns].T
            i, j = np.nonzero((block >= bars[0]) & (rows[:, np.newaxis] < columns))
            yield rows[i].astype(np.int32), columns[j].astype(np.int32), block[i, j]


def _sketches(signatures: Rows) -> np.ndarray | None:
    """(N, S) float32, whose dot products are at least those of the signatures; None for few images.

    The coordinates along the directions in which a sample varies most, then the length of the rest: by Cauchy and
    Schwarz two rests multiply to no more than the product of their lengths. An eighth of the work rules out most pairs.
    """
    if len(signatures) <= 4 * BLOCK:
        return None
    sampled = signatures[:: max(1, len(signatures) // _SAMPLED)]
    products = np.zeros((sampled.shape[1], sampled.shape[1]))
    for start in range(0, len(sampled), BLOCK):
        piece = sampled[start : start + BLOCK].astype(np.float64)
        products += piece.T @ piece
    _, directions = np.linalg.eigh(products)  # ascending
    basis = directions[:, -_SKETCH:].astype(np.float32)
    sketches = np.empty((len(signatures), basis.shape[1] + 1), np.float32)
    for start in range(0, len(signatures), BLOCK):
        piece = signatures[start : start + BLOCK]
        inside = piece @ basis
        sketches[start : start + BLOCK, :-1] = inside
        rest = np.square(piece).sum(axis=1) - np.square(inside).sum(axis=1)
        sketches[start : start + BLOCK, -1] = np.sqrt(np.maximum(rest, 0))
    return sketches


class _Forest:
    """Of the pairs that are added, those that a largest spanning forest needs."""

    def __init__(self, count: int) -> None:
        self.count, self.waiting = count, 0
        self.edges = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
        self._added: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, i: np.ndarray, j: np.ndarray, alike: np.ndarray) -> None:
        self._added.append((i, j, alike))
        self.waiting += len(i)

    def thin(self) -> None:
        """Forget the pairs that join what more alike ones join already."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import minimum_spanning_tree

        i, j, alike = (np.concatenate(parts) for parts in zip(self.edges, *self._added, strict=True))
        self._added, self.waiting = [], 0
        # No distance is 0, which would be no pair.
        far = coo_array((2 - alike.astype(np.float64), (i, j)), (self.count, self.count))
        tree = minimum_spanning_tree(far.tocsr(), overwrite=True).tocoo()
        self.edges = tree.row, tree.col, (2 - tree.data).astype(np.float32)

    def cut(self, bar: float) -> None:
        """Forget the pairs below the bar."""
        above = self.edges[2] >= bar
        i, j, alike = self.edges
        self.edges = i[above], j[above], alike[above]

    def parts(self) -> np.ndarray:
        """(N,) a number for each connected part."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        i, j, alike = self.edges
        return connected_components(coo_array((alike, (i, j)), (self.count, self.count)), directed=False)[1]


class _Leaks:
    """Pairs between splits that the user gave: counted at every bar, the most alike ones kept."""

    def __init__(self, given: list[str], bars: np.ndarray) -> None:
        self.names, self.split = np.unique(np.array(given), return_inverse=True)
        self.bars = bars
        self.counts = np.zeros((len(bars), len(self.names), len(self.names)), np.int64)
        self.first: list[tuple[int, int, float]] = []

    def add(self, i: np.ndarray, j: np.ndarray, alike: np.ndarray) -> None:
        apart = self.split[i] != self.split[j]
        i, j, alike = i[apart], j[apart], alike[apart]
        level = np.searchsorted(self.bars, alike, side="right") - 1
        place = np.ravel_multi_index((level, self.split[i], self.split[j]), self.counts.shape)
        self.counts += np.bincount(place, minlength=self.counts.size).reshape(self.counts.shape)
        if len(alike) > LISTED:  # sorting millions would cost more than finding them
            least = np.partition(alike, -LISTED)[-LISTED]
            best = np.concatenate([np.flatnonzero(alike > least), np.flatnonzero(alike == least)[:LISTED]])
            i, j, alike = i[best], j[best], alike[best]
        candidates = [*self.first, *zip(i.tolist(), j.tolist(), alike.tolist(), strict=True)]
        self.first = sorted(candidates, key=lambda pair: (-pair[2], pair))[:LISTED]

    def at(self, bar: float) -> tuple[Counter[str], list[tuple[int, int, float]]]:
        total = self.counts[self.bars >= np.float32(bar)].sum(axis=0)
        counts: Counter[str] = Counter()
        for one, other in zip(*np.nonzero(total), strict=True):
            name = "/".join(sorted((str(self.names[one]), str(self.names[other]))))
            counts[name] += int(total[one, other])
        return counts, [pair for pair in self.first if pair[2] >= np.float32(bar)]


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
