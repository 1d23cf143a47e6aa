"""What a student is trained on besides logits: maps inside the network, relations of embeddings.

For pooled features and their projector see `losses.feature_loss` and `losses.projector_between`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgedistill.distillation.losses import feature_loss, projector_between
from edgedistill.distillation.projectors import Fusion, Hint
from edgedistill.errors import RecipeError
from edgedistill.models.taps import Pair, lines_from_pairs

CachedLoss = Callable[[Tensor, Tensor], Tensor]
# The authors' 512 is for students as wide as that. Between mobilenetv3_small_050 and resnet18 it
# makes the fusions as dear as the ResNet itself (counted in multiply-accumulates).
WIDEST_MIDDLE = 64


def matcher_between(kind: str, pairs: Sequence[Pair], seed: int) -> nn.Module:
    """The loss on maps of one student and one teacher, with the projectors that it needs.

    Its `forward(student_maps, teacher_maps)` takes one map (N, C, H, W) a pair, in the order of
    `pairs`, and gives a () float32 tensor: the mean over pairs and images, in [0, 4] ("attention":
    [0, 2]; "review": >= 0), computed in float32 under autocast too. The gradient flows to the
    student and the projectors, never to the teacher. Each image counts by itself: the mean over
    equal slices of a batch is the loss of the batch. The scale of the teacher's maps has no
    effect, so that one weight serves many teachers.

    Args:
        kind: "fitnet", "attention" (which has no parameters) or "review".
        pairs: from `taps.pair_taps`, at least one.
        seed: of the projectors' weights; nothing else decides them.

    Raises:
        RecipeError: no such kind, no pair, or attention on a map of 1x1.
    """
    if kind not in MATCHERS:
        raise RecipeError(f"there is no loss on maps {kind!r}; there are: {', '.join(MATCHERS)}")
    if not pairs:
        raise RecipeError(f"{kind} needs at least one pair of taps, got none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MATCHERS[kind](pairs)


def hint_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Squared distance between two maps, each at unit length per image, mean over the batch.

    The larger map is averaged down to the smaller. Lengths are left out: see `losses.feature_loss`.
    A map of zeros stays one, without a gradient.

    Args:
        student_map: (N, C, H, W) float, projected; the gradient flows here.
        teacher_map: (N, C, h, w) float; a constant.

    Returns:
        () float32, in [0, 4].

    Raises:
        ValueError: N or C differ.

    Source: FitNets, Romero et al. 2015, arXiv:1412.6550, equation 3, here on normalised maps.
    """
    return _unit_distance(student_map.float(), teacher_map.detach().float())


def attention_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Squared distance between attention maps at unit length, mean over the batch.

    An attention map is the sum of squares over channels; channels may differ. The larger is
    averaged down after the squares: a MobileNet's blocks end without an activation, and signed
    numbers would cancel. The authors' code takes the mean over H · W positions where this takes
    the sum: their weight 1000 is 1000 / (H · W) here.

    Args:
        student_map: (N, C_s, H, W) float; the gradient flows here.
        teacher_map: (N, C_t, h, w) float; a constant.

    Returns:
        () float32, in [0, 2]; always 0 for maps of 1x1.

    Raises:
        ValueError: N differs.

    Source: Zagoruyko & Komodakis 2017, arXiv:1612.03928, equation 2 with p = 2.
    """
    return _unit_distance(
        student_map.float().square().sum(dim=1, keepdim=True),
        teacher_map.detach().float().square().sum(dim=1, keepdim=True),
    )


def hcl_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Hierarchical context loss: squared error at full size and averaged down to 4x4, 2x2, 1x1.

    The weights are 1, 1/2, 1/4, 1/8 in the order of the sizes that the map has, over their sum.

    Args:
        student_map: (N, C, H, W) float; the gradient flows here.
        teacher_map: the same shape; a constant.

    Returns:
        () float32, the maps' unit squared, >= 0.

    Raises:
        ValueError: shapes differ.

    Source: Chen et al. 2021, arXiv:2104.09044, section 3.4, and the authors' hcl.
    """
    if student_map.shape != teacher_map.shape:
        raise ValueError(
            f"student map {tuple(student_map.shape)} and teacher map {tuple(teacher_map.shape)} "
            "disagree; project and average down first"
        )
    student, teacher = student_map.float(), teacher_map.detach().float()
    losses = [F.mse_loss(student, teacher)]
    for size in (4, 2, 1):
        if size < min(student.shape[2:]):
            losses.append(F.mse_loss(F.adaptive_avg_pool2d(student, size), F.adaptive_avg_pool2d(teacher, size)))
    weights = [0.5**level for level in range(len(losses))]
    weighed = (weight * loss for weight, loss in zip(weights, losses, strict=True))
    return torch.stack(list(weighed)).sum() / sum(weights)


def rkd_loss(
    student_embeddings: Tensor,
    teacher_embeddings: Tensor,
    distance_weight: float = 1.0,
    angle_weight: float = 2.0,
) -> Tensor:
    """Relational distillation: the batch's distances and angles, student's against teacher's.

    Distances are divided by their mean over the batch; the angle is the cosine at an image
    between two others. Both are compared by the Huber loss at 1, mean over the pairs of different
    images and over the triples of different images. (The authors' code counts an image's relation
    to itself, always 0, among them.) Images that coincide are at distance 0 and cosine 0, without
    a gradient. Over several ranks each knows only the relations within its slice.

    Args:
        student_embeddings: (N, D_s) float, N >= 3; the gradient flows here.
        teacher_embeddings: (N, D_t) float; a constant. D_s and D_t may differ.
        distance_weight, angle_weight: of the two terms.

    Returns:
        () float32 (float64 from float64), >= 0. Memory grows with N² · D and N³.

    Raises:
        ValueError: other shapes, or fewer than 3 images.

    Source: Park et al. 2019, arXiv:1904.05068, equations 5 to 10.
    """
    images = len(student_embeddings)
    if student_embeddings.ndim != 2 or teacher_embeddings.ndim != 2:
        shapes = f"{tuple(student_embeddings.shape)} and {tuple(teacher_embeddings.shape)}"
        raise ValueError(f"embeddings must be (N, D_s) and (N, D_t), got {shapes}")
    if len(teacher_embeddings) != images:
        raise ValueError(f"{images} student and {len(teacher_embeddings)} teacher embeddings")
    if images < 3:
        raise ValueError(
            f"relations need 3 images or more, got {images}: one has none, and the distance of "
            "two over its mean is always 1; take a larger batch and drop an incomplete last one"
        )
    with _float32(student_embeddings):
        distance_s, cosine_s = _relations(student_embeddings)
        distance_t, cosine_t = _relations(teacher_embeddings.detach())
    distance = F.smooth_l1_loss(distance_s, distance_t, reduction="sum") / (images**2 - images)
    triples = images * (images - 1) * (images - 2)
    angle = F.smooth_l1_loss(cosine_s, cosine_t, reduction="sum") / triples
    return distance_weight * distance + angle_weight * angle


class FitNetMatcher(nn.Module):
    """`hint_loss` behind one `Hint` a pair; see `matcher_between`."""

    def __init__(self, pairs: Sequence[Pair]):
        super().__init__()
        self.hints = nn.ModuleList(Hint(s.channels, t.channels) for s, t in pairs)

    def forward(self, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
        with _float32(student_maps[0]):
            losses = [
                hint_loss(hint(s.float()), t) for hint, s, t in zip(self.hints, student_maps, teacher_maps, strict=True)
            ]
            return torch.stack(losses).mean()


class AttentionMatcher(nn.Module):
    """`attention_loss` of each pair; see `matcher_between`."""

    def __init__(self, pairs: Sequence[Pair]):
        super().__init__()
        for pair, line in zip(pairs, lines_from_pairs(pairs), strict=True):
            if min(min(tap.height, tap.width) for tap in pair) < 2:
                raise RecipeError(
                    f"attention over a map of 1x1 is always the same ({line}); take a shallower tap or larger images"
                )

    def forward(self, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
        with _float32(student_maps[0]):
            pairs = zip(student_maps, teacher_maps, strict=True)
            return torch.stack([attention_loss(s, t) for s, t in pairs]).mean()


class ReviewMatcher(nn.Module):
    """ReviewKD: each teacher map against the student's maps at and below that depth, fused.

    Departs from the authors' where their weight had to be tuned again for each pair of models:
    the teacher's map is at root mean square 1 per image, as a fusion's is at its start, the mean
    is over pairs, and the larger map is averaged down to the smaller.

    Args:
        middle: channels of the fused maps; by default those of the widest student tap, but not
            more than `WIDEST_MIDDLE`.
    """

    def __init__(self, pairs: Sequence[Pair], middle: int | None = None):
        super().__init__()
        students = [student for student, _ in pairs]
        middle = middle or min(WIDEST_MIDDLE, max(tap.channels for tap in students))
        self.order = sorted(range(len(pairs)), key=lambda i: -students[i].depth)  # deepest first
        self.fusions = nn.ModuleList(
            Fusion(students[i].channels, pairs[i][1].channels, middle, deepest=i == self.order[0]) for i in self.order
        )

    def forward(self, student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
        pairs = list(zip(student_maps, teacher_maps, strict=True))
        losses, deeper = [], None
        with _float32(student_maps[0]):
            for fusion, i in zip(self.fusions, self.order, strict=True):
                student, teacher = pairs[i][0].float(), pairs[i][1].detach().float()
                size = _smaller(student, teacher)
                fused, deeper = fusion(student, deeper, size)
                losses.append(hcl_loss(fused, _unit_rms(F.adaptive_avg_pool2d(teacher, size))))
            return torch.stack(losses).mean()


def _pooled(student_width: int, teacher_width: int, seed: int) -> tuple[CachedLoss, nn.Module]:
    projector = projector_between(student_width, teacher_width, seed)
    return lambda student, teacher: feature_loss(student, teacher, projector), projector


# Name, as in config/methods.py -> (channels of the student's pooled features, of the teacher's, seed) -> the loss of
# (N, F_s) and (N, F_t) features, and what is trained with the student and thrown away after it, or None.
CACHED_LOSSES: dict[str, Callable[[int, int, int], tuple[CachedLoss, nn.Module | None]]] = {
    "pooled": _pooled,
    "relational": lambda *_: (rkd_loss, None),
}
# Name, as in config/methods.py -> a module made from the pairs of taps; see `matcher_between`.
MATCHERS: dict[str, Callable[[Sequence[Pair]], nn.Module]] = {
    "fitnet": FitNetMatcher,
    "attention": AttentionMatcher,
    "review": ReviewMatcher,
}


def _float32(like: Tensor) -> torch.autocast:
    return torch.autocast(like.device.type, enabled=False)


def _smaller(a: Tensor, b: Tensor) -> tuple[int, int]:
    return min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3])


def _unit_distance(student: Tensor, teacher: Tensor) -> Tensor:
    if student.shape[:2] != teacher.shape[:2]:
        raise ValueError(
            f"student map {tuple(student.shape)} and teacher map {tuple(teacher.shape)} disagree "
            "in images or channels; same batch, and a projector between them?"
        )
    size = _smaller(student, teacher)
    gap = _unit(F.adaptive_avg_pool2d(student, size)) - _unit(F.adaptive_avg_pool2d(teacher, size))
    return gap.square().sum(dim=(1, 2, 3)).mean()


def _unit(maps: Tensor) -> Tensor:
    """Each image's map at length 1; one of zeros stays so, and pulls at nothing (1/0 would)."""
    length = torch.linalg.vector_norm(maps, dim=(1, 2, 3), keepdim=True)
    return maps / length.masked_fill(length < 1e-12, torch.inf)


def _unit_rms(maps: Tensor) -> Tensor:
    """Each image's map over its root mean square; a map of zeros stays one."""
    rms = maps.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return maps / rms.clamp_min(1e-8)


def _relations(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (N, N) over their mean, and cosines (N, N, N) at the first image; 0 with itself."""
    x = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    rounding = 8 * torch.finfo(x.dtype).eps * x.detach().norm(dim=1).max()
    away = x[None] - x[:, None]  # from row to column
    squares = away.square().sum(dim=2)
    same = squares <= rounding.clamp_min(1e-12) ** 2
    # A root has no slope at 0, and what the mask hides must not be divided by it either.
    lengths = squares.masked_fill(same, 1).sqrt()
    distances = lengths.masked_fill(same, 0)
    pairs = len(x) * (len(x) - 1)
    mean = (distances.sum() / pairs).clamp_min(torch.finfo(x.dtype).tiny)
    directions = away.masked_fill(same[..., None], 0) / lengths[..., None]
    cosines = directions @ directions.transpose(1, 2)
    return distances / mean, cosines.masked_fill(torch.eye(len(x), device=x.device).bool(), 0)
