"""The random crop of a training view: windows of a picture that the network is shown whole."""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any, NamedTuple, Protocol

import numpy as np

from edgedistill_device.preprocess import PAD_GREY, resize_to

# 1 was albumentations' RandomResizedCrop; 2 averaged areas at any shrinking; 3 drew from numpy's generator.
VERSION = 4
_TRIES = 10  # at a window that fits
_NUMBERS = struct.Struct(f"<{2 * _TRIES + 2}Q")
_ASPECT = 4 / 3  # widest distortion of a window, to either side
# Windows that shrink by no more than this are resized by bilinear interpolation where `area` is asked for: 6 times
# faster in OpenCV, and two pixels of a footprint of at most 1.5 leave little to alias.
_BILINEAR_SHRINK = 1.5


class Random(Protocol):
    """What a crop asks of a source of numbers; numpy's Generator is one."""

    def uniform(self, low: float, high: float, /) -> float: ...

    def integers(self, low: int, high: int, /) -> Any: ...


class Draws:
    """The numbers of one crop, hashed from its seed: to seed a generator costs five times as much.

    Args:
        seed: >= 0, of the view.
        stream: apart from whatever else is drawn from that seed.
    """

    def __init__(self, seed: int, stream: bytes):
        digest = hashlib.shake_128(b"%d %b" % (seed, stream)).digest(_NUMBERS.size)
        self._numbers = iter(_NUMBERS.unpack(digest))

    def uniform(self, low: float, high: float, /) -> float:
        return low + (high - low) * next(self._numbers) / 2**64

    def integers(self, low: int, high: int, /) -> int:
        """At least low, below high."""
        return low + (next(self._numbers) * (high - low) >> 64)


class Window(NamedTuple):
    """A part of a picture, pixels; it may reach beyond the picture, where bars are."""

    top: int
    left: int
    height: int
    width: int


class RandomCrop:
    """A random window of a picture, resized to the network's input.

    An area between `scale_min` and 1 of what the board shows, with up to 4/3 of distortion:

    - crop: of the largest window of the input's shape, anywhere in the picture.
    - squash: of the whole picture, distorted as the board distorts it.
    - pad: of the picture with its bars; never of bars alone, since along each side the window holds
      all of the picture or lies inside it.

    Source: Szegedy et al. 2015, arXiv:1409.4842, section 6: scales and aspects of the crops.

    Args:
        size: (height, width) of the input, pixels.
        scale_min: smallest share of the area, in (0, 1].
        interpolation, fit: as in the recipe's [data].
    """

    def __init__(self, size: tuple[int, int], scale_min: float, interpolation: str, fit: str):
        self._size, self._scale_min = size, scale_min
        self._interpolation, self._fit = interpolation, fit

    def __call__(self, image: np.ndarray, rng: Random) -> np.ndarray:
        """(h, w, 3) uint8 -> (H, W, 3) uint8."""
        top, left, height, width = self.window(image.shape[:2], rng)
        bottom, right = top + height, left + width
        inside = image[max(top, 0) : bottom, max(left, 0) : right]
        if inside.shape[:2] == (height, width):
            return self._resized(inside, self._size)
        # The picture is resized to its own share of the view, and the bars are drawn around it.
        scale = self._size[0] / height, self._size[1] / width
        place = [
            min(max(0, round(-start * factor)), side - 1)
            for start, factor, side in zip((top, left), scale, self._size, strict=True)
        ]
        share = [
            max(1, min(round(part * factor), side - start))
            for part, factor, side, start in zip(inside.shape[:2], scale, self._size, place, strict=True)
        ]
        view = np.full((*self._size, 3), PAD_GREY, np.uint8)
        shown = self._resized(inside, (share[0], share[1]))
        view[place[0] : place[0] + share[0], place[1] : place[1] + share[1]] = shown
        return view

    def _resized(self, inside: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        fits_bilinear = all(had <= _BILINEAR_SHRINK * side for had, side in zip(inside.shape, size, strict=False))
        bilinear = self._interpolation == "area" and fits_bilinear
        return resize_to(inside, size, "bilinear" if bilinear else self._interpolation)

    def window(self, picture: tuple[int, int], rng: Random) -> Window:
        """Where the crop of a picture (height, width) lies."""
        whole = self._whole(picture)
        highest, widest = (self._most(axis, whole, picture) for axis in (0, 1))
        for _ in range(_TRIES):
            area, distortion = rng.uniform(self._scale_min, 1), _ASPECT ** rng.uniform(-1, 1)
            height = round(whole[0] * math.sqrt(area / distortion))
            width = round(whole[1] * math.sqrt(area * distortion))
            if 0 < height <= highest and 0 < width <= widest:
                break
        else:
            height, width = (max(1, round(side)) for side in whole)  # a picture of one pixel has no narrower window
        sides = ((height, picture[0]), (width, picture[1]))
        top, left = (_start(side, had, rng) for side, had in sides)
        return Window(top, left, height, width)

    def describe(self) -> dict[str, Any]:
        """What its windows and pixels depend on beside the random stream."""
        return {
            "version": VERSION,
            "size": list(self._size),
            "scale_min": self._scale_min,
            "interpolation": self._interpolation,
            "fit": self._fit,
        }

    def _whole(self, picture: tuple[int, int]) -> tuple[float, float]:
        """What counts as area 1: the largest window of the input's shape inside the picture, the
        smallest around it, or the picture."""
        if self._fit == "squash":
            return picture
        scales = [had / side for had, side in zip(picture, self._size, strict=True)]
        scale = min(scales) if self._fit == "crop" else max(scales)
        return scale * self._size[0], scale * self._size[1]

    def _most(self, axis: int, whole: tuple[float, float], picture: tuple[int, int]) -> int:
        """Longest side of a window: the picture, or with bars beside it what the board shows."""
        return max(picture[axis], round(whole[axis])) if self._fit == "pad" else picture[axis]


def _start(side: int, had: int, rng: Random) -> int:
    """First pixel of a window along one side: inside the picture, or so that it holds all of it."""
    free = had - side
    return int(rng.integers(min(free, 0), max(free, 0) + 1))
