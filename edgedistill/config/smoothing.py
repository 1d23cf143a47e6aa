"""The recipe's [smoothing]: one answer for the frames of a camera that follow each other."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgedistill.config.base import Section


class SmoothingConfig(Section):
    """How `classify` smooths its answers to the frames of a camera or video; images on their own stay as they are."""

    by: Literal["votes", "mean"] | None = None
    """`votes`: the share of the last frames that each answer has; `mean`: the exponential mean of the probabilities;
    absent: nothing is smoothed"""
    frames: Annotated[int, Field(ge=2, le=10_000)] = 15
    """votes: over so many frames; mean: the newest frame counts 2 / (frames + 1)"""
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """share by which another answer has to lead the one that is given before it takes its place"""
    hold: Annotated[int, Field(ge=1, le=10_000)] = 3
    """frames in a row for which it has to lead so"""
