"""YOLOv8 classifiers and YOLO11 detectors as published, for counting their kernels only.

Most of what is published about the Orin Nano is about these, and no library that this project may use
builds them. Structure: Ultralytics' model descriptions (yolov8-cls, yolo11); no code of theirs. The
parameter counts that they publish are a test.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SCALES = {  # YOLO11: depth, width, most channels
    "n": (0.5, 0.25, 1024),
    "s": (0.5, 0.5, 1024),
    "m": (0.5, 1.0, 512),
    "l": (1.0, 1.0, 512),
    "x": (1.0, 1.5, 512),
}
_DISTANCE_BINS = 16  # a box side is read off a distribution over these


def conv(c_in: int, c_out: int, k: int = 1, stride: int = 1, groups: int = 1, act=True) -> nn.Module:
    layers = [nn.Conv2d(c_in, c_out, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(c_out)]
    return nn.Sequential(*layers, *([nn.SiLU()] if act else []))


class _Bottleneck(nn.Module):
    def __init__(self, c: int, inner: int, shortcut: bool = True):
        super().__init__()
        self.convs = nn.Sequential(conv(c, inner, 3), conv(inner, c, 3))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convs(x) if self.shortcut else self.convs(x)


class _C3k(nn.Module):
    """Two bottlenecks beside a 1x1 path."""

    def __init__(self, c: int):
        super().__init__()
        inner = c // 2
        self.left, self.right, self.out = conv(c, inner), conv(c, inner), conv(2 * inner, c)
        self.blocks = nn.Sequential(*(_Bottleneck(inner, inner) for _ in range(2)))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([self.blocks(self.left(x)), self.right(x)], 1))


class _Split(nn.Module):
    """C2f and C3k2: half of the channels pass through blocks, and all that they give is kept."""

    def __init__(self, c_in: int, c_out: int, blocks: Sequence[nn.Module], hidden: int):
        super().__init__()
        self.first = conv(c_in, 2 * hidden)
        self.blocks = nn.ModuleList(blocks)
        self.last = conv((2 + len(blocks)) * hidden, c_out)

    def forward(self, x: Tensor) -> Tensor:
        stages = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            stages.append(block(stages[-1]))
        return self.last(torch.cat(stages, 1))


class _Sppf(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.first, self.last = conv(c, c // 2), conv(2 * c, c)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        stages = [self.first(x)]
        for _ in range(3):
            stages.append(self.pool(stages[-1]))
        return self.last(torch.cat(stages, 1))


class _Attention(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.heads = c // 64
        self.values = c // self.heads
        self.keys = self.values // 2
        self.qkv = conv(c, c + 2 * self.keys * self.heads, act=False)
        self.position, self.out = conv(c, c, 3, groups=c, act=False), conv(c, c, act=False)
        self.feed = nn.Sequential(conv(c, 2 * c), conv(2 * c, c, act=False))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        qkv = self.qkv(x).view(n, self.heads, self.values + 2 * self.keys, h * w)
        q, k, v = qkv.split([self.keys, self.keys, self.values], 2)
        weight = ((q.transpose(2, 3) @ k) * self.keys**-0.5).softmax(-1)
        mixed = (v @ weight.transpose(2, 3)).view(n, c, h, w)
        x = x + self.out(mixed + self.position(v.reshape(n, c, h, w)))
        return x + self.feed(x)


class _C2psa(nn.Module):
    def __init__(self, c: int, depth: int):
        super().__init__()
        self.first, self.last = conv(c, c), conv(c, c)
        self.blocks = nn.Sequential(*(_Attention(c // 2) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        passed, attended = self.first(x).chunk(2, 1)
        return self.last(torch.cat([passed, self.blocks(attended)], 1))


class _Detect(nn.Module):
    def __init__(self, channels: list[int], classes: int):
        super().__init__()
        box, score = max(channels[0] // 4, 4 * _DISTANCE_BINS), max(channels[0], min(classes, 100))
        self.boxes = nn.ModuleList(
            nn.Sequential(conv(c, box, 3), conv(box, box, 3), nn.Conv2d(box, 4 * _DISTANCE_BINS, 1)) for c in channels
        )
        self.scores = nn.ModuleList(
            nn.Sequential(
                conv(c, c, 3, groups=c),
                conv(c, score),
                conv(score, score, 3, groups=score),
                conv(score, score),
                nn.Conv2d(score, classes, 1),
            )
            for c in channels
        )
        self.mean_bin = nn.Conv2d(_DISTANCE_BINS, 1, 1, bias=False)

    def forward(self, maps: list[Tensor]) -> Tensor:
        boxes = torch.cat([net(x).flatten(2) for net, x in zip(self.boxes, maps, strict=True)], 2)
        scores = torch.cat([net(x).flatten(2) for net, x in zip(self.scores, maps, strict=True)], 2)
        sides = boxes.view(1, 4, _DISTANCE_BINS, -1).transpose(1, 2).softmax(1)
        return torch.cat([self.mean_bin(sides).flatten(1, 2), scores.sigmoid()], 1)


class Yolo11(nn.Module):
    """The detector of `scale` n, s, m, l or x for 80 classes."""

    def __init__(self, scale: str):
        super().__init__()
        depth, width, most = SCALES[scale]
        big, repeats = scale in "mlx", max(1, round(2 * depth))

        def ch(c: int) -> int:
            return round(min(c, most) * width / 8) * 8

        def c3k2(c_in: int, c_out: int, nested: bool, share: float = 0.5) -> nn.Module:
            hidden = int(ch(c_out) * share)
            blocks = [_C3k(hidden) if nested or big else _Bottleneck(hidden, hidden // 2) for _ in range(repeats)]
            return _Split(c_in, ch(c_out), blocks, hidden)

        self.eighth = nn.Sequential(
            conv(3, ch(64), 3, 2),
            conv(ch(64), ch(128), 3, 2),
            c3k2(ch(128), 256, False, 0.25),
            conv(ch(256), ch(256), 3, 2),
            c3k2(ch(256), 512, False, 0.25),
        )
        self.sixteenth = nn.Sequential(conv(ch(512), ch(512), 3, 2), c3k2(ch(512), 512, True))
        self.last = nn.Sequential(
            conv(ch(512), ch(1024), 3, 2), c3k2(ch(1024), 1024, True), _Sppf(ch(1024)), _C2psa(ch(1024), repeats)
        )
        self.up = nn.Upsample(scale_factor=2)
        self.top16 = c3k2(ch(1024) + ch(512), 512, False)
        self.top8 = c3k2(2 * ch(512), 256, False)
        self.down16, self.out16 = conv(ch(256), ch(256), 3, 2), c3k2(ch(256) + ch(512), 512, False)
        self.down32, self.out32 = conv(ch(512), ch(512), 3, 2), c3k2(ch(512) + ch(1024), 1024, True)
        self.head = _Detect([ch(256), ch(512), ch(1024)], 80)

    def forward(self, images: Tensor) -> Tensor:
        eighth = self.eighth(images)
        sixteenth = self.sixteenth(eighth)
        last = self.last(sixteenth)
        middle = self.top16(torch.cat([self.up(last), sixteenth], 1))
        fine = self.top8(torch.cat([self.up(middle), eighth], 1))
        mid = self.out16(torch.cat([self.down16(fine), middle], 1))
        coarse = self.out32(torch.cat([self.down32(mid), last], 1))
        return self.head([fine, mid, coarse])


def yolov8n_cls(classes: int = 1000) -> nn.Module:
    """The nano classifier."""
    layers, c_in = [conv(3, 16, 3, 2)], 16
    for c, repeats in ((32, 1), (64, 2), (128, 2), (256, 1)):
        blocks = [_Bottleneck(c // 2, c // 2) for _ in range(repeats)]
        layers += [conv(c_in, c, 3, 2), _Split(c, c, blocks, c // 2)]
        c_in = c
    return nn.Sequential(*layers, conv(c_in, 1280), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, classes))
