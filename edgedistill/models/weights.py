"""Weights in and out: safetensors or `weights_only` files, never pickle from outside.

Our own files carry the model's name, the class list and the preprocessing, so that a head can
never be taken for another class list's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from edgedistill.config.task import CLASSIFICATION, Task, task_of_weights
from edgedistill.core.files import write_bytes
from edgedistill.errors import TeacherError, WeightsError
from edgedistill.models.build import architecture_of, build_model, head_names
from edgedistill.models.checkpoints import read_checkpoint, read_class_names, without_prefix
from edgedistill.models.enlarged import enlarge, enlarged_size
from edgedistill.models.families import TORCHVISION
from edgedistill.models.heads import Head, head_from, is_head, refuse_untrained, short
from edgedistill.models.hub import timm_state, torchvision_file
from edgedistill.models.hub_access import from_cache_or_in_reach
from edgedistill.models.packaged import packaged_state

_META = "edgedistill"  # one metadata key, because safetensors does not keep the order of several
_ENLARGED = "enlarged_size"  # in what is noted there


class Source(NamedTuple):
    """Where a network starts from.

    Attributes:
        state: tensors as they stand in the source.
        classes: of its head, where it tells.
        model: that it was made with, where it tells.
        task: of its head; None where a file from elsewhere does not tell.
        ours: whether `save_weights` wrote it.
    """

    state: dict[str, Tensor]
    classes: list[str] | None = None
    model: str | None = None
    task: Task | None = None
    ours: bool = False


def save_weights(model: nn.Module, path: Path, about: dict[str, Any]) -> None:
    """Write a state dict as safetensors; equal weights and `about` give equal bytes.

    Args:
        about: JSON-able: model, classes, preprocess; the size that the model enlarges to is noted beside.
    """
    if size := enlarged_size(model):
        about = {**about, _ENLARGED: size}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {_META: json.dumps(about, sort_keys=True, ensure_ascii=False)}
    write_bytes(path, safetensors.torch.save(tensors, metadata))


def load_weights(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """A model as `save_weights` wrote it, in eval mode, and its `about`."""
    about = about_of(path)
    if about is None:
        raise WeightsError(f"{path} was not written by edgedistill: it names no model and no classes")
    model = build_model(about["model"], task_of_weights(about).head_width(len(about["classes"])))
    try:
        model.load_state_dict(read_checkpoint(path).state)
    except RuntimeError as error:  # keys or shapes
        reason = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{path} was damaged or altered: {reason}") from None
    if _ENLARGED in about:
        enlarge(model, tuple(about[_ENLARGED]))
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
    if not (
        isinstance(about, dict)
        and isinstance(about.get("model"), str)
        and isinstance(about.get("classes"), list)
        and "preprocess" in about
    ):
        raise WeightsError(f"{path}: what edgedistill noted in it is damaged; copy it again")
    return about


def noted_size(weights: str) -> tuple[int, int] | None:
    """(height, width) in pixels that the network of a file of ours enlarges its images to; None of all others."""
    about = about_of(Path(weights)) if Path(weights).is_file() else None
    return tuple(about[_ENLARGED]) if about and _ENLARGED in about else None


def model_from_weights(
    name: str,
    weights: str,
    classes: list[str],
    will_train: bool,
    task: Task = CLASSIFICATION,
    *,
    class_names: str | None = None,
    section: str = "teacher",
    say: Callable[[str], None] = lambda line: None,
) -> nn.Module:
    """A model for `classes` that starts from `weights`.

    Args:
        name: timm model, or a SqueezeNet.
        weights: `hub`, `scratch`, a word of `packaged.PACKAGED`, or a file.
        classes: class names in logit order.
        will_train: whether a new head will be trained. If not, the file's own head must belong
            to these classes.
        task: says how wide the head is, and whether there is one.
        class_names: file of the class names of the file's head, in its order.
        section: of the recipe, for messages.
        say: told what becomes of the head that comes with the weights.

    Raises:
        WeightsError: the source gives no weights for this architecture.
        TeacherError: no training follows and the head does not belong to the class list.
    """
    width = task.head_width(len(classes))
    model = build_model(name, width)
    if width:
        _quieten_heads(model, name)
    if weights == "scratch":
        return model
    source = source_state(name, weights)
    refuse_other_model(source, weights, name, will_train, section, say)
    names = source.classes if class_names is None else read_class_names(Path(class_names))
    own, heads = model.state_dict(), head_names(name)
    body, beside = fitting_body(source.state, own, heads, weights, name)
    model.load_state_dict(body, strict=False)
    if not width:
        return model
    if beside:
        say(f"  {weights}: left out {len(beside)} tensors that are not {name}'s, first {beside[0]}")
    if weights == "hub" or weights.startswith("package:"):  # ImageNet's
        head = Head({}, f"a new head is trained for {short(classes)}")
    elif other := _other_task(source, task):
        head = Head({}, f"its head is one of {other.name}, the data's task is {task.name}: a new one is trained")
    else:
        inside = without_prefix(source.state, own, weights)[0]
        head = head_from(inside, own, heads, classes, names, class_names)
    if not will_train:
        refuse_untrained(weights, section, head, names is not None)
    say(f"  {name} from {weights}: {head.note}")
    model.load_state_dict(head.tensors, strict=False)
    return model


def source_state(name: str, weights: str) -> Source:
    """What a recipe's `weights` gives for a model of that name."""
    if weights == "hub":
        with from_cache_or_in_reach(name):
            return Source(_hub_state(name))
    if weights.startswith("package:"):
        return Source(packaged_state(name, weights))
    path = Path(weights)
    noted = about_of(path) if path.is_file() else None
    state, classes, model = read_checkpoint(path)
    if noted is None:
        return Source(state, classes, model)
    return Source(state, noted["classes"], noted["model"], task_of_weights(noted), ours=True)


def refuse_other_model(
    source: Source,
    weights: str,
    name: str,
    will_train: bool,
    section: str = "teacher",
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Tensors of the same names and shapes compute something else in another network: padding and epsilon differ.

    A name that timm does not have tells nothing; a tag of weights and an alias do not matter.

    Raises:
        WeightsError: a file of ours of another model.
        TeacherError: a file from elsewhere of another model of timm, and no training follows.
    """
    if source.model is None or source.model == name:
        return
    theirs = architecture_of(source.model)
    if (theirs is None and not source.ours) or theirs == architecture_of(name):
        return
    line = f"{weights} was made with {source.model}, not with {name}"
    if source.ours:
        raise WeightsError(f'{line}; set {section}.model = "{source.model}", or name other weights')
    if not will_train:
        raise TeacherError(
            f"{line}, and will not be trained: what {name} computes with it may be something else; set "
            f'{section}.model = "{source.model}", or train it for at least 1 epoch'
        )
    say(f"  {line}: it starts the training all the same")


def _other_task(source: Source, task: Task) -> Task | None:
    """The task of the source's head, where its outputs mean something else; an embedding has no head."""
    theirs = source.task
    return theirs if theirs is not None and theirs is not task and theirs.head_width(1) else None


def fitting_body(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], heads: Sequence[str], source: str, name: str
) -> tuple[dict[str, Tensor], list[str]]:
    """All but the head, under the network's own names; and the names of tensors of something else.

    Raises:
        WeightsError: the tensors are those of another architecture, or not values of the network's kind.
    """
    inside, beside = without_prefix(state, own, source)
    odd = [fault for key, tensor in inside.items() if (fault := _odd_tensor(key, tensor, own, heads))]
    if odd:
        raise WeightsError(
            f"{source} does not hold weights that {name} can take: {len(odd)} tensors, like {odd[0]}; write them as "
            "dense tensors of floating-point numbers"
        )
    body = {key: tensor for key, tensor in inside.items() if not is_head(key, heads)}
    wanted = {key: tensor for key, tensor in own.items() if not is_head(key, heads)}
    missing = [key for key in wanted if key not in body and not key.endswith("num_batches_tracked")]
    unknown = [key for key in body if key not in wanted]
    other = [
        f"{key} ({tuple(body[key].shape)}, not {tuple(wanted[key].shape)})"
        for key in wanted
        if key in body and body[key].shape != wanted[key].shape
    ]
    kinds = (("missing", missing), ("unknown", unknown), ("of another shape", other))
    faults = [
        f"{len(keys)} {what}: {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}" for what, keys in kinds if keys
    ]
    if faults:
        raise WeightsError(
            f"{source} does not hold the weights of {name}: of {len(wanted)} tensors {'; '.join(faults)}; name "
            "the model it was made with"
        )
    return body, beside


def _odd_tensor(key: str, tensor: Tensor, own: Mapping[str, Tensor], heads: Sequence[str]) -> str:
    """Why a tensor cannot be copied into the network's; "" where it can, or is none of the network's.

    Integers may come as floating-point numbers: scripts that average checkpoints write all tensors so.
    """
    if key not in own and not is_head(key, heads):
        return ""
    if tensor.is_meta:
        return f"{key}, which has no values"
    if tensor.layout is not torch.strided or tensor.is_nested:
        return f"{key}, which is not dense"
    if tensor.is_floating_point() or (key in own and not own[key].is_floating_point() and not tensor.is_complex()):
        return ""
    return f"{key} of {str(tensor.dtype).removeprefix('torch.')}"


def _quieten_heads(model: nn.Module, name: str) -> None:
    """Start new heads near zero, so that the first loss is ln(classes).

    timm draws EfficientNet and MobileNet heads from +-1 / sqrt(classes): for two classes the logits
    start at +-10, and a fine-tuning of a few epochs is spent on unlearning them.
    """
    for head in head_names(name):
        layer: Any = model.get_submodule(head)  # a linear or convolutional layer
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)


def _hub_state(name: str) -> dict[str, Tensor]:
    return read_checkpoint(torchvision_file(name)).state if name in TORCHVISION else timm_state(name)
