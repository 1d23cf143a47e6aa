"""How a decoded image becomes the network's input, as a checked value: what the manifest stores. Needs no numpy."""

from typing import NamedTuple, Tuple, Union

FULL_RANGE = (0, 65535)  # 16-bit values that become 0 and 255
INTERPOLATIONS = ("area", "bilinear", "bicubic")
FITS = ("crop", "pad", "squash")


class Preprocess(NamedTuple):
    """How a decoded image becomes the network's input.

    Attributes:
        image_px: side of a square input, or its (height, width).
        resize_px: short side of what is resized to under `crop`, >= the input's short side.
        interpolation: of the resize, one of INTERPOLATIONS.
        mean, std: RGB, of values in 0..1.
        fit: one of FITS. `crop` keeps the middle and loses the rest, `pad` adds grey bars, `squash`
            changes the aspect.
        sixteen_bit: (low, high), the 16-bit values that become 0 and 255.
    """

    image_px: Union[int, Tuple[int, int]]
    resize_px: int
    interpolation: str
    mean: Tuple[float, ...]
    std: Tuple[float, ...]
    fit: str = "crop"
    sixteen_bit: Tuple[int, int] = FULL_RANGE

    @property
    def size(self):
        """(height, width) of the input, pixels."""
        return size_of(self.image_px)


_LATER = {"fit": "crop", "sixteen_bit": FULL_RANGE}  # keys that older bundles and agents do not know


def size_of(image_px):
    """(height, width) of a side, or of the pair itself."""
    if isinstance(image_px, int):
        return image_px, image_px
    height, width = image_px
    return height, width


def dict_from_preprocess(spec):
    """JSON-able dict; `preprocess_from_dict` gives the same value back.

    Keys that came later are left out at their default, so that older agents read it.
    """
    height, width = spec.size
    stored = {
        "image_px": height if height == width else [height, width],
        "resize_px": spec.resize_px,
        "interpolation": spec.interpolation,
        "mean": list(spec.mean),
        "std": list(spec.std),
    }
    if spec.fit != _LATER["fit"]:
        stored["fit"] = spec.fit
    if tuple(spec.sixteen_bit) != FULL_RANGE:
        stored["sixteen_bit"] = list(spec.sixteen_bit)
    return stored


def preprocess_from_dict(stored):
    """A checked Preprocess.

    Raises:
        ValueError: a key is missing, unknown or out of range.
    """
    if not isinstance(stored, dict) or set(stored) | set(_LATER) != set(Preprocess._fields):
        raise ValueError("preprocess: expected the keys %s, got %s" % (list(Preprocess._fields), sorted(stored)))
    values = dict(_LATER, **stored)
    for key in ("mean", "std", "sixteen_bit"):
        values[key] = tuple(values[key])
    values["image_px"] = _checked_size(values["image_px"])
    spec = Preprocess(**values)
    for value, allowed in ((spec.interpolation, INTERPOLATIONS), (spec.fit, FITS)):
        if value not in allowed:
            raise ValueError("preprocess: expected one of %s, got %r" % (allowed, value))
    if type(spec.resize_px) is not int or not all(
        isinstance(number, (int, float)) and abs(number) < 1e6 for number in spec.mean + spec.std
    ):
        raise ValueError("preprocess: expected whole pixels and finite means and stds")
    if not min(spec.size) <= spec.resize_px:
        raise ValueError("preprocess: expected 0 < image_px <= resize_px, got %r" % (spec.image_px,))
    if len(spec.mean) != 3 or len(spec.std) != 3 or min(spec.std) <= 0:
        raise ValueError("preprocess: expected three means and three positive stds")
    _check_range(spec.sixteen_bit)
    return spec


def _checked_size(image_px):
    sides = image_px if isinstance(image_px, (list, tuple)) else [image_px, image_px]
    if not (len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)):
        raise ValueError("preprocess: image_px: expected a side or [height, width], got %.80r" % (image_px,))
    return sides[0] if sides[0] == sides[1] else tuple(sides)


def _check_range(sixteen_bit):
    if not (
        len(sixteen_bit) == 2
        and all(type(value) is int for value in sixteen_bit)
        and 0 <= sixteen_bit[0] < sixteen_bit[1] <= 65535
    ):
        raise ValueError("preprocess: sixteen_bit: expected [low, high] in 0..65535, got %.80r" % (sixteen_bit,))
