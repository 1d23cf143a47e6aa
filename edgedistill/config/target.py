"""Boards as data: targets/*.toml. Nothing elsewhere says "if nano"."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources

from edgedistill.errors import RecipeError
from edgedistill_device.engine.runners import DEFAULT


@dataclass(frozen=True)
class Release:
    """One TensorRT release as its ONNX parser documents itself: onnx_model/releases.toml.

    Attributes:
        name: "8.2".
        source: what was read for its rules.
        jetpack: which brings it.
        operators: column of operators.csv.
        opset_max: documented limit of the parser.
        ir_max: IR version of the ONNX release that the parser was built with.
    """

    name: str
    source: str
    jetpack: str
    operators: str
    opset_max: int
    ir_max: int

    @property
    def number(self) -> tuple[int, ...]:
        """For comparisons: as text, "10.3" lies before "8.2"."""
        return tuple(int(part) for part in self.name.split("."))


@dataclass(frozen=True)
class Target:
    """One board, or this computer.

    Attributes:
        name: the file's name.
        title: for people.
        tensorrt: release whose parser the pre-flight follows, or "" for none.
        sm: CUDA compute capability, 53 for 5.3; 0 without a GPU.
        precisions: those the hardware computes in.
        memory_mib: what the board has, shared by CPU and GPU.
        backend: what runs networks there, a row of edgedistill_device.engine.runners.BACKENDS.
    """

    name: str
    title: str
    tensorrt: str
    sm: int
    precisions: tuple[str, ...]
    memory_mib: int
    backend: str = DEFAULT

    @property
    def release(self) -> Release | None:
        return releases()[self.tensorrt] if self.tensorrt else None

    @property
    def int8_weights(self) -> bool:
        """Whether its TensorRT takes weights stored as INT8; the releases 8 refuse them."""
        return int(self.tensorrt.partition(".")[0] or 0) >= 10


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
        name: of a file in targets/.
        tensorrt: release of another JetPack than the file's, if not that one.

    Raises:
        RecipeError: no such board or release.
    """
    if tensorrt is not None and tensorrt not in releases():
        raise RecipeError(f"TensorRT {tensorrt!r} is not known; known: {', '.join(releases())}")
    if name not in target_names():
        near = difflib.get_close_matches(name, target_names(), n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise RecipeError(f"target {name!r} is unknown; {meant}known: {', '.join(target_names())}")
    text = (resources.files("edgedistill.config") / "targets" / f"{name}.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    table["precisions"] = tuple(table["precisions"])
    assert set(table) | {"name", "backend"} == {field.name for field in fields(Target)}, f"{name}.toml"
    target = Target(name=name, **table)
    return replace(target, tensorrt=tensorrt) if tensorrt else target
