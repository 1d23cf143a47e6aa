"""What of a decoded picture is kept: the board's frame, and pixels to cut training crops from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edgedistill.config.data import DataConfig
from edgedistill_device.preprocess import covering_size, fitting_size, resize_box, resize_to, view


class Kept(NamedTuple):
    """Of one picture.

    Attributes:
        pixels: (h, w, 3) uint8 that training crops are cut from.
        frame: (H, W, 3) uint8 as the board frames it; None where it is the middle of `pixels`.
    """

    pixels: np.ndarray
    frame: np.ndarray | None


class KeptBefore(NamedTuple):
    """Of one picture whose pixels an earlier, interrupted run wrote.

    Attributes:
        height, width: of the pixels.
        frame: (height, width) of the board's frame, where it was written apart.
    """

    height: int
    width: int
    frame: tuple[int, int] | None


@dataclass(frozen=True)
class Framing:
    """How the run's pictures are framed, and how large they are kept for training.

    Attributes:
        size: (height, width) of the network's input, pixels.
        resize_px: short side that `crop` resizes to on the board.
        interpolation, fit: as in the recipe's [data].
        sixteen_bit: (low, high), the 16-bit values that become 0 and 255.
        training_px: short side that training crops are cut from, see `Recipe.training_px`.
    """

    size: tuple[int, int]
    resize_px: int
    interpolation: str
    fit: str
    sixteen_bit: tuple[int, int]
    training_px: int

    @property
    def keeps_frames(self) -> bool:
        """Whether the board's frame is kept beside the pixels for training."""
        return self.fit == "pad" or self.training_px > self.resize_px

    def keep(self, image: np.ndarray) -> Kept:
        """What is kept of (h, w, 3) uint8."""
        if not self.keeps_frames:
            return Kept(self.for_training(image), None)
        return Kept(self.for_training(image), view(image, self))

    def frame(self, image: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 -> (H, W, 3) uint8, as on the board."""
        return view(image, self)

    def for_training(self, image: np.ndarray) -> np.ndarray:
        """What training crops are cut from: never enlarged, unless it is the board's own frame."""
        return resize_to(image, self.training_size(image.shape[:2]), self.interpolation)

    def training_size(self, picture: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of what training crops of a picture of this height and width are cut from, pixels."""
        if not self.keeps_frames:
            box = resize_box(self.size, self.resize_px)
            return covering_size(picture, box) if self.fit == "crop" else box
        box = resize_box(self.size, self.training_px)
        if self.fit == "squash":
            return min(box[0], picture[0]), min(box[1], picture[1])
        wanted = (fitting_size if self.fit == "pad" else covering_size)(picture, box)
        return picture if wanted[0] >= picture[0] or wanted[1] >= picture[1] else wanted


def framing_of(data: DataConfig, resize_px: int, training_px: int | None = None) -> Framing:
    """The recipe's framing; without `training_px` no more is kept than the board's frame needs."""
    return Framing(
        data.size, resize_px, data.interpolation, data.fit, data.sixteen_bit_range, max(resize_px, training_px or 0)
    )
