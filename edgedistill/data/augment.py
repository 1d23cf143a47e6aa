"""Training views, by albumentations. The only module that imports it."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import threading
from collections.abc import Mapping
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
        self._local = threading.local()  # a transform holds its random state: one each thread
        self._description = albumentations.Compose(self._transforms()).to_dict()

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """(h, w, 3) uint8 -> (H, W, 3) uint8."""
        view = self._crop(image, np.random.default_rng((seed, _CROP_STREAM)))
        if not hasattr(self._local, "transforms"):
            self._local.transforms = self._transforms()
        state = np.random.PCG64(seed).state
        for transform in self._local.transforms:
            _seed(transform, seed, state)
            view = transform(image=view)["image"]
        return view

    def describe(self) -> dict[str, Any]:
        """Library version and digest of the whole pipeline: equal ones give equal views."""
        described = [self._crop.describe(), self._description]
        text = json.dumps(described, sort_keys=True, default=str)
        return {
            "albumentations": albumentations.__version__,
            "opencv": cv2.__version__,
            "pipeline": hashlib.sha256(text.encode()).hexdigest(),
        }

    def _transforms(self) -> list[albumentations.BasicTransform]:
        return [*map(_transform, self._augment.transforms)]


def _seed(transform: albumentations.BasicTransform, seed: int, state: Mapping[str, Any]) -> None:
    """What `Compose([transform]).set_random_seed(seed)` does to it, at an eighth of the cost.

    Args:
        state: of `np.random.PCG64(seed)`, computed once for all transforms of a view.
    """
    if type(transform).set_random_seed is albumentations.BasicTransform.set_random_seed:
        transform.random_generator.bit_generator.state = state
        transform.py_random.seed(seed)
    else:
        transform.set_random_seed(seed)


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
