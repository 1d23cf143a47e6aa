"""Are two ONNX files the same network? Asked of ONNX Runtime, on inputs drawn from a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from edgedistill.errors import PreflightError

SEED, DRAWS = 0, 6
_KINDS, _PIXELS = 3, 2  # of inputs, and which of them is 0..255
# Largest output difference over the largest output: other order of sums, by the output's type.
LIMITS = {"float32": 1e-4, "float64": 1e-4, "float16": 1e-2}


def prove_equal(original: Path, mended: Path) -> dict[str, float | int | str]:
    """Run both on the same inputs, without graph optimisation on either side.

    Args:
        original: any ONNX file that ONNX Runtime runs; its batch may be dynamic.
        mended: the same with every input dimension fixed; inputs that nothing reads may be gone.

    Returns:
        method, inputs, seed, max_relative_difference, limit.

    Raises:
        PreflightError: ONNX Runtime refuses one, a dimension is open, or outputs differ.
    """
    first, second = _session(original), _session(mended)
    names = [output.name for output in first.get_outputs()]
    if [o.name for o in second.get_outputs()] != names:
        raise PreflightError(f"{mended.name}: the outputs have other names than {names}")
    rng = np.random.default_rng(SEED)
    worst, allowed, compared = 0.0, 0.0, 0
    fixed = {value.name: value for value in second.get_inputs()}
    for draw in range(DRAWS):
        feed = {
            value.name: _drawn(value, fixed.get(value.name, value).shape, rng, draw) for value in first.get_inputs()
        }
        again = {name: feed[name].astype(_kind(value)) for name, value in fixed.items()}
        wanted = _run(first, feed, original)
        if draw % _KINDS == _PIXELS and not all(_is_finite(value) for value in wanted):
            continue  # it is for 0..1: an exponential of 255 overflows
        compared += 1
        for name, expected, got in zip(names, wanted, _run(second, again, mended), strict=True):
            difference = _difference(name, expected, got)
            limit = LIMITS.get(str(expected.dtype), 0.0)
            if not difference <= limit:
                raise PreflightError(
                    f"the mended model differs from the original by {difference:.1e} of the largest value "
                    f"of {name!r}, limit {limit:.0e}; not written"
                )
            worst, allowed = max(worst, difference), max(allowed, limit)
    return {
        "method": "both files in ONNX Runtime on this computer, random inputs",
        "inputs": compared,
        "seed": SEED,
        "max_relative_difference": worst,
        "limit": allowed,
    }


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    except Exception as error:  # its exception classes share no public base
        raise PreflightError(
            f"{path.name}: ONNX Runtime does not take it, so nothing can be proved: {str(error).splitlines()[0][:160]}"
        ) from None


def _run(session: onnxruntime.InferenceSession, feed: dict, path: Path) -> list[np.ndarray]:
    try:
        return session.run(None, feed)
    except Exception as error:  # the same
        raise PreflightError(
            f"{path.name}: ONNX Runtime cannot run it, so nothing can be proved: {str(error).splitlines()[0][:160]}"
        ) from None


def _drawn(value: onnxruntime.NodeArg, shape: list, rng: np.random.Generator, draw: int) -> np.ndarray:
    """By turns 0..1, bell-shaped, and 0..255 as of an image that is not normalised; 0 and 1 for integers."""
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise PreflightError(
            f"input {value.name!r} has the shape {shape}; fix it with --shape "
            f"{value.name}={','.join('N' for _ in shape)}, or export with fixed "
            "dimensions"
        )
    kind = _kind(value)
    if kind.kind == "f":
        values = rng.normal(size=shape) if draw % _KINDS == 1 else rng.uniform(size=shape)
        return np.asarray(values * 255 if draw % _KINDS == _PIXELS else values).astype(kind)
    return np.asarray(rng.integers(0, 2, shape)).astype(kind)


def _is_finite(value: object) -> bool:
    return not isinstance(value, np.ndarray) or value.dtype.kind != "f" or bool(np.isfinite(value).all())


def _kind(value: onnxruntime.NodeArg) -> np.dtype:
    kinds = {"float": np.float32, "float16": np.float16, "double": np.float64, "bool": np.bool_}
    name = value.type.removeprefix("tensor(").removesuffix(")")
    try:
        return np.dtype(kinds.get(name, name))
    except TypeError:
        raise PreflightError(
            f"input {value.name!r} is {value.type}; only tensors of numbers can be drawn, so nothing can be proved"
        ) from None


def _difference(name: str, expected: np.ndarray, got: np.ndarray) -> float:
    if not isinstance(expected, np.ndarray) or expected.dtype.kind not in "fiub":
        raise PreflightError(f"output {name!r} is no tensor of numbers, so nothing can be proved")
    if expected.shape != got.shape or expected.dtype != got.dtype:
        raise PreflightError(
            f"output {name!r} became {got.dtype} {got.shape}, was {expected.dtype} {expected.shape}; not written"
        )
    if expected.dtype.kind != "f":
        return 0.0 if (expected == got).all() else 1.0
    wide = expected.astype(np.float64)
    if not np.isfinite(wide).all():
        raise PreflightError(f"the original gives NaN or infinity in {name!r}; nothing can be proved")
    largest = float(np.abs(wide).max()) if wide.size else 0.0
    return float(np.abs(got - wide).max()) / (largest or 1.0) if wide.size else 0.0
