"""Strict JSON (RFC 8259) of all that the board prints and keeps: NaN and infinity do not occur in it."""

import json

from edgedistill_device.errors import JetsonError
from edgedistill_device.text import readable_values


def json_text(values, sort_keys=True, indent=None):
    """`values` as JSON in ASCII, on one line unless `indent` is given; names of any bytes are readable text.

    Raises:
        JetsonError: a number in it is NaN or infinite; strict readers would refuse the whole text.
    """
    try:
        return json.dumps(readable_values(values), sort_keys=sort_keys, indent=indent, allow_nan=False)
    except ValueError:
        raise JetsonError("a number of the result is NaN or infinite, which JSON cannot hold")
