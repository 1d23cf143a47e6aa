"""The recipe's [decide]: what is promised of an answer. Without a key a board answers with the most likely class."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from edgedistill.config.base import Section
from edgedistill.config.cost import NotNegative

Share = Annotated[float, Field(gt=0, lt=1)]


class DecideConfig(Section):
    """What is promised of an answer; validation images must show it, or no threshold is set."""

    recall: dict[str, Share] = {}
    """class -> share of its images that is answered with it; where two of these classes pass, the first named wins"""
    precision: dict[str, Share] = {}
    """class -> share of its answers that is right; not together with `recall`"""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """that each promise of `recall` and `precision` holds, over the draw of the validation images"""
    miss_cost: dict[str, NotNegative] = {}
    """class of `recall` or `precision` -> price of an image of it that is answered otherwise, in cost.currency"""
    false_alarm_cost: dict[str, NotNegative] = {}
    """class of `recall` or `precision` -> price of another image that is answered with it"""
    unknown_coverage: Share | None = None
    """share of images of the known classes that is kept; what is less sure than that is answered `unknown`"""
    enrol_per_class: Annotated[int, Field(ge=1)] | None = None
    """training images of each class in the gallery of a student without classes; absent: all. Of few, a class that is
    added by few photographs is found more often, and the others less"""
    unknown: str | None = None
    """folder of images of none of the classes: how many of them are refused, for the report"""

    @property
    def promises(self) -> dict[str, float]:
        """Class -> share, of the kind that is asked for."""
        return self.recall or self.precision

    @model_validator(mode="after")
    def _promises_do_not_meet(self) -> DecideConfig:
        if self.recall and self.precision:
            raise ValueError(
                "decide.recall and decide.precision take images from each other, so that neither could be promised; "
                "leave one out"
            )
        if self.unknown is not None and self.unknown_coverage is None:
            raise ValueError("decide.unknown needs decide.unknown_coverage, the share of known images that is kept")
        for key in ("miss_cost", "false_alarm_cost"):
            for name in getattr(self, key):
                if name not in self.promises:
                    raise ValueError(f"decide.{key} names {name!r}, of which decide promises nothing; leave it out")
        return self
