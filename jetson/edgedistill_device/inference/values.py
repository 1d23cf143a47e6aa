"""From a network's outputs to figures in their units, for bundles whose task is regression."""

import numpy as np

from edgedistill_device.errors import BackendError


def in_units(outputs, values):
    """(N, K) float64 figures in their units, held to their ranges; NaN stays NaN.

    Args:
        outputs: (N, K) float, in standard deviations from the mean.
        values: K of Value.
    """
    figures = np.asarray(outputs, np.float64) * [value.std for value in values] + [value.mean for value in values]
    lows = [-np.inf if value.low is None else value.low for value in values]
    highs = [np.inf if value.high is None else value.high for value in values]
    return np.minimum(np.maximum(figures, lows), highs)


def values_answer(outputs, values):
    """What is said of one image: {"values": [{"name", "value", "unit"}, ...]}, in the order of the manifest.

    Args:
        outputs: (K,) float.
        values: K of Value.

    Raises:
        BackendError: an output is NaN or infinite.
    """
    if not np.isfinite(outputs).all():
        raise BackendError(
            "the network gives NaN or infinity here, which is no figure; run: python3 -m edgedistill_device verify"
        )
    figures = in_units(np.asarray(outputs)[np.newaxis], values)[0]
    rows = [{"name": value.name, "value": float(figure), "unit": value.unit} for value, figure in zip(values, figures)]
    return {"values": rows}


def text_of(said):
    """What `values_answer` says, in one line: "width 12.5 mm, angle 3.1"."""
    return ", ".join(
        "%s %.4g%s" % (row["name"], row["value"], " " + row["unit"] if row["unit"] else "") for row in said["values"]
    )
