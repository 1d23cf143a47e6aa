"""The head that comes with weights: kept in the data's class order, or replaced with a note about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from edgedistill.errors import TeacherError, WeightsError
from edgedistill.models.checkpoints import repeated

UNNAMED = (
    "{source}: nothing names the classes of its head, and it will not be trained: a random or foreign head "
    "cannot teach; set {section}.classes to a file of class names in the order of the head, one a line"
)


class Head(NamedTuple):
    """A head for the data's classes.

    Attributes:
        tensors: under the network's own names, a row a class of the data; empty for a new head.
        note: what becomes of the head, for people.
    """

    tensors: dict[str, Tensor]
    note: str


def is_head(key: str, heads: Sequence[str]) -> bool:
    return any(key.startswith(f"{head}.") for head in heads)


def head_from(
    state: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    heads: Sequence[str],
    classes: list[str],
    names: list[str] | None,
    named_by: str | None,
) -> Head:
    """
    Args:
        state: tensors of the file under the network's names.
        own: those of the network, with a head for `classes`.
        heads: prefixes of the classifying layers.
        classes: of the data, in its order.
        names: classes of the file's head in its order, None when they are not known.
        named_by: the recipe's file that gave `names`; None when the weights file did.

    Raises:
        WeightsError: `named_by` does not fit the head, or not the data; the weights file names a class twice.
    """
    tensors = _tensors_of(state, own, heads)
    if tensors is None:
        kind = "has no head" if not any(is_head(key, heads) for key in state) else "has a head of another build"
        return Head({}, f"{kind}: a new one is trained for {short(classes)}")
    width = next(iter(tensors.values())).shape[0]
    if names is None:
        if width != len(classes):
            return Head({}, f"its head has {width} outputs, the data {len(classes)} classes: a new one is trained")
        return Head(
            tensors,
            f"its head has {width} outputs and no class names: taken in the data's order, "
            f"{short(classes)}; name its own order in a file of class names",
        )
    if named_by is not None and len(names) != width:
        raise WeightsError(
            f"{named_by} names {len(names)} classes, the head has {width} outputs; write one name a line, in its order"
        )
    absent = [name for name in classes if name not in names]
    if absent and named_by is not None:
        raise WeightsError(
            f"{named_by} does not name {short(absent)} of the data, it names {short(names)}; "
            "write the names of the data's folders, in the order of the head"
        )
    if absent or len(names) != width:
        return Head({}, f"its head is for {short(names)}, the data has {short(classes)}: a new one is trained")
    twice = repeated(names)
    if twice is not None:
        raise WeightsError(
            f"the weights file names the class {twice!r} of its head twice; write its class names, one a line in the "
            "order of the head, to a file, and name that as `classes` beside `weights`"
        )
    rows = [names.index(name) for name in classes]
    order = (
        ""
        if names == classes
        else (", put in the data's order" if len(names) == len(classes) else f", {len(rows)} of its {width} classes")
    )
    return Head({key: tensor[rows] for key, tensor in tensors.items()}, f"its head is kept{order}")


def refuse_untrained(source: str, section: str, head: Head, named: bool) -> None:
    """Without training, only a head whose classes are known to be the data's can teach.

    Raises:
        TeacherError: it is another head, or its classes are not known.
    """
    if not head.tensors:
        raise TeacherError(
            f"{source}: {head.note}, but {section}.epochs = 0: a random or foreign head cannot "
            f"teach; set {section}.epochs to at least 1, or take weights whose head is for these "
            "classes"
        )
    if not named:
        raise TeacherError(UNNAMED.format(source=source, section=section))


def short(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:4])
    return f"[{shown}{', ...' if len(classes) > 4 else ''}] ({len(classes)})"


def _tensors_of(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], heads: Sequence[str]
) -> dict[str, Tensor] | None:
    """The head's tensors under the network's names, None when they do not fit its layer.

    A layer inside a Sequential (dropout and a linear one) is the same layer under a longer name.
    """
    wanted = [key for key in own if is_head(key, heads)]
    theirs: dict[str, Tensor] = {}
    for head in heads:
        inside = {key: tensor for key, tensor in state.items() if key.startswith(f"{head}.")}
        for key in (key for key in wanted if key.startswith(f"{head}.")):
            ending = key.rpartition(".")[2]
            fitting = [tensor for name, tensor in inside.items() if name.rpartition(".")[2] == ending]
            if len(fitting) != 1 or not fitting[0].dim() or fitting[0].shape[1:] != own[key].shape[1:]:
                return None
            theirs[key] = fitting[0]
        if len(inside) != sum(key.startswith(f"{head}.") for key in wanted):
            return None
    return theirs if len({len(tensor) for tensor in theirs.values()}) == 1 else None
