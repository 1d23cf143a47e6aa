"""What the network would see of a user's pictures: their shapes, their bit depth, and what fits them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgedistill.config.values import size_text
from edgedistill_device.preprocess import resize_box
from edgedistill_device.preprocess_spec import FULL_RANGE, size_of

SEEN_ENOUGH = 0.7  # share of the area, below which another framing is proposed; 4:3 in a square has 0.75
ALIKE = 1.25  # widest aspect over narrowest, up to which one rectangle suits all
_BARS_MOST = 0.5  # share of the input that `pad` may fill with bars before `squash` is proposed
_STEP, _SMALLEST, _LARGEST = 32, 32, 1024  # pixels, of a rectangle's sides
_BITS = (8, 10, 12, 14, 16)  # of cameras
_LEVELS_ENOUGH = 128  # grey levels between the darkest and the brightest value


@dataclass(frozen=True)
class Findings:
    """What was found, and what is proposed.

    Attributes:
        lines: for people.
        keys: of [data], name -> value that fits these pictures; empty where the default does.
        values: JSON-able.
    """

    lines: tuple[str, ...]
    keys: dict[str, object]
    values: dict[str, object]


def seen_fractions(sizes: np.ndarray, image_px: int | tuple[int, int], resize_px: int | None = None) -> np.ndarray:
    """(N,) share of each picture's area that `crop` shows.

    Args:
        sizes: (N, 2) height and width, pixels.
        image_px: side of the input, or its (height, width).
        resize_px: short side that is resized to; the input's own when None.
    """
    size = np.array(size_of(image_px), float)
    box = np.array(resize_box(tuple(size), resize_px or min(size)), float)
    scale = (box / sizes).max(axis=1)
    return np.minimum(size.prod() / (scale**2 * sizes.prod(axis=1)), 1.0)


def framing_findings(sizes: np.ndarray, image_px: int) -> Findings:
    """The pictures' aspects, how much of them a square crop shows, and a framing that shows more.

    Args:
        sizes: (N, 2) height and width, pixels.
        image_px: side of the square input that would be taken.

    Returns:
        `keys` proposes image_px = [height, width] of about as many pixels where the aspects are
        alike, else fit = "pad", or "squash" where bars would fill most of the input.
    """
    sizes = np.asarray(sizes, float)
    low, middle, high = np.percentile(sizes[:, 1] / sizes[:, 0], (2, 50, 98))
    seen = float(seen_fractions(sizes, image_px).mean())
    values = {"aspect": [round(float(v), 3) for v in (low, middle, high)], "seen_fraction": round(seen, 3)}
    spread = f"{middle:.2f}" if high - low < 0.02 else f"{low:.2f} to {high:.2f} (median {middle:.2f})"
    line = f"width over height {spread}: the middle square of {image_px} px shows {seen:.0%} of the pictures' area"
    if seen >= SEEN_ENOUGH:
        return Findings((line,), {}, values)
    rectangle = _rectangle(middle, image_px) if high / low <= ALIKE else None
    if rectangle is not None:
        shown = float(seen_fractions(sizes, rectangle).mean())
        return Findings(
            (
                line,
                f"so the recipe takes an input of {size_text(rectangle)} px (height x width), which shows "
                f'{shown:.0%}; or set fit = "pad" or "squash" with a square',
            ),
            {"image_px": list(rectangle)},
            values,
        )
    bars = 1 - float((sizes.min(axis=1) / sizes.max(axis=1)).mean())
    if bars <= _BARS_MOST:
        fit, other = "pad", f'grey bars fill {bars:.0%} of the input; "squash" has none and changes the aspect'
    else:
        fit, other = "squash", f'the aspect is changed; "pad" keeps it and fills {bars:.0%} with grey bars'
    return Findings((line, f'so the recipe takes fit = "{fit}", which shows all: {other}'), {"fit": fit}, values)


def _rectangle(aspect: float, image_px: int) -> tuple[int, int] | None:
    """(height, width) of this aspect with about image_px ** 2 pixels; None where there is none."""
    sides = [max(_SMALLEST, round(side / _STEP) * _STEP) for side in (image_px / aspect**0.5, image_px * aspect**0.5)]
    within = max(sides) <= _LARGEST and sides[0] != sides[1]
    near = abs(np.log(sides[1] / sides[0] / aspect)) < np.log(ALIKE)
    return (sides[0], sides[1]) if within and near else None


def depth_findings(values: np.ndarray) -> Findings:
    """How many grey levels 16-bit pictures keep as 8 bits, and a range that keeps more.

    Args:
        values: (N, 2) smallest and largest value of each picture; negative of one with 8 bits.
    """
    deep = values[values[:, 0] >= 0] if len(values) else np.empty((0, 2), np.int64)
    if not len(deep):
        return Findings((), {}, {"sixteen_bit_images": 0})
    low, high = int(deep[:, 0].min()), int(deep[:, 1].max())
    levels = grey_levels(low, high, FULL_RANGE)
    facts = {"sixteen_bit_images": len(deep), "sixteen_bit_values": [low, high], "grey_levels": levels}
    line = (
        f"{len(deep)} pictures of 16 bits with values {low} to {high}: {levels} grey levels remain of the full "
        "range as 8 bits"
    )
    key, fitting = _fitting_range(low, high)
    better = grey_levels(low, high, fitting)
    if better < 2 * levels:
        return Findings((line,), {}, facts)
    shown = key if isinstance(key, int) else list(key)
    return Findings(
        (line, f"so the recipe takes sixteen_bit = {shown}, which keeps {better}; values outside are clipped"),
        {"sixteen_bit": shown},
        facts,
    )


def grey_levels(low: int, high: int, sixteen_bit: tuple[int, int]) -> int:
    """How many different 8-bit values the 16-bit ones from low to high can become."""
    start, end = sixteen_bit
    mapped = [(min(max(value, start), end) - start) * 255 // (end - start) for value in (low, high)]
    return min(mapped[1] - mapped[0], high - low) + 1


def _fitting_range(low: int, high: int) -> tuple[int | tuple[int, int], tuple[int, int]]:
    """(value of data.sixteen_bit, its range): a camera's number of bits, or the values seen and a
    tenth beside them where that many bits would leave few levels."""
    bits = next(bits for bits in _BITS if high < 2**bits)
    whole = (0, 2**bits - 1)
    if grey_levels(low, high, whole) >= _LEVELS_ENOUGH or high - low < 2:
        return bits, whole
    margin = max(1, (high - low) // 10)
    seen = max(0, low - margin), min(FULL_RANGE[1], high + margin)
    return seen, seen
