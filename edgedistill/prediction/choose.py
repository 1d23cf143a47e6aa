"""`edgedistill choose`: which students meet a budget on a board, best first, before any is trained."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from edgedistill.config.target import load_target
from edgedistill.core.pareto import pareto_front
from edgedistill.errors import RecipeError
from edgedistill.models.families import STUDENTS
from edgedistill.models.students import stored
from edgedistill.onnx_model.backends import executed_precision
from edgedistill.prediction.energy import power_of
from edgedistill.prediction.features import Features, catalogue, refuse_too_many_classes, with_classes
from edgedistill.prediction.latency import hardware, mode_of, refuse_unless_fitted
from edgedistill.prediction.latency import stored as fitted_constants
from edgedistill.prediction.model import Prediction, Question, prediction_of
from edgedistill.prediction.user_measurements import Learned, factor_of
from edgedistill_device.preprocess_spec import size_of

SOURCES = {
    "timm": "huggingface/pytorch-image-models, results/results-imagenet.csv at 0173a139",
    "timm-card": "model card of timm/mobilenetv4_conv_large.e500_r256_in1k at c4e52650",
    "torchvision": "metadata of torchvision's weights",
}
# A published accuracy says nothing of the same network on far smaller images.
LARGER_PX = 1.1
_TIERS = ("fits", "fits in the middle of the interval", "does not fit")


@dataclass(frozen=True)
class Accuracy:
    """ImageNet top-1 of published weights, in %, at the size they were measured at."""

    weights: str
    top1_percent: float
    image_px: int
    source: str


@dataclass(frozen=True)
class Candidate:
    """One student at one size.

    Attributes:
        accuracy: None where no figure was found.
        preflight: the stored verdict of the board's TensorRT release: "fits", "does not fit", "unknown".
        fps_ratio: predicted over wanted; None when no FPS is wanted.
        spare_mib: of the wanted memory, engine built without cuBLAS and cuDNN; None when unknown.
        tier: 0 fits with the slow end of its interval, 1 with its middle, 2 does not.
        frame_mj: energy of a camera's frame, all that the board draws until the next; None without a camera.
    """

    prediction: Prediction
    accuracy: Accuracy | None
    preflight: str
    fps_ratio: float | None
    spare_mib: float | None
    tier: int
    frame_mj: float | None = None

    @property
    def verdict(self) -> str:
        return _TIERS[self.tier]

    @property
    def comparable_top1(self) -> float | None:
        """The published accuracy, where it is about images of this size."""
        accuracy, px = self.accuracy, self.prediction.image_px
        if accuracy is None or px is None or accuracy.image_px > LARGER_PX * min(size_of(px)):
            return None
        return accuracy.top1_percent

    @property
    def as_dict(self) -> dict[str, Any]:
        accuracy = self.accuracy
        return {
            **self.prediction.as_dict,
            "preflight": self.preflight,
            "verdict": self.verdict,
            "fps_ratio": self.fps_ratio,
            "spare_mib": self.spare_mib,
            "frame_mj": self.frame_mj,
            "imagenet": accuracy
            and {
                "weights": accuracy.weights,
                "top1_percent": accuracy.top1_percent,
                "image_px": accuracy.image_px,
                "source": SOURCES[accuracy.source],
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Candidate:
        """What `as_dict` gave."""
        prediction = Prediction.from_dict(values)
        accuracy = accuracies()[prediction.model] if values["imagenet"] else None
        tier = _TIERS.index(values["verdict"])
        own = (values["preflight"], values["fps_ratio"], values["spare_mib"], tier, values["frame_mj"])
        return cls(prediction, accuracy, *own)


@dataclass(frozen=True)
class Budget:
    """What a student must meet.

    Attributes:
        fps, memory_mib: None is no limit.
        camera: the frames come at `fps`, and the power mode of least energy that holds it is wanted.
    """

    fps: float | None = None
    memory_mib: float | None = None
    camera: bool = False


def choose(
    target: str,
    precision: str = "fp16",
    budget: Budget | None = None,
    sizes: tuple[int, ...] = (224,),
    classes: int = 1000,
    mode: str | None = None,
) -> list[Candidate]:
    """Every student at every size, those that fit first, then larger images, then accuracy.

    Args:
        sizes: image_px.
        classes: of the head.
        mode: power mode, the board's usual one when None; with a camera each candidate gets its own.

    Raises:
        RecipeError: nothing is predicted for this board, its memory neither, it has no such power mode, a size is
            not in the catalogue, or there are too many classes.
    """
    board, budget = load_target(target), budget or Budget()
    refuse_too_many_classes(classes)
    executed, reason = executed_precision(board, precision)
    refuse_unless_fitted(target, executed)
    _refuse_budget(target, budget, board.memory is not None)
    modes = tuple(hardware()[target].modes) if budget.camera and mode is None else (mode_of(target, mode),)
    verdicts = {row["model"]: row["preflight"].get(board.tensorrt) for row in stored()["rows"]}
    candidates, learned = [], factor_of(target)
    for image_px in sizes:
        names = [name for name in STUDENTS if (name, image_px) in catalogue()]
        if not names:
            counted = sorted({px for name, px in catalogue() if name == STUDENTS[0]})
            raise RecipeError(
                f"students are counted at {', '.join(map(str, counted))} px, not at {image_px}; take one of these"
            )
        for name in names:
            features = with_classes(catalogue()[(name, image_px)], classes)
            questions = [
                Question(name, target, one, precision, executed, image_px, classes, notes=(reason,) if reason else ())
                for one in modes
            ]
            verdict = (verdicts.get(name) or {}).get("verdict", "unknown")
            candidates.append(
                min((_candidate(features, one, learned, verdict, budget) for one in questions), key=_by_energy)
            )
    return sorted(candidates, key=_rank)


def _refuse_budget(target: str, budget: Budget, memory_known: bool) -> None:
    """
    Raises:
        RecipeError: a limit that cannot be checked on this board.
    """
    if budget.memory_mib is not None and not memory_known:
        raise RecipeError(
            f"the memory of the libraries on {target} is not published, so a memory budget cannot be checked; "
            "leave it out"
        )
    if budget.camera and budget.fps is None:
        raise RecipeError("--camera goes with --fps N, the rate of the camera")
    if budget.camera and target not in fitted_constants()["power"]["boards"]:
        known = ", ".join(fitted_constants()["power"]["boards"])
        raise RecipeError(f"no watts of {target} are published, so its energy is not predicted; they are of {known}")


def _by_energy(candidate: Candidate) -> tuple:
    """Of one student's power modes: those that hold the rate first, then the one of least energy."""
    return candidate.tier, candidate.frame_mj or 0.0, -candidate.prediction.fps


def _candidate(features: Features, question: Question, learned: Learned, preflight: str, budget: Budget) -> Candidate:
    prediction, fps, spare, frame_mj = prediction_of(features, question, learned), budget.fps, None, None
    if budget.memory_mib is not None and prediction.memory_mib is not None:
        spare = budget.memory_mib - prediction.memory_mib
    if budget.camera and fps is not None:
        latency_ms = prediction.latency_ms
        power = power_of(features, question.target, question.mode, question.precision, latency_ms)
        frame_mj = power.frame_mj(fps, latency_ms) if power else None
    possible = preflight != "does not fit" and (spare is None or spare >= 0) and not prediction.beyond_board
    certain, likely = fps is None or prediction.fps_low >= fps, fps is None or prediction.fps >= fps
    tier = 0 if possible and certain else 1 if possible and likely else 2
    ratio = prediction.fps / fps if fps else None
    return Candidate(prediction, accuracies().get(prediction.model), preflight, ratio, spare, tier, frame_mj)


def _rank(candidate: Candidate) -> tuple:
    if candidate.tier == 2:  # nearest to the budget first
        return (2, 0, -(candidate.fps_ratio or 0), -(candidate.spare_mib or 0))
    accuracy, prediction = candidate.accuracy, candidate.prediction
    return (
        candidate.tier,
        -min(size_of(prediction.image_px or 0)),
        prediction.extrapolated,
        candidate.comparable_top1 is None,
        -(accuracy.top1_percent if accuracy else 0),
        -prediction.fps,
    )


@cache
def accuracies() -> dict[str, Accuracy]:
    """Model -> published ImageNet accuracy; what was not found is not there."""
    text = (resources.files("edgedistill.prediction") / "accuracy.csv").read_text(encoding="utf-8")
    return {
        row["model"]: Accuracy(row["weights"], float(row["top1_percent"]), int(row["image_px"]), row["source"])
        for row in csv.DictReader(text.splitlines())
    }


def pareto(candidates: list[Candidate]) -> list[Candidate]:
    """Those that no other beats in both speed and comparable accuracy, slowest first."""
    rated = [(c, c.comparable_top1) for c in candidates if c.preflight != "does not fit"]
    with_accuracy = [(c, top1) for c, top1 in rated if top1 is not None]
    front = pareto_front(with_accuracy, lambda pair: -pair[0].prediction.fps, lambda pair: pair[1])
    return [candidate for candidate, _ in reversed(front)]
