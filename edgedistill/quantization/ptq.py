"""Weights that INT8 is made from: equalised, biases corrected, rounded; each kept only if it helps.

Judged by the SQNR of the logits on calibration images that none of the three has seen. Equalisation is judged with the
biases corrected on both sides: a shift of the logits that correction takes away anyway would hide what it does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedistill.core.files import write_bytes
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.quantization.accuracy import sqnr_db
from edgedistill.quantization.equalisation import equalised
from edgedistill.quantization.observe import shaped
from edgedistill.quantization.qdq import qdq_from_onnx
from edgedistill.quantization.ranges import Ranges
from edgedistill.quantization.reconstruction import reconstructed
from edgedistill.records.quantization import PtqRecord, PtqStep, StepName

HELD_OUT = 4  # every fourth calibration image judges; ranges are taken from all
FIT_PIXELS = 32 * 224 * 224  # of all images that are fitted on: their tensors stand in memory together
# Logits of the equalised float network may differ so much, of the largest; they are the same bits as a rule.
EQUAL = 1e-5


@dataclass(frozen=True)
class Prepared:
    """What INT8 is made from.

    Attributes:
        path: float ONNX with the weights that INT8 is made from.
        float_path: float ONNX with the weights of a layer that is left in float; its activations are those of `path`.
        ranges: of both.
        record: what was tried.
    """

    path: Path
    float_path: Path
    ranges: Ranges
    record: PtqRecord | None = None


def split_images(count: int, fit_on: int, pixels: int) -> tuple[list[int], list[int]]:
    """Positions of the calibration images that are fitted on, and of those that judge.

    Args:
        count: calibration images.
        fit_on: as many at most.
        pixels: of an image.
    """
    others = [number for number in range(count) if number % HELD_OUT != HELD_OUT - 1]
    wanted = max(2, min(fit_on, FIT_PIXELS // pixels, len(others)))
    chosen = sorted({int(place) for place in np.linspace(0, len(others) - 1, wanted)})
    return [others[place] for place in chosen], list(range(HELD_OUT - 1, count, HELD_OUT))


def prepared_for_int8(
    model: Path,
    ranges: Ranges,
    calibrate: Callable[[Path], Ranges],
    fit: np.ndarray,
    held_out: np.ndarray,
    folder: Path,
) -> Prepared:
    """Try the three in turn.

    Args:
        model: float ONNX.
        ranges: of it.
        calibrate: takes them from another file.
        fit: (n, 3, H, W) float32 calibration images.
        held_out: (m, 3, H, W) others, which judge.
        folder: existing, empty; the files that the result names are written there.
    """
    trial = _Trial(model, held_out, folder)
    base = plain = trial.sqnr(model, ranges)
    corrected = trial.corrected(model, ranges, fit)
    start, equal = model, folder / "equalised.onnx"
    scaled, channels = equalised(shaped(model), fit)
    write_bytes(equal, scaled.SerializeToString(deterministic=True))
    equalisation = PtqStep(name="equalisation", kept=False)
    if channels and trial.apart(equal) <= EQUAL:
        others = calibrate(equal)
        both = trial.sqnr(equal, others), trial.corrected(equal, others, fit)
        equalisation = _step("equalisation", max(plain, corrected), max(both))
        if equalisation.kept:
            start, ranges, (plain, corrected) = equal, others, both
    rounded = trial.corrected(start, ranges, fit, rounding=True)
    steps = [
        equalisation,
        _step("bias correction", plain, corrected),
        _step("rounding", max(plain, corrected), rounded),
    ]
    made = {"bias correction": trial.file(start, "bias"), "rounding": trial.file(start, "rounding")}
    path = next((made[step.name] for step in reversed(steps[1:]) if step.kept), start)
    record = PtqRecord(fitted_images=len(fit), held_out_images=len(held_out), sqnr_db=_number(base), steps=steps)
    return Prepared(path, start, ranges, record)


class _Trial:
    """INT8 files from float files, and how near they are to the float network on the images that judge."""

    def __init__(self, model: Path, held_out: np.ndarray, folder: Path):
        self._held_out, self._folder = held_out, folder
        self._reference = self._logits(model)

    def file(self, source: Path, what: str) -> Path:
        return self._folder / f"{source.stem}_{what}.onnx"

    def sqnr(self, path: Path, ranges: Ranges) -> float:
        """Of the INT8 file, dB."""
        logits = self._logits(self._int8(path, ranges))
        if not np.isfinite(logits).all():
            return -math.inf
        found = sqnr_db(self._reference, logits)
        return math.inf if found is None else found

    def corrected(self, source: Path, ranges: Ranges, fit: np.ndarray, rounding: bool = False) -> float:
        """Write the file with other biases, and other weights; its SQNR."""
        changed = reconstructed(source, self._int8(source, ranges), fit, rounding)
        path = self.file(source, "rounding" if rounding else "bias")
        write_bytes(path, changed.SerializeToString(deterministic=True))
        return self.sqnr(path, ranges)

    def apart(self, path: Path) -> float:
        """Largest difference of a float file's logits, of the largest logit."""
        return float(np.abs(self._logits(path) - self._reference).max() / np.abs(self._reference).max())

    def _int8(self, path: Path, ranges: Ranges) -> Path:
        out = self._folder / "trial_int8.onnx"
        qdq_from_onnx(path, ranges.kept, out)
        return out

    def _logits(self, path: Path) -> np.ndarray:
        with OnnxSession(path) as session:
            return session.logits(self._held_out)


def _step(name: StepName, before: float, after: float) -> PtqStep:
    return PtqStep(name=name, kept=after > before, sqnr_db=_number(after), gain_db=_number(after - before))


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
