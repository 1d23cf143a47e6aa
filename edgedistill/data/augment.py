"""Training views, by albumentations. The only module that imports it."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import random
import threading
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network at import otherwise

import albumentations
import cv2

from edgedistill.config.data import AugmentConfig
from edgedistill.data.crops import Draws, RandomCrop
from edgedistill.errors import RecipeError
from edgedistill_device.preprocess_spec import size_of

_CROP_STREAM = b"crop"  # apart from the transforms' own random stream of the same seed
_VERSION = 2  # of how transforms are seeded; 1 gave each the same numbers, so that two of one `p` were applied together


class TrainingView:
    """A random crop and the recipe's transforms: a pure function of (image, seed).

    Args:
        image_px: side of the view, or its (height, width), pixels.
        augment: the recipe's [augment].
        interpolation: of the crop's resize.
        fit: the recipe's data.fit.

    Attributes:
        size: (height, width) of the view.

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
        self.size = size_of(image_px)
        self._crop = RandomCrop(self.size, augment.crop_scale_min, interpolation, fit)
        self._augment = augment
        self._local = threading.local()  # a transform holds its random state: one pipeline each thread
        self._description = albumentations.Compose(self._transforms()).to_dict()

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """(h, w, 3) uint8 -> (H, W, 3) uint8."""
        view = self._crop(image, Draws(seed, _CROP_STREAM))
        if not hasattr(self._local, "pipeline"):
            self._local.pipeline = _Pipeline(self._transforms())
        return self._local.pipeline(view, seed)

    def describe(self) -> dict[str, Any]:
        """Library version and digest of the whole pipeline: equal ones give equal views."""
        described = [_VERSION, self._crop.describe(), self._description]
        text = json.dumps(described, sort_keys=True, default=str)
        return {
            "albumentations": albumentations.__version__,
            "opencv": cv2.__version__,
            "pipeline": hashlib.sha256(text.encode()).hexdigest(),
        }

    def _transforms(self) -> list[albumentations.BasicTransform]:
        return [*map(_transform, self._augment.transforms)]


class _Pipeline:
    """Transforms with one random stream of each kind, as after `Compose.set_random_state`: seeded at a fraction of the
    cost of making it anew, and without the checks that `Compose` repeats for each image.

    `Compose.set_random_seed` gives every transform the same numbers, and with them the same yes or no to the same `p`.
    """

    def __init__(self, transforms: list[albumentations.BasicTransform]):
        self._transforms = transforms
        self._numpy = np.random.Generator(np.random.PCG64())
        self._python = random.Random()  # noqa: S311  # albumentations', for pictures
        for transform in transforms:
            transform.set_random_state(self._numpy, self._python)

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        if self._transforms:
            self._numpy.bit_generator.state = np.random.PCG64(seed).state
            self._python.seed(seed)
        for transform in self._transforms:
            image = transform(image=image)["image"]
        return image


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
