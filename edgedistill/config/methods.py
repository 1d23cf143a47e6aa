"""The losses that a recipe can name: one row of facts each, without torch.

The functions stand in `edgedistill/distillation/losses.py` (`LOGIT_LOSSES`) and `feature_losses.py` (`CACHED_LOSSES`,
`MATCHERS`) under the same names. Recipe keys, checks, advice and docs read the rows; docs/extend.md adds one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal


@dataclass(frozen=True)
class LogitLoss:
    """A value of `distill.loss`.

    Attributes:
        name: as in the recipe.
        source: arXiv number of the paper.
        needs_labels: it reads the hard labels; an image without one gets the teacher's first class.
        whole_batch: it compares the images of a batch with each other, so that it must see those of all processes.
        has_temperature: `distill.temperature` has an effect.
        standardises: `distill.standardise` is allowed.
        min_classes: with fewer it has no gradient.
        at_two_classes: what is left of it at two classes, "" when it is the same loss.
    """

    name: str
    source: str
    needs_labels: bool = False
    whole_batch: bool = False
    has_temperature: bool = True
    standardises: bool = False
    min_classes: int = 2
    at_two_classes: str = ""


@dataclass(frozen=True)
class FeatureLoss:
    """A value of `distill.feature_loss`.

    Attributes:
        name: as in the recipe.
        source: arXiv number of the paper.
        cached: it reads pooled features, which are cached; otherwise feature maps of the teacher, computed online.
        whole_batch: as of `LogitLoss`; only for cached features.
    """

    name: str
    source: str
    cached: bool = False
    whole_batch: bool = False


LOGIT_ROWS = (
    LogitLoss("kd", "1503.02531", standardises=True),
    LogitLoss(
        "dkd",
        "2203.08679",
        needs_labels=True,
        standardises=True,
        at_two_classes="NCKD is 0 for two classes: dkd is then kd scaled by alpha; beta has no effect",
    ),
    LogitLoss(
        "dist",
        "2205.10536",
        whole_batch=True,
        at_two_classes="two classes correlate by sign alone: dist has no inter term then, only intra",
    ),
    LogitLoss("wttm", "2402.11148"),
    LogitLoss("mse", "2105.08919", has_temperature=False, min_classes=1),
)
FEATURE_ROWS = (
    FeatureLoss("pooled", "1412.6550", cached=True),
    FeatureLoss("relational", "1904.05068", cached=True, whole_batch=True),
    FeatureLoss("fitnet", "1412.6550"),
    FeatureLoss("attention", "1612.03928"),
    FeatureLoss("review", "2104.09044"),
)

_LOGIT = {row.name: row for row in LOGIT_ROWS}
_FEATURE = {row.name: row for row in FEATURE_ROWS}

if TYPE_CHECKING:
    LogitLossName = str
    FeatureLossName = str
else:
    LogitLossName = Literal[tuple(_LOGIT)]
    FeatureLossName = Literal[tuple(_FEATURE)]


def logit_loss_row(name: str) -> LogitLoss:
    """
    Raises:
        ValueError: no row has this name.
    """
    if name not in _LOGIT:
        raise ValueError(f"there is no logit loss {name!r}; there are: {', '.join(_LOGIT)}")
    return _LOGIT[name]


def feature_loss_row(name: str) -> FeatureLoss:
    """
    Raises:
        ValueError: no row has this name.
    """
    if name not in _FEATURE:
        raise ValueError(f"there is no feature loss {name!r}; there are: {', '.join(_FEATURE)}")
    return _FEATURE[name]
