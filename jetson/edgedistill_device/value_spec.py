"""What each output of a regression is, as a checked value: what the manifest stores. Needs no numpy.

The network gives each value in standard deviations from the mean of the training images.
"""

from typing import NamedTuple, Optional

Value = NamedTuple(
    "Value",
    [
        ("name", str),
        ("unit", str),  # printed behind the figure, may be empty
        ("mean", float),  # of the training images, in the unit
        ("std", float),  # standard deviation of the same, above 0
        ("low", Optional[float]),  # smallest possible value, in the unit; None: no limit
        ("high", Optional[float]),  # largest possible value
    ],
)


def value_from_json(row):
    """
    Raises:
        KeyError, TypeError, ValueError: it is not what edgedistill writes.
    """
    value = Value(**row)
    limits = [limit for limit in (value.low, value.high) if limit is not None]
    if not isinstance(value.name, str) or not isinstance(value.unit, str):
        raise ValueError("expected a name and a unit")
    if not all(map(_is_number, [value.mean, value.std] + limits)) or value.std <= 0:
        raise ValueError("expected a mean, and a standard deviation above 0")
    return value


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")
