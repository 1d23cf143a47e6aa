"""Mixup and CutMix as part of the view: a function of the view's seed, like every other transform.

The teacher's cached outputs are those of the very mixed image that the student sees, so no
approximation is made on the soft labels. Hard labels are mixed by share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedistill_device.preprocess_spec import size_of

_STREAM = 0x6D6978  # apart from the augmentation's own random stream of the same seed


@dataclass(frozen=True)
class Plan:
    """What one view is mixed with.

    Attributes:
        partner: position of the other image in the training set; it is taken in the same view.
        share: of the view's own image, in 0..1; of the loss of its own label too.
        box: (top, left, bottom, right) pixels that the partner fills, or None for mixup.
    """

    partner: int
    share: float
    box: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class Mixing:
    """Which views are mixed, and how.

    Attributes:
        mixup_alpha, cutmix_alpha: of the Beta distribution that shares are drawn from; 0 is off.
            With both, each view takes one of them, evenly.
        fraction: of all views.

    Source: Zhang et al. 2018, arXiv:1710.09412 (mixup); Yun et al. 2019, arXiv:1905.04899 (CutMix).
    """

    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    fraction: float = 1.0

    def plan(self, seed: int, images: int, image_px: int | tuple[int, int]) -> Plan | None:
        """The mix of the view with this seed, or None; image_px is its side, or height and width."""
        if not (self.mixup_alpha or self.cutmix_alpha):
            return None
        rng = np.random.default_rng((seed, _STREAM))
        if rng.random() >= self.fraction:
            return None
        cuts = self.cutmix_alpha > 0 and (self.mixup_alpha == 0 or rng.random() < 0.5)
        alpha = self.cutmix_alpha if cuts else self.mixup_alpha
        share, partner = float(rng.beta(alpha, alpha)), int(rng.integers(images))
        if not cuts:
            return Plan(partner, share, None)
        size = size_of(image_px)
        sides = np.array([round(side * float(np.sqrt(1 - share))) for side in size])
        middle = np.array([rng.integers(0, side) for side in size])
        top, left = (int(v) for v in np.clip(middle - sides // 2, 0, size))
        bottom, right = (int(v) for v in np.clip(middle - sides // 2 + sides, 0, size))
        return Plan(partner, 1 - (bottom - top) * (right - left) / (size[0] * size[1]), (top, left, bottom, right))

    def describe(self) -> dict[str, Any]:
        """What views depend on; empty when nothing is mixed, as before there was mixing."""
        return {"mixing": vars(self)} if self.mixup_alpha or self.cutmix_alpha else {}


def mixed(image: np.ndarray, other: np.ndarray, plan: Plan) -> np.ndarray:
    """Two (H, W, 3) uint8 views as one; mixup is rounded to the nearest integer."""
    if plan.box is None:
        blend = plan.share * image.astype(np.float32) + (1 - plan.share) * other
        return np.rint(blend).astype(np.uint8)
    top, left, bottom, right = plan.box
    pasted = image.copy()
    pasted[top:bottom, left:right] = other[top:bottom, left:right]
    return pasted
