"""Training views, by albumentations. The only module that imports it."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import random
import threading
from typing import Any, NoReturn

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network at import otherwise

import albumentations
import cv2

from edgedistill.config.data import AugmentConfig
from edgedistill.data.crops import Draws, RandomCrop
from edgedistill.errors import RecipeError, is_out_of_memory
from edgedistill_device.preprocess_spec import size_of

_CROP_STREAM = b"crop"  # apart from the transforms' own random stream of the same seed
_VERSION = 2  # of how transforms are seeded; 1 gave each the same numbers, so that two of one `p` were applied together
_PROBE_SEEDS = range(8)  # a turn by 90 degrees comes up in all but one of 256 probes of a transform


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
        RecipeError: a transform that albumentations does not have, does not take or cannot describe.
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
        self._description = _description(self._transforms())

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """(h, w, 3) uint8 -> (H, W, 3) uint8.

        Raises:
            RecipeError: a transform fails, or the view has another shape or dtype.
        """
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
        shape, misfit = image.shape, ""
        for transform in self._transforms:
            image = _applied(transform, image)
            # A later transform may make good for it, like a crop of what an earlier one enlarged.
            misfit = "" if _is_view(image, shape) else misfit or f"{type(transform).__name__} gives {_described(image)}"
        if misfit:
            raise RecipeError(
                f"augment.transforms: {misfit} where a view is uint8 {shape}; "
                "views keep their size and dtype, and are normalised for the network afterwards"
            )
        return image


def refuse_unfit_transforms(image_px: int | tuple[int, int], augment: AugmentConfig) -> None:
    """Run the recipe's transforms on an image of noise, as if each were applied to every view.

    One that fails or changes shape or dtype alone is tried with the others, which may make good for it: with all of
    them, and with each that has p < 1 left out or applied alone among these.

    Args:
        image_px: side of a view, or its (height, width), pixels.

    Raises:
        RecipeError: wrong transforms, as `TrainingView`; one that fails, or views of another shape or dtype.
    """
    transforms = [transform for transform in map(_transform, augment.transforms) if transform.p > 0]
    _description(transforms)
    optional = [transform for transform in transforms if transform.p < 1]
    for transform in transforms:
        transform.p = 1.0
    image = np.random.default_rng(0).integers(0, 256, (*size_of(image_px), 3), dtype=np.uint8)
    try:
        for transform in transforms:
            _probe([transform], image)
    except RecipeError:
        _probe(transforms, image)
        for one in optional:
            _probe([transform for transform in transforms if transform is not one], image)
            _probe([transform for transform in transforms if transform is one or transform not in optional], image)


def _probe(transforms: list[albumentations.BasicTransform], image: np.ndarray) -> None:
    pipeline = _Pipeline(transforms)
    for seed in _PROBE_SEEDS:
        pipeline(image.copy(), seed)


def _applied(transform: albumentations.BasicTransform, image: np.ndarray) -> Any:
    """
    Raises:
        RecipeError: the transform fails, with its reason.
    """
    try:
        return transform(image=image)["image"]
    except Exception as error:  # albumentations and OpenCV raise a dozen types
        _refuse(type(transform).__name__, error)


def _refuse(name: str, error: Exception) -> NoReturn:
    """
    Raises:
        RecipeError: one line, for whatever a transform raises; the error itself where memory is short.
    """
    if is_out_of_memory(error):
        raise error
    reason = " ".join(str(error).split())[:200]
    kind = "" if isinstance(error, TypeError | ValueError) and reason else f"{type(error).__name__} "
    raise RecipeError(f"augment.transforms: {name}: {kind}{reason}".rstrip()) from error


def _is_view(image: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape == shape


def _described(image: Any) -> str:
    """Its dtype and shape, in one line."""
    if not (hasattr(image, "dtype") and hasattr(image, "shape")):
        return f"a {type(image).__name__}"
    return f"{image.dtype} {tuple(image.shape)}"


def _description(transforms: list[albumentations.BasicTransform]) -> dict[str, Any]:
    """
    Raises:
        RecipeError: one of them cannot be written down, like a function.
    """
    for transform in transforms:
        try:
            transform.to_dict()
        except Exception as error:  # a function cannot be written, and arguments may refuse it
            _refuse(type(transform).__name__, error)
    return albumentations.Compose(transforms).to_dict()


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
    except Exception as error:  # wrong values, the abstract classes, or a file that is not there
        _refuse(str(name), error)


def _arguments_of(kind: type) -> set[str]:
    import inspect

    constructor = kind.__init__  # type: ignore[misc]  # only its signature is read, of this very class
    return set(inspect.signature(constructor).parameters) - {"self", "args", "kwargs"}
