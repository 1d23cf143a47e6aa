"""Weights files that people bring: plain state dicts, checkpoints of timm, torchvision, Lightning.

Only tensors and plain values are read: `weights_only`, with a few inert classes that such checkpoints
hold beside their tensors. Wrappers (DDP, torch.compile, a LightningModule) only prefix names, so the
prefix under which most of the network's own names stand is taken off.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from edgedistill.errors import WeightsError, is_out_of_memory

# Where checkpoints keep the state dict: timm, torchvision's references, Lightning, DINO, and others.
_STATES = (
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
)
_NAMES = ("classes", "class_names", "class_to_idx", "idx_to_class", "label_names", "labels")
_MODEL = ("arch", "model")  # where timm's train.py, and scripts after it, name the network
_PREFERRED = ("", "model", "module", "net", "network")  # of two networks that fit alike


class Checkpoint(NamedTuple):
    """What a file holds.

    Attributes:
        state: name -> tensor, names as they stand there.
        classes: names in the order of its head, where the file tells.
        model: name of the network, where the file tells.
    """

    state: dict[str, Tensor]
    classes: list[str] | None
    model: str | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """
    Raises:
        WeightsError: no such file, not readable without running code from it, or no state dict.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; give a file, `hub` or `scratch`")
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                noted = {key: _from_json(value) for key, value in (file.metadata() or {}).items()}
            return Checkpoint(safetensors.torch.load_file(path), _classes_in(noted), _model_in(noted))
        with torch.serialization.safe_globals(_settings_classes()):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types here, all mean the same to the user
        if is_out_of_memory(error):
            raise
        raise WeightsError(f"{path} holds no loadable weights: {_why_unreadable(path, error)}") from None
    state = _state_in(loaded)
    if state is None:
        raise WeightsError(
            f"{path} holds no state dict (names to tensors), but {_described(loaded)}; write one with "
            "torch.save(model.state_dict(), FILE)"
        )
    return Checkpoint(state, _classes_in(loaded), _model_in(loaded))


def read_class_names(path: Path) -> list[str]:
    """Class names in the order of a head: one a line, a JSON list, or a JSON object of names and numbers.

    Raises:
        WeightsError: not readable, empty, or a name twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a readable list of class names: {error}") from None
    stored = _from_json(text)
    names = (
        _names_from(stored)
        if isinstance(stored, list | dict)
        else [line.strip() for line in text.splitlines() if line.strip()]
    )
    if not names:
        raise WeightsError(f"{path}: expected class names, one a line in the order of the head, or a JSON list")
    twice = repeated(names)
    if twice is not None:
        raise WeightsError(f"{path} names the class {twice!r} twice")
    return names


def repeated(names: Iterable[str]) -> str | None:
    """The first name that stands there more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def without_prefix(state: Mapping[str, Tensor], own: Iterable[str], source: str) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under the network's own names, and the names of those that belong to something else.

    Args:
        own: names that the network gives its tensors.
        source: file, for messages.

    Raises:
        WeightsError: two networks in the file fit alike.
    """
    own = set(own)
    plain = {key.replace("_orig_mod.", ""): tensor for key, tensor in state.items()}
    counts: Counter[str] = Counter()
    for key in plain:
        parts = key.split(".")
        for depth in range(len(parts)):
            if ".".join(parts[depth:]) in own:
                counts[".".join(parts[:depth])] += 1
    if not counts:
        return plain, []
    most = max(counts.values())
    alike = [prefix for prefix in counts if counts[prefix] == most]
    prefix = next((one for one in _PREFERRED if one in alike), alike[0])
    if len(alike) > 1 and prefix not in _PREFERRED:
        raise WeightsError(
            f"{source} holds {len(alike)} such networks, under {' and '.join(repr(one) for one in sorted(alike))}; "
            "write the state dict of the one that is meant to a file of its own"
        )
    if not prefix:
        return plain, []
    start = prefix + "."
    inside = {key.removeprefix(start): tensor for key, tensor in plain.items() if key.startswith(start)}
    return inside, sorted(key for key in plain if not key.startswith(start))


def _settings_classes() -> list[Any]:
    """Classes whose instances stand beside the tensors and carry settings; they run nothing.

    A class that may be missing here is read as an OrderedDict: the one kind that `weights_only` fills.
    """
    inert = (
        "lightning.fabric.utilities.data.AttributeDict",
        "lightning_fabric.utilities.data.AttributeDict",
        "pytorch_lightning.utilities.parsing.AttributeDict",
    )
    paths = ("pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath")
    scalars = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")]
    scalar: Any = np.float64(0).__reduce__()[0]  # numpy's own maker of scalars, whose module was renamed
    return [
        argparse.Namespace,
        np.dtype,
        *scalars,
        (scalar, "numpy._core.multiarray.scalar"),
        (scalar, "numpy.core.multiarray.scalar"),
        *((OrderedDict, name) for name in inert),
        *((PurePosixPath, name) for name in paths),
    ]


def _why_unreadable(path: Path, error: Exception) -> str:
    try:
        with torch.serialization.safe_globals(_settings_classes()):
            unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # not even a zip: the first error says it
        unsafe = []
    if unsafe:
        return (
            f"beside tensors it holds {', '.join(sorted(unsafe)[:3])}, which only running code from the file "
            "would read; where it was made, write torch.save(model.state_dict(), FILE)"
        )
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _state_in(loaded: Any, depth: int = 0) -> dict[str, Tensor] | None:
    """The state dict in what was loaded, averaged weights (EMA) before others."""
    if not isinstance(loaded, Mapping):
        return None
    tensors = {key: value for key, value in loaded.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors and (len(tensors) == len(loaded) or any("." in key for key in tensors)):
        return tensors
    for key in _STATES if depth < 2 else ():
        state = _state_in(loaded.get(key), depth + 1)
        if state:
            return state
    return None


def _classes_in(loaded: Any) -> list[str] | None:
    """Class names beside the tensors, or among a LightningModule's or a script's settings."""
    found = (_names_from(place.get(key)) for place in _places(loaded) for key in _NAMES)
    return next((names for names in found if names), None)


def _model_in(loaded: Any) -> str | None:
    """The network's name in the same places."""
    found = (place.get(key) for place in _places(loaded) for key in _MODEL)
    return next((name for name in found if isinstance(name, str) and name), None)


def _places(loaded: Any) -> list[Mapping[str, Any]]:
    """What a checkpoint is, and the settings in it."""
    if not isinstance(loaded, Mapping):
        return []
    settings = (loaded.get(key) for key in ("hyper_parameters", "args", "config", "meta"))
    places = (loaded, *(vars(one) if isinstance(one, argparse.Namespace) else one for one in settings))
    return [place for place in places if isinstance(place, Mapping)]


def _names_from(stored: Any) -> list[str] | None:
    """Names from a list, from name -> number, or from number -> name."""
    if isinstance(stored, Mapping) and stored:
        if all(isinstance(value, str) for value in stored.values()):
            stored = {value: key for key, value in stored.items()}
        try:
            numbers = {name: int(number) for name, number in stored.items()}
        except (TypeError, ValueError):
            return None
        if sorted(numbers.values()) != list(range(len(numbers))):
            return None
        stored = sorted(numbers, key=numbers.__getitem__)
    if isinstance(stored, list | tuple) and stored and all(isinstance(name, str) for name in stored):
        return list(stored)
    return None


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _described(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        return f"a dict of {', '.join(sorted(map(str, loaded))[:6]) or 'nothing'}"
    return f"one {type(loaded).__name__}"
