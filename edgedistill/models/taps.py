"""Taps: the places inside a network whose maps a feature loss compares.

Found by one probing forward pass, for every model of `build_model`; no shape is written by hand.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from typing import Any

import torch
from torch import Tensor, nn

from edgedistill.config.values import size_text
from edgedistill.errors import RecipeError
from edgedistill.models.build import outputs
from edgedistill_device.preprocess_spec import size_of

Pair = tuple["Tap", "Tap"]  # student's, teacher's


@dataclass(frozen=True)
class Tap:
    """The output of one module, a map (N, channels, height, width).

    Attributes:
        module: its name in `model.named_modules()`.
        channels, height, width: at the image size that was probed.
        depth: in 0..1, the share of the trunk's multiply-accumulates that made this map. Counting
            blocks would not compare: a RegNet stage holds seven, a MobileNetV4 stage may hold one.
    """

    module: str
    channels: int
    height: int
    width: int
    depth: float

    def __str__(self) -> str:
        return f"{self.module} {self.channels}x{self.height}x{self.width} at {self.depth:.2f}"


def find_taps(model: nn.Module, image_px: int | tuple[int, int], count: int = 4) -> list[Tap]:
    """The last block of each resolution, shallow to deep; of more than `count`, the deepest.

    A block is a child of the model that holds a convolution; a sequence whose children give maps
    of several sizes is replaced by its children. So the taps are stages of a ResNet, groups of
    inverted residuals of a MobileNet, Fire modules of a SqueezeNet. Maps of 1x1 and all that
    comes after the pooling are no taps: `losses.feature_loss` has the pooled features already.

    Args:
        model: from `build_model`; modes and buffers are as before when this returns.
        image_px: side of the square images it is for, or their (height, width).
        count: most taps, >= 1.

    Raises:
        RecipeError: no map (N, C, H, W) of 2x2 or more at this size.
    """
    if count < 1:
        raise ValueError(f"count must be >= 1, got {count}")
    calls = _probe(model, image_px)
    names = [n for child, module in model.named_children() for n in _opened(child, module, calls)]
    names = [name for name in names if calls[name].is_map]
    # A VGG has no blocks: its convolutions, activations and poolings stand in one row.
    names = [n for n in names if _is_block(model.get_submodule(n))] or [
        n for n in names if not isinstance(model.get_submodule(n), nn.MaxPool2d | nn.AvgPool2d)
    ]
    order = list(calls).index  # a module comes after those it holds, and after what fed it
    last = sorted({calls[n].size: n for n in sorted(names, key=order)}.values(), key=order)
    last = [name for name in last if calls[name].size > (1, 1)]
    if not last:
        raise RecipeError(
            f"no block of {type(model).__name__} gives a map (N, C, H, W) of 2x2 or more at "
            f"{size_text(image_px)} px; take larger images, another model, or no loss on maps"
        )
    return [_tap(name, calls[name], calls) for name in last[-count:]]


def named_taps(model: nn.Module, names: Sequence[str], image_px: int | tuple[int, int]) -> list[Tap]:
    """The taps that a recipe names, in its order.

    Args:
        model, image_px: as for `find_taps`.
        names: of modules, as in `model.named_modules()`.

    Raises:
        RecipeError: no such module before the pooling, or its output is no map to rely on.
    """
    calls = _probe(model, image_px)
    maps = [name for name, call in calls.items() if call.is_map]
    for name in names:
        call, kind = calls.get(name), type(model).__name__
        if call is None:
            exists = name in dict(model.named_modules())
            why = "runs it after the pooling or not at all" if exists else "has no such module"
            alike = [] if exists else difflib.get_close_matches(name, maps, n=3)
            near = alike or maps[-3:]
            raise RecipeError(f"{name!r}: {kind} {why}; near it: {', '.join(near) or 'no map'}")
        if name not in maps:
            raise RecipeError(
                f"{kind}.{name} gives {_described(call.output)}, a tap needs a map (N, C, H, W); "
                f"take one of: {', '.join(maps[-3:]) or 'none in this model'}"
            )
        if call.times > 1:
            raise RecipeError(
                f"{kind}.{name} runs {call.times} times in one forward pass; name a module that "
                "runs once, such as the block around it"
            )
        if call.overwritten:
            raise RecipeError(
                f"the map of {kind}.{name} is overwritten in place by the module after it; name "
                "that one, or the block around both"
            )
    return [_tap(name, calls[name], calls) for name in names]


def pair_taps(student_taps: Sequence[Tap], teacher_taps: Sequence[Tap], in_order: bool = False) -> list[Pair]:
    """One teacher tap for each student tap, never going back up.

    Args:
        student_taps, teacher_taps: shallow to deep, unless `in_order`.
        in_order: both were named, so the first belongs to the first and so on. Otherwise the
            pairs are those whose depths differ least in sum; a teacher tap serves twice only
            where the teacher has fewer.

    Raises:
        RecipeError: `in_order` with unequal counts.
    """
    if in_order:
        if len(student_taps) != len(teacher_taps):
            raise RecipeError(
                f"{len(student_taps)} student taps and {len(teacher_taps)} teacher taps are named; "
                "name as many of each, or of one only"
            )
        return list(zip(student_taps, teacher_taps, strict=True))
    few = len(teacher_taps) < len(student_taps)
    choose = combinations_with_replacement if few else combinations
    best = min(
        choose(teacher_taps, len(student_taps)),
        key=lambda taps: sum(abs(s.depth - t.depth) for s, t in zip(student_taps, taps, strict=True)),
    )
    return list(zip(student_taps, best, strict=True))


def lines_from_pairs(pairs: Sequence[Pair]) -> list[str]:
    """The mapping in words, one line a pair: student <- teacher."""
    return [f"{student} <- {teacher}" for student, teacher in pairs]


class Tapped(nn.Module):
    """A model that gives its maps along with its outputs.

        with Tapped(model, taps) as tapped:
            logits, features, maps = tapped(images)

    The model stays the one that was given, with the same state dict; it may also be called by
    itself meanwhile. A DistributedDataParallel goes around this, not inside.
    """

    def __init__(self, model: nn.Module, taps: Sequence[Tap]):
        super().__init__()
        self.model = model
        self.names = [tap.module for tap in taps]
        self._maps: dict[str, Tensor] | None = None  # filled only during a forward pass
        self._handles = [
            model.get_submodule(name).register_forward_hook(self._keeper(name)) for name in dict.fromkeys(self.names)
        ]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """
        Args:
            images: (N, 3, H, W) float, normalised for this model.

        Returns:
            logits (N, C), pooled features (N, F), and a map (N, C_i, H_i, W_i) for each tap.
        """
        if not self._handles:
            raise RuntimeError("these taps are closed; make a new Tapped")
        self._maps = {}
        try:
            logits, features = outputs(self.model, images)
            return logits, features, [self._maps[name] for name in self.names]
        finally:
            self._maps = None

    def close(self) -> None:
        """Take the hooks off the model."""
        while self._handles:
            self._handles.pop().remove()

    def __enter__(self) -> Tapped:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keeper(self, name: str):
        def keep(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            if self._maps is not None:
                self._maps[name] = output

        return keep


@dataclass
class _Call:
    """What the probe saw a module give, the last time it ran."""

    output: Any
    version: int  # of the output's memory at that time
    macs: int  # of the trunk, up to there
    times: int
    image: tuple[int, int]  # height and width of the network's input

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(self.output.shape[2:]) if isinstance(self.output, Tensor) else ()

    @property
    def is_map(self) -> bool:
        """(N, C, H, W): of the image's shape up to a pixel, where a Swin's (N, H, W, C) is not."""
        if len(self.size) != 2 or self.image[0] == self.image[1]:
            return len(self.size) == 2 and self.size[0] == self.size[1]
        shares = [part / whole for part, whole in zip(self.size, self.image, strict=True)]
        return abs(shares[0] - shares[1]) <= 1 / min(self.image)

    @property
    def overwritten(self) -> bool:
        return self.output._version != self.version


def _probe(model: nn.Module, image_px: int | tuple[int, int]) -> dict[str, _Call]:
    """Every module that runs before the pooling, in the order in which they finish."""
    calls: dict[str, _Call] = {}
    macs, size = 0, size_of(image_px)

    def hook(name: str):
        def note(module: nn.Module, inputs: tuple, output: Any) -> None:
            nonlocal macs
            version = output._version if isinstance(output, Tensor) else 0
            if isinstance(module, nn.Conv2d | nn.Linear):
                macs += output.numel() * module.weight[0].numel()
            times = calls.pop(name).times + 1 if name in calls else 1
            calls[name] = _Call(output, version, macs, times, size)

        return note

    handles = [m.register_forward_hook(hook(name)) for name, m in model.named_modules() if name]
    modes = [(module, module.training) for module in model.modules()]
    like = next(model.parameters())
    try:
        model.eval()  # no running mean may move, and a batch of one must do
        with torch.no_grad():
            trunk: Any = getattr(model, "forward_features", None) or model.features
            trunk(torch.zeros(1, 3, *size, dtype=like.dtype, device=like.device))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    return calls


def _opened(name: str, module: nn.Module, calls: dict[str, _Call]) -> Iterator[str]:
    """The module itself, or its children where it is a row of modules of several map sizes."""
    if isinstance(module, nn.Sequential | nn.ModuleList):
        children = [(f"{name}.{key}", child) for key, child in module.named_children()]
        sizes = {calls[child].size for child, _ in children if child in calls}
        if name not in calls or len(sizes) > 1:
            for child in children:
                yield from _opened(*child, calls)
            return
    if name in calls:
        yield name


def _is_block(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Conv2d) for part in module.modules() if part is not module)


def _tap(name: str, call: _Call, calls: dict[str, _Call]) -> Tap:
    total = max(1, *(other.macs for other in calls.values()))
    channels, height, width = call.output.shape[1:]
    return Tap(name, channels, height, width, call.macs / total)


def _described(output: Any) -> str:
    return f"a tensor {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
