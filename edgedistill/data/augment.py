"""Training views, by albumentations. The only module that imports it."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import threading
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network at import otherwise

import albumentations
import cv2

from edgedistill.config.data import AugmentConfig
from edgedistill.data.crops import RandomCrop
from edgedistill.errors import RecipeError
from edgedistill_device.preprocess_spec import size_of

_CROP_STREAM = 0x63726F70  # apart from the transforms' own random stream of the same seed


class TrainingView:
    """A random crop and the recipe's transforms: a pure function of (image, seed).

    Args:
        image_px: side of the view, or its (height, width), pixels.
        augment: the recipe's [augment].
        interpolation: of the crop's resize.
        fit: the recipe's data.fit.

    Raises:
        RecipeError: a transform that albumentations does not have or does not take.
    """

    def __init__(
        self,
        image_px: int | tuple[int, int],
        augment: AugmentConfig,
        interpolation: str,
        fit: str = "crop",
    ):
        self._crop = RandomCrop(size_of(image_px), augment.crop_scale_min, interpolation, fit)
        self._augment = augment
        self._local = threading.local()  # a pipeline holds its random state: one each thread
        self._description = self._pipeline().to_dict()

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """(h, w, 3) uint8 -> (H, W, 3) uint8."""
        if not hasattr(self._local, "pipeline"):
            self._local.pipeline = self._pipeline()
        cropped = self._crop(image, np.random.default_rng((seed, _CROP_STREAM)))
        self._local.pipeline.set_random_seed(seed)
        return self._local.pipeline(image=cropped)["image"]

    def describe(self) -> dict[str, Any]:
        """Library version and digest of the whole pipeline: equal ones give equal views."""
        described = [self._crop.describe(), self._description]
        text = json.dumps(described, sort_keys=True, default=str)
        return {
            "albumentations": albumentations.__version__,
            "opencv": cv2.__version__,
            "pipeline": hashlib.sha256(text.encode()).hexdigest(),
        }

    def _pipeline(self) -> albumentations.Compose:
        return albumentations.Compose([*map(_transform, self._augment.transforms)])


def _transform(declared: dict[str, Any]) -> albumentations.BasicTransform:
    arguments = dict(declared)
    name = arguments.pop("name", None)
    kind = getattr(albumentations, str(name), None)
    if not (isinstance(kind, type) and issubclass(kind, albumentations.BasicTransform)):
        near = difflib.get_close_matches(str(name), dir(albumentations), n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise RecipeError(f"augment.transforms: albumentations has no transform {name!r}{meant}")
    unknown = set(arguments) - _arguments_of(kind)
    if unknown:
        raise RecipeError(
            f"augment.transforms: {name} takes no {sorted(unknown)[0]!r}; it takes: "
            f"{', '.join(sorted(_arguments_of(kind)))}"
        )
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()})
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RecipeError(f"augment.transforms: {name}: {reason}") from None


def _arguments_of(kind: type) -> set[str]:
    import inspect

    constructor = kind.__init__  # type: ignore[misc]  # only its signature is read, of this very class
    return set(inspect.signature(constructor).parameters) - {"self", "args", "kwargs"}
