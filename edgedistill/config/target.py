"""Boards as data: targets/*.toml. Nothing elsewhere says "if nano"."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from edgedistill.config.base import Positive, Section
from edgedistill.config.deployment import TargetConfig
from edgedistill.config.faults import fault_line
from edgedistill.core.text import printable
from edgedistill.errors import RecipeError
from edgedistill_device.board.jetpacks import JETPACKS, release_of, tensorrt_of_board
from edgedistill_device.engine.runners import BACKENDS, DEFAULT


@dataclass(frozen=True)
class Release:
    """One TensorRT release as its ONNX parser documents itself: config/releases.toml.

    Attributes:
        name: "8.2".
        source: what was read for its rules.
        operators: column of operators.csv.
        opset_max: documented limit of the parser.
        ir_max: IR version of the ONNX release that the parser was built with.
        typed: it has no precision flags and computes each tensor in the type that the ONNX file gives it.
    """

    name: str
    source: str
    operators: str
    opset_max: int
    ir_max: int
    typed: bool = False

    @property
    def jetpacks(self) -> tuple[str, ...]:
        """Those that bring it, or on which it can be installed."""
        return tuple(row.name for row in JETPACKS if release_of(row) == self.name)

    @property
    def number(self) -> tuple[int, ...]:
        """For comparisons: as text, "10.3" lies before "8.2"."""
        return tuple(int(part) for part in self.name.split("."))


Precision = Literal["fp32", "fp16", "int8"]
Prior = tuple[Positive, Positive]


class Hardware(Section):
    """[hardware]: a board's data sheet, in the power mode of its published measurements."""

    mode: str
    """power mode"""
    peak_gmacs_per_s: dict[Precision, Positive]
    """precision -> 10^9 multiply-accumulates a second"""
    bandwidth_gb_per_s: Positive
    """of memory, 10^9 bytes a second"""
    reference: Precision
    """the precision whose gains are 1"""
    other: Precision
    """the precision that has gains"""

    @model_validator(mode="after")
    def _two_precisions_have_peaks(self) -> Hardware:
        if {self.reference, self.other} != set(self.peak_gmacs_per_s) or self.reference == self.other:
            raise ValueError(
                "hardware.reference and hardware.other must be the two precisions of hardware.peak_gmacs_per_s, got "
                f"{self.reference}, {self.other} and {', '.join(self.peak_gmacs_per_s)}"
            )
        return self


class BoardMemory(Section):
    """[memory]: what a process takes before a network is loaded."""

    process_mib: Positive
    """with CUDA and TensorRT"""
    libraries_mib: Positive
    """cuBLAS and cuDNN, in addition"""


class Published(Section):
    """[published]: how published_fps.csv names this board."""

    names: Annotated[tuple[str, ...], Field(min_length=1)]
    """in the power mode of [hardware]; a name that leaves the mode open is not here"""
    slower_modes: dict[str, str] = {}
    """name in another power mode -> that mode"""


class FitPrior(Section):
    """[prior]: what is expected of the fitted constants; (value, standard deviation of its logarithm) each."""

    compute_gain: Prior
    """time of the other precision's arithmetic, over what its peak gives"""
    depthwise_gain: Prior
    """the same of depthwise convolutions' memory traffic"""
    terms: dict[str, Prior] = {}
    """term of the latency model -> instead of the usual prior"""


class Target(Section):
    """One board, or this computer: a file of targets/.

    Attributes:
        name: the file's name.
        title: for people.
        tensorrt: release whose parser the pre-flight follows, or "" for none.
        sm: CUDA compute capability, 53 for 5.3; 0 without a GPU.
        precisions: those the hardware computes in.
        memory_mib: what the board has, shared by CPU and GPU; 0: no source was found, or it does not matter.
        backend: what runs networks there, a row of edgedistill_device.engine.runners.BACKENDS.
        hardware, published, prior: what a latency prediction needs; None where nothing usable is published.
        memory: what a memory prediction needs; None where nothing is published.
    """

    name: str
    title: str
    tensorrt: str
    sm: Annotated[int, Field(ge=0)]
    precisions: tuple[Precision, ...]
    memory_mib: Annotated[int, Field(ge=0)]
    backend: str = DEFAULT
    hardware: Hardware | None = None
    memory: BoardMemory | None = None
    published: Published | None = None
    prior: FitPrior | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Target:
        if self.backend not in BACKENDS:
            raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {self.backend!r}")
        if self.tensorrt and self.tensorrt not in releases():
            raise ValueError(f"tensorrt: expected one of {', '.join(releases())}, got {self.tensorrt!r}")
        given = [key for key in ("hardware", "published", "prior") if getattr(self, key)]
        if len(given) not in (0, 3):
            raise ValueError(f"[hardware], [published] and [prior] go together, got only [{'] and ['.join(given)}]")
        if self.hardware and not set(self.hardware.peak_gmacs_per_s) <= set(self.precisions):
            raise ValueError(
                f"hardware.peak_gmacs_per_s: expected some of precisions ({', '.join(self.precisions)}), got "
                f"{', '.join(self.hardware.peak_gmacs_per_s)}"
            )
        return self

    @property
    def release(self) -> Release | None:
        return releases()[self.tensorrt] if self.tensorrt else None

    @property
    def needed_release(self) -> Release:
        """
        Raises:
            RecipeError: the board has no TensorRT.
        """
        if self.release is None:
            raise RecipeError(f"{self.title} has no TensorRT; take a target that names a release")
        return self.release

    @property
    def possible_tensorrt(self) -> list[str]:
        """Releases that a JetPack of the board brings or takes, of those whose rules are known here."""
        return [release for release in tensorrt_of_board(self.name) if release in releases()]

    @property
    def note(self) -> str:
        """One line for a board of which no published measurement is used here, or ""."""
        if self.release is None or self.published is not None:
            return ""
        return (
            f"{self.title} was never measured here, and no usable measurement of it is published: what is said of "
            "it is from NVIDIA's tables and the sources in its file"
        )

    @property
    def int8_weights(self) -> bool:
        """Whether its TensorRT takes weights stored as INT8; the releases 8 refuse them."""
        return int(self.tensorrt.partition(".")[0] or 0) >= 10

    @property
    def typed(self) -> bool:
        """Whether its TensorRT takes its types from the file alone, so that FP16 needs a file of its own."""
        return self.release is not None and self.release.typed


@cache
def releases() -> dict[str, Release]:
    text = (resources.files("edgedistill.config") / "releases.toml").read_text("utf-8")
    return {name: Release(name=name, **table) for name, table in tomllib.loads(text).items()}


@cache
def target_names() -> tuple[str, ...]:
    folder = resources.files("edgedistill.config") / "targets"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def load_target(name: str, tensorrt: str | None = None) -> Target:
    """
    Args:
        name: of a file in targets/; of boards that differ in memory alone the part before it: `orin-nx` is the
            smallest.
        tensorrt: release of another JetPack than the file's, if not that one.

    Raises:
        RecipeError: no such board or release, or its file is faulty.
    """
    if tensorrt is not None and tensorrt not in releases():
        raise RecipeError(f"TensorRT {tensorrt!r} is not known; known: {', '.join(releases())}")
    sizes = [known for known in target_names() if re.fullmatch(rf"{re.escape(name)}-\d+gb", known)]
    if name not in target_names() and sizes:
        name = min(sizes, key=lambda known: _stored(known).memory_mib)
    if name not in target_names():
        near = difflib.get_close_matches(name, target_names(), n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise RecipeError(f"target {name!r} is unknown; {meant}known: {', '.join(target_names())}")
    target = _stored(name)
    return target.model_copy(update={"tensorrt": tensorrt}) if tensorrt else target


def wanted_target(wanted: TargetConfig) -> Target:
    """The board that a recipe names, with the TensorRT that it names.

    Raises:
        RecipeError: as `load_target`; the recipe names a TensorRT that the board cannot have.
    """
    target = load_target(wanted.device, wanted.tensorrt)
    if wanted.tensorrt and target.backend != DEFAULT:
        raise RecipeError(f"target.tensorrt = {wanted.tensorrt!r}: {target.title} has no TensorRT; leave it out")
    known = target.possible_tensorrt
    if wanted.tensorrt and wanted.tensorrt not in known:
        raise RecipeError(
            f"target.tensorrt = {wanted.tensorrt!r}: no JetPack brings it to {target.title}; it can have: "
            f"{', '.join(known)}"
        )
    return target


@cache
def targets() -> dict[str, Target]:
    """All boards by name.

    Raises:
        RecipeError: a file of targets/ is faulty.
    """
    return {name: _stored(name) for name in target_names()}


@cache
def _stored(name: str) -> Target:
    text = (resources.files("edgedistill.config") / "targets" / f"{name}.toml").read_text(encoding="utf-8")
    return target_from_text(name, text)


def target_from_text(name: str, text: str) -> Target:
    """
    Args:
        name: of the board.
        text: TOML, as in targets/.

    Raises:
        RecipeError: no TOML, an unknown key, a missing one, or a value out of range.
    """
    file = f"targets/{name}.toml"
    try:
        table = tomllib.loads(text)
    except ValueError as error:
        raise RecipeError(f"{file}: {printable(str(error))}") from None
    try:
        return Target.model_validate({**table, "name": name})
    except ValidationError as error:
        faults = [fault_line(fault, Target, "the file") for fault in error.errors(include_url=False)]
        raise RecipeError("\n".join(f"{file}: {fault}" for fault in faults)) from None


def executed_precision(target: Target, requested: str) -> tuple[str, str]:
    """What the board will compute in, and one line that says why when it is not what was asked."""
    if requested in target.precisions:
        return requested, ""
    executed = "fp16" if "fp16" in target.precisions else "fp32"
    return executed, (
        f"{target.title} has no {requested.upper()} hardware (sm_{target.sm}); TensorRT would accept "
        f"the request and run slower, so it is served as {executed.upper()}"
    )
