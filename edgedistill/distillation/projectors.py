"""What turns a student's map into something to hold against a teacher's: trained, then dropped.

No batch norm in here: it would tie an image's loss to its neighbours, and the mean over ranks
would no longer be the loss of the whole batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Hint(nn.Sequential):
    """FitNet's regressor: (N, C_s, H, W) to (N, C_t, H, W) by a 1x1 convolution and a norm.

    The norm is over an image's whole map, so that the step size does not hang on the scale of
    the student's map.
    """

    def __init__(self, student_channels: int, teacher_channels: int):
        super().__init__(
            nn.Conv2d(student_channels, teacher_channels, 1, bias=False),
            nn.GroupNorm(1, teacher_channels),
        )


class Fusion(nn.Module):
    """ReviewKD's attention-based fusion (ABF) of a student map with what came from deeper ones.

    Args:
        student_channels, teacher_channels: C_s and C_t of this pair.
        middle: channels that all fusions of a student share.
        deepest: there is nothing deeper to fuse with.

    Source: Chen et al. 2021, arXiv:2104.09044, section 3.3, and the authors' ABF; group norm in
    place of batch norm.
    """

    def __init__(self, student_channels: int, teacher_channels: int, middle: int, deepest: bool):
        super().__init__()
        self.narrow = nn.Sequential(nn.Conv2d(student_channels, middle, 1, bias=False), nn.GroupNorm(1, middle))
        self.attention = None if deepest else nn.Conv2d(2 * middle, 2, 1)
        self.widen = nn.Sequential(
            nn.Conv2d(middle, teacher_channels, 3, padding=1, bias=False),
            nn.GroupNorm(1, teacher_channels),
        )

    def forward(self, student_map: Tensor, deeper: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """
        Args:
            student_map: (N, C_s, H, W).
            deeper: (N, middle, h, w), the second result of the next deeper fusion, or None.
            size: of the map to return.

        Returns:
            (N, C_t, *size) to compare with the teacher, and (N, middle, H, W) to hand up.
        """
        fused = self.narrow(student_map)
        if self.attention is not None:
            if deeper is None:
                raise ValueError("a fusion above the deepest one needs the map of the next deeper fusion, got None")
            deeper = F.interpolate(deeper, fused.shape[2:], mode="nearest")
            shares = torch.sigmoid(self.attention(torch.cat([fused, deeper], dim=1)))
            fused = fused * shares[:, :1] + deeper * shares[:, 1:]
        return self.widen(F.adaptive_avg_pool2d(fused, size)), fused
