"""Values of [data] that are a number or a pair: sizes of the input, ranges of 16-bit images."""

from __future__ import annotations

import shlex
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from edgedistill_device.preprocess_spec import FULL_RANGE, size_of

IMAGENET_PX = 224  # side that most networks with ImageNet weights were trained at


def _side_or_two(key: str, value: Any) -> Any:
    """A pair of equal sides is the side."""
    sides = [value, value] if isinstance(value, int) else value
    if not (isinstance(sides, list | tuple) and len(sides) == 2 and all(_is_side(n) for n in sides)):
        raise ValueError(f"{key}: expected a side or [height, width], whole pixels of 32 to 1024, got {value!r}")
    return sides[0] if sides[0] == sides[1] else tuple(sides)


def _is_side(value: Any) -> bool:
    return type(value) is int and 32 <= value <= 1024


def _bits_or_range(value: Any) -> Any:
    """`"12"` is 12, and all 16 bits are the full range."""
    bits = int(value) if isinstance(value, str) and value.isdecimal() else value
    if bits in ("full", 16, list(FULL_RANGE), FULL_RANGE):
        return "full"
    if type(bits) is int and 8 <= bits < 16:
        return bits
    if isinstance(bits, list | tuple) and len(bits) == 2 and all(type(n) is int for n in bits):
        low, high = bits
        if 0 <= low < high <= FULL_RANGE[1]:
            return low, high
    raise ValueError(
        f'data.sixteen_bit: expected "full", a number of bits (8 to 16), or [low, high] in 0 to 65535, got {value!r}'
    )


ImagePx = Annotated[int | tuple[int, int], BeforeValidator(partial(_side_or_two, "data.image_px"))]
TeacherPx = Annotated[int | tuple[int, int], BeforeValidator(partial(_side_or_two, "teacher.image_px"))]
SixteenBit = Annotated[Literal["full"] | int | tuple[int, int], BeforeValidator(_bits_or_range)]


def range_of(sixteen_bit: str | int | tuple[int, int]) -> tuple[int, int]:
    """(low, high): the 16-bit values that become 0 and 255."""
    if isinstance(sixteen_bit, int):
        return 0, 2**sixteen_bit - 1
    return FULL_RANGE if isinstance(sixteen_bit, str) else sixteen_bit


def size_text(image_px: int | tuple[int, int]) -> str:
    """`224`, or `160x320`, height by width."""
    height, width = size_of(image_px)
    return str(height) if height == width else f"{height}x{width}"


def size_setting(key: str, size: tuple[int, int]) -> str:
    """`data.image_px=224` or `'data.image_px=[160, 320]'`, as a word for a shell."""
    height, width = size
    return shlex.quote(f"{key}={height if height == width else [height, width]}")
