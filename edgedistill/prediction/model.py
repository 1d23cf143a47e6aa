"""`edgedistill estimate`: latency, FPS, watts and memory of a network on a board, each with where it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edgedistill.config.target import Precision, load_target
from edgedistill.errors import RecipeError
from edgedistill.onnx_model.backends import executed_precision
from edgedistill.prediction.energy import power_of
from edgedistill.prediction.features import (
    Features,
    catalogue,
    features_from_file,
    refuse_too_many_classes,
    with_classes,
)
from edgedistill.prediction.latency import (
    TERM_WORDS,
    constants,
    hardware,
    mode_of,
    refuse_unless_fitted,
    shares,
    stored,
)
from edgedistill.prediction.memory import Memory, beyond_board, memory_of, note_on_libraries
from edgedistill.prediction.user_measurements import Learned, factor_of
from edgedistill_device.preprocess_spec import size_of

_SMALL = 0.05  # share of a prediction below which a term cannot spoil it
_BEYOND = 1.25  # times the largest share of a term in any fitted network, from which we say so


@dataclass(frozen=True)
class Prediction:
    """What is expected of one network on one board in one power mode.

    Attributes:
        mode: power mode of the board, as nvpmodel names it.
        precision: what the board computes in; `requested` may differ.
        image_px: side or (height, width) of a named network; a file knows its own.
        batch: images at once; `latency_ms` is of all of them.
        latency_ms, latency_ms_low, latency_ms_high: TensorRT's time and its interval.
        interval_share: of rows of networks, or of boards, that were left out, whose latency the interval held.
        fps, fps_low, fps_high: 1000 * batch / latency.
        watts: all that the board draws while it runs the network again and again; None: no watts of it are published.
        image_mj: energy of an image then.
        memory_mib: estimate of the process, the engine built without cuBLAS and cuDNN; None: unknown.
        memory_with_libraries_mib: with them.
        network_mib: engine and context alone.
        notes: what weakens the prediction, one line each.
        provenance: begins with "predicted".
    """

    model: str
    target: str
    mode: str
    requested: str
    precision: Precision
    image_px: int | tuple[int, int] | None
    classes: int | None
    batch: int
    latency_ms: float
    latency_ms_low: float
    latency_ms_high: float
    interval_share: float
    fps: float
    fps_low: float
    fps_high: float
    watts: float | None
    image_mj: float | None
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
    def beyond_board(self) -> str:
        """Why it cannot run there for want of memory, by the estimate; "" where that says nothing against it."""
        return beyond_board(Memory(self.network_mib, self.memory_mib, self.memory_with_libraries_mib), self.target)

    @property
    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Prediction:
        """What `as_dict` gave, further keys aside."""
        own = {field.name: values[field.name] for field in fields(cls)}
        return cls(**{**own, "notes": tuple(own["notes"])})


@dataclass(frozen=True)
class Question:
    """What a prediction is for.

    Attributes:
        precision: what is executed; `requested` is what was asked for.
    """

    model: str
    target: str
    mode: str
    requested: str
    precision: Precision
    image_px: int | tuple[int, int] | None = None
    classes: int | None = None
    batch: int = 1
    notes: tuple[str, ...] = ()


def predict(
    model: Path | str,
    target: str,
    precision: str = "fp16",
    image_px: int | tuple[int, int] | None = None,
    classes: int = 1000,
    learned: Learned | None = None,
    *,
    mode: str | None = None,
    batch: int = 1,
) -> Prediction:
    """
    Args:
        model: an ONNX file, or the name of a network of timm or torchvision.
        target: a board of whose kind of chip measurements are published.
        precision: asked for.
        image_px: of a named network, 224 when None; a file knows its own.
        classes: of a named network.
        learned: instead of what the user's own measurements say.
        mode: power mode of the board, its usual one when None.
        batch: images at once of a named network, or of a file that is made for one.

    Raises:
        RecipeError: no such network, board, power mode or size, nothing published to estimate from, or more memory
            needed than the board has.
        PreflightError: the file cannot be read or counted.
    """
    board = load_target(target)
    executed, reason = executed_precision(board, precision)
    refuse_unless_fitted(target, executed)
    wanted_mode = mode_of(target, mode)
    if batch < 1:
        raise RecipeError(f"--batch {batch}: expected at least 1 image")
    notes = [reason] if reason else []
    if is_file(model):
        features, images, doubt = _of_file(Path(model), batch)
        notes += filter(None, [doubt, _refused(Path(model), target)])
        name, px, number = Path(model).name, None, None
    else:
        name, px, number, images = str(model).partition(".")[0], image_px or 224, classes, batch
        features = features_of_name(name, px, classes).of_batch(batch)
    question = Question(name, target, wanted_mode, precision, executed, px, number, images, tuple(notes))
    prediction = prediction_of(features, question, learned or factor_of(target))
    if prediction.beyond_board:
        raise RecipeError(
            f"{name}: {prediction.beyond_board} (estimate), so it has no speed there; take fewer images at once, fewer "
            "pixels or a smaller network"
        )
    return prediction


def _of_file(path: Path, batch: int) -> tuple[Features, int, str]:
    """Counts of one run of the file, for how many images that is, and a note where its inputs disagree on it."""
    from edgedistill.prediction.kernels import batch_of_file

    features, (own, doubt) = features_from_file(path), batch_of_file(path)
    if batch in (1, own):
        return features, own, doubt
    if own > 1:
        raise RecipeError(f"{path} takes {own} images at once, not {batch}; leave --batch out")
    return features.of_batch(batch), batch, doubt


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


def prediction_of(features: Features, question: Question, learned: Learned) -> Prediction:
    """The prediction for a network that is counted already.

    Args:
        features: of the whole batch.
    """
    target, mode, precision = question.target, question.mode, question.precision
    fitted = stored()["boards"][target]
    by_term = shares(features, target, mode, precision, constants())
    latency = sum(by_term.values()) * learned.factor
    spread, images = math.exp(fitted["half_width"]), question.batch
    memory = memory_of(features, target, precision)
    power = power_of(features, target, mode, precision, latency)
    return Prediction(
        model=question.model,
        target=target,
        mode=mode,
        requested=question.requested,
        precision=precision,
        image_px=question.image_px,
        classes=question.classes,
        batch=images,
        latency_ms=latency,
        latency_ms_low=latency / spread,
        latency_ms_high=latency * spread,
        interval_share=fitted["interval_share"],
        fps=1000 * images / latency,
        fps_low=1000 * images / (latency * spread),
        fps_high=1000 * images * spread / latency,
        watts=power.busy_w if power else None,
        image_mj=power.image_mj / images if power else None,
        memory_mib=memory.lean,
        memory_with_libraries_mib=memory.full,
        network_mib=memory.network,
        parameters=round(features.parameters),
        macs_beside_depthwise=round(features.macs / images),
        kernels=round(features.kernels),
        notes=(
            *question.notes,
            *filter(None, [note_on_libraries(memory, target)]),
            *_beyond(features, by_term, target),
        ),
        provenance=f"predicted: {_basis(target, mode)}{learned.note}",
    )


def _basis(target: str, mode: str) -> str:
    """What a prediction for a board in a power mode rests on."""
    fitted, title = stored()["boards"][target], load_target(target).title
    if not fitted["rows"]:
        error = stored()["all"]["board"]["median_fraction"]
        return (
            f"{title}, {mode}: no measurement of this board is published, only of others of its kind of chip; "
            f"{100 * error:.0f} % median error on a board that was left out"
        )
    unknown = fitted["rows_without_mode"]
    without = f", {unknown} of them without a power mode" if unknown else ""
    return (
        f"{fitted['rows']} published rows of {fitted['networks']} networks on {title}{without}; here {mode}; "
        f"{100 * fitted['network']['median_fraction']:.1f} % median error on a network that was left out, "
        f"{100 * fitted['family']['median_fraction']:.1f} % on a family"
    )


def is_file(model: Path | str) -> bool:
    """Whether a file is meant and not a name."""
    return isinstance(model, Path) or Path(model).suffix == ".onnx" or "/" in model


def features_of_name(name: str, image_px: int | tuple[int, int], classes: int) -> Features:
    """Of one image: from the catalogue, or of a graph made on the fly where it does not have the network so.

    Raises:
        RecipeError: neither timm nor torchvision has such a network, or it cannot be run at this size.
        PreflightError: an operator that computes and is not counted.
    """
    if classes < 2:
        raise RecipeError(f"--classes {classes}: expected at least 2")
    refuse_too_many_classes(classes)
    height, width = size_of(image_px)
    counted = catalogue().get((name, height), {}) if height == width else {}
    if classes in counted or len(counted) > 1:
        return with_classes(counted, classes)
    from edgedistill.prediction.networks import features_on_the_fly

    return features_on_the_fly(name, (height, width), classes)


def _beyond(features: Features, by_term: dict[str, float], target: str) -> tuple[str, ...]:
    """Where the network is unlike every one that the model was fitted to."""
    total, seen = sum(by_term.values()), stored()["seen"][hardware()[target].family]
    attention = (
        ()
        if features.matmul_macs == 0
        else (
            "extrapolated: it has attention, which TensorRT fuses in ways that are not counted; a transformer "
            "in FP16 on a Nano is known to have given NaN",
        )
    )
    return attention + tuple(
        f"extrapolated: {100 * cost / total:.0f} % of the predicted time goes to {TERM_WORDS[term]}; in the published "
        f"networks on such chips it is at most {100 * seen[term]:.0f} %, so the interval may not hold"
        for term, cost in by_term.items()
        if cost / total > _SMALL and cost / total > _BEYOND * seen[term]
    )
