"""`edgedistill estimate`: latency, FPS and memory of a network on a board, with an interval and where it comes from."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edgedistill.config.target import load_target
from edgedistill.errors import RecipeError
from edgedistill.onnx_model.backends import executed_precision
from edgedistill.prediction.features import Features, catalogue, features_from_file, with_classes
from edgedistill.prediction.latency import constants, hardware, refuse_unless_fitted, shares
from edgedistill.prediction.memory import memory_of
from edgedistill.prediction.user_measurements import Learned, factor_of

_SMALL = 0.05  # share of a prediction below which a term cannot spoil it
_BEYOND = 1.25  # times the largest share of a term in any fitted network, from which we say so


@dataclass(frozen=True)
class Prediction:
    """What is expected of one network on one board, one image at a time.

    Attributes:
        precision: what the board computes in; `requested` may differ.
        latency_ms, latency_ms_low, latency_ms_high: TensorRT's time and its interval.
        interval_share: of networks of families that were left out, whose latency the interval held.
        fps, fps_low, fps_high: 1000 / latency.
        memory_mib: estimate of the process, the engine built without cuBLAS and cuDNN; None: unknown.
        memory_with_libraries_mib: with them.
        network_mib: engine and context alone.
        notes: what weakens the prediction, one line each.
        provenance: begins with "predicted".
    """

    model: str
    target: str
    requested: str
    precision: str
    image_px: int | None
    classes: int | None
    latency_ms: float
    latency_ms_low: float
    latency_ms_high: float
    interval_share: float
    fps: float
    fps_low: float
    fps_high: float
    memory_mib: float | None
    memory_with_libraries_mib: float | None
    network_mib: float
    parameters: int
    macs_beside_depthwise: int
    kernels: int
    notes: tuple[str, ...]
    provenance: str

    @property
    def extrapolated(self) -> bool:
        """Whether the network is unlike those that the model was fitted to; the notes say how."""
        return any(note.startswith("extrapolated") for note in self.notes)

    @property
    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Prediction:
        """What `as_dict` gave, further keys aside."""
        own = {field.name: values[field.name] for field in fields(cls)}
        return cls(**{**own, "notes": tuple(own["notes"])})


def predict(
    model: Path | str,
    target: str,
    precision: str = "fp16",
    image_px: int | tuple[int, int] | None = None,
    classes: int = 1000,
    learned: Learned | None = None,
) -> Prediction:
    """
    Args:
        model: an ONNX file, or the name of a network in the catalogue.
        target: a board with published measurements.
        precision: asked for.
        image_px: of a named network, 224 when None; a file knows its own.
        classes: of a named network.
        learned: instead of what the user's own measurements say.

    Raises:
        RecipeError: no such network, board or size, or nothing published to estimate from.
        PreflightError: the file cannot be read or counted.
    """
    board = load_target(target)
    if target not in hardware():
        refuse_unless_fitted(target, precision)
    executed, reason = executed_precision(board, precision)
    refuse_unless_fitted(target, executed)
    if is_file(model):
        name, features, px, number = Path(model).name, features_from_file(Path(model)), None, None
        reason = "; ".join(filter(None, (reason, _refused(Path(model), target))))
    else:
        name, number = str(model).partition(".")[0], classes
        px = counted_px(name, image_px or 224)
        features = features_of_name(name, px, classes)
    return prediction_of(
        features,
        target,
        executed,
        learned or factor_of(target),
        model=name,
        requested=precision,
        image_px=px,
        classes=number,
        notes=(reason,) if reason else (),
    )


def _refused(path: Path, target: str) -> str:
    """A note when the pre-flight refuses the file for this board, else nothing."""
    from edgedistill.onnx_model.preflight import check_onnx

    errors = [finding for finding in check_onnx(path, load_target(target)) if finding.level == "error"]
    if not errors:
        return ""
    more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
    return (
        f"edgedistill check refuses this file for {target}: {errors[0].node}: {errors[0].why}{more}; the "
        "prediction is of the network once it is mended (check --fix)"
    )


def prediction_of(
    features: Features,
    target: str,
    precision: str,
    learned: Learned,
    *,
    model: str,
    requested: str,
    image_px: int | None,
    classes: int | None,
    notes: tuple[str, ...] = (),
) -> Prediction:
    """The prediction for a network that is counted already; `precision` is what is executed."""
    fitted = constants()[target]
    by_term = shares(features, target, precision, fitted)
    latency = sum(by_term.values()) * learned.factor
    spread = math.exp(fitted["half_width"])
    memory = memory_of(features, target, precision)
    provenance = (
        f"predicted: {fitted['networks']} published networks on {load_target(target).title}, "
        f"{hardware()[target].mode}; {100 * fitted['network']['mean_fraction']:.1f} % mean error on a "
        f"network that was left out, {100 * fitted['family']['mean_fraction']:.1f} % on a family{learned.note}"
    )
    return Prediction(
        model,
        target,
        requested,
        precision,
        image_px,
        classes,
        latency,
        latency / spread,
        latency * spread,
        fitted["interval_share"],
        1000 / latency,
        1000 / (latency * spread),
        1000 * spread / latency,
        memory.lean,
        memory.full,
        memory.network,
        round(features.parameters),
        round(features.macs),
        round(features.kernels),
        (*notes, *_beyond(features, by_term, fitted)),
        provenance,
    )


def is_file(model: Path | str) -> bool:
    """Whether a file is meant and not a name."""
    return isinstance(model, Path) or Path(model).suffix == ".onnx" or "/" in model


def counted_px(name: str, image_px: int | tuple[int, int]) -> int:
    """Check that the catalogue has this network at this size, and return the size.

    Raises:
        RecipeError: it has not.
    """
    sizes = sorted(px for listed, px in catalogue() if listed == name)
    if not sizes:
        names = sorted({listed for listed, _ in catalogue()})
        near = difflib.get_close_matches(name, names, n=3)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise RecipeError(
            f"no network {name!r} in the catalogue; {meant}any other network: export it and give the .onnx file"
        )
    if not isinstance(image_px, int) or image_px not in sizes:
        asked = image_px if isinstance(image_px, int) else "x".join(map(str, image_px))
        raise RecipeError(
            f"{name} is counted at {', '.join(map(str, sizes))} px, not at {asked}; "
            "take one of these, or export it and give the .onnx file"
        )
    return image_px


def features_of_name(name: str, image_px: int, classes: int) -> Features:
    """
    Raises:
        RecipeError: the catalogue does not have it at this size.
    """
    counted = catalogue()[(name, counted_px(name, image_px))]
    if len(counted) == 1 and classes not in counted:
        raise RecipeError(
            f"{name} is counted with {next(iter(counted))} classes only; export it and give the .onnx file"
        )
    if classes < 2:
        raise RecipeError(f"--classes {classes}: expected at least 2")
    return with_classes(counted, classes)


def _beyond(features: Features, by_term: dict[str, float], fitted: dict[str, Any]) -> tuple[str, ...]:
    """Where the network is unlike every one that the model was fitted to."""
    total = sum(by_term.values())
    attention = (
        ()
        if features.matmul_macs == 0
        else (
            "extrapolated: it has attention, which TensorRT fuses in ways that are not counted; a transformer "
            "in FP16 on a Nano is known to have given NaN",
        )
    )
    return attention + tuple(
        f"extrapolated: {term.replace('_', ' ')} takes {100 * cost / total:.0f} % of this prediction, "
        f"in the published networks at most {100 * fitted['seen'][term]:.0f} %; the interval may not hold"
        for term, cost in by_term.items()
        if cost / total > _SMALL and cost / total > _BEYOND * fitted["seen"][term]
    )
