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


class PowerMode(Section):
    """A power mode of nvpmodel: the highest clocks that it allows."""

    gpu_mhz: Positive
    """of the GPU"""
    emc_mhz: Positive
    """of the memory controller"""
    cpu_mhz: Positive
    """of the fastest CPU core"""
    multiprocessors: Annotated[int, Field(gt=0)] | None = None
    """where the mode leaves fewer on than the board has"""


class Hardware(Section):
    """[hardware]: what a latency prediction needs of a board's data sheet."""

    family: str
    """the boards of one family share the fitted constants"""
    multiprocessors: Annotated[int, Field(gt=0)]
    """SMs of the GPU"""
    cores_per_multiprocessor: Annotated[int, Field(gt=0)]
    """CUDA cores"""
    macs_per_cycle: dict[Precision, Positive]
    """precision -> multiply-accumulates of one multiprocessor in one cycle"""
    tensor_precisions: tuple[Precision, ...] = ()
    """those of macs_per_cycle that tensor cores compute"""
    bytes_per_emc_cycle: Positive
    """bytes that the memory moves in a cycle of its controller"""
    usual_mode: str
    """taken where none is named"""
    modes: Annotated[dict[str, PowerMode], Field(min_length=1)]
    """name as nvpmodel prints it -> its clocks"""

    @model_validator(mode="after")
    def _names_what_it_has(self) -> Hardware:
        if self.usual_mode not in self.modes:
            raise ValueError(f"hardware.usual_mode: expected one of {', '.join(self.modes)}, got {self.usual_mode!r}")
        unknown = [name for name in self.tensor_precisions if name not in self.macs_per_cycle]
        if unknown:
            raise ValueError(
                f"hardware.tensor_precisions: expected some of {', '.join(self.macs_per_cycle)}, got {unknown[0]!r}"
            )
        return self

    def mode_named(self, name: str) -> str | None:
        """The mode meant by `30W`, `mode_30w_all` or `MODE_30W_ALL`: an exact name, or the first that begins so."""

        def plain(text: str) -> str:
            return text.upper().removeprefix("MODE_").replace("-", "").replace(" ", "")

        wanted = plain(name)
        if not wanted:
            return None
        exact = [mode for mode in self.modes if plain(mode) == wanted]
        return next(iter(exact or [mode for mode in self.modes if plain(mode).startswith(wanted)]), None)

    def macs_per_ms(self, mode: str, precision: Precision) -> float:
        """Multiply-accumulates of the whole GPU in a millisecond."""
        return self.macs_per_cycle[precision] * self._cycles_per_ms(mode)

    def core_cycles_per_ms(self, mode: str) -> float:
        """Cycles of all CUDA cores in a millisecond."""
        return self.cores_per_multiprocessor * self._cycles_per_ms(mode)

    def _cycles_per_ms(self, mode: str) -> float:
        """Of all multiprocessors."""
        clocks = self.modes[mode]
        return (clocks.multiprocessors or self.multiprocessors) * clocks.gpu_mhz * 1e3

    def bytes_per_ms(self, mode: str) -> float:
        """Of memory."""
        return self.bytes_per_emc_cycle * self.modes[mode].emc_mhz * 1e3


class BoardMemory(Section):
    """[memory]: what a process takes before a network is loaded."""

    process_mib: Positive
    """with CUDA and TensorRT"""
    libraries_mib: Positive
    """cuBLAS and cuDNN, in addition"""


class Published(Section):
    """[published]: how published_fps.csv names this board."""

    names: Annotated[dict[str, str], Field(min_length=1)]
    """name -> power mode; "" where the name leaves it open, which is taken for the usual mode"""


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
        hardware: what a latency prediction needs; None where nothing usable is published of its kind of chip.
        published: names of its published rows; None where there are none.
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

    @model_validator(mode="after")
    def _fits_together(self) -> Target:
        if self.backend not in BACKENDS:
            raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {self.backend!r}")
        if self.tensorrt and self.tensorrt not in releases():
            raise ValueError(f"tensorrt: expected one of {', '.join(releases())}, got {self.tensorrt!r}")
        hardware, published = self.hardware, self.published
        if hardware and not set(hardware.macs_per_cycle) <= set(self.precisions):
            raise ValueError(
                f"hardware.macs_per_cycle: expected some of precisions ({', '.join(self.precisions)}), got "
                f"{', '.join(hardware.macs_per_cycle)}"
            )
        if published and hardware is None:
            raise ValueError("[published] goes with [hardware]")
        unknown = [
            mode
            for mode in (published.names.values() if published else ())
            if mode and hardware and mode not in hardware.modes
        ]
        if unknown:
            raise ValueError(f"published.names: {unknown[0]!r} is no mode of hardware.modes")
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
