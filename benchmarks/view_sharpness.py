"""Are training views as sharp as what the board sees, and what does that cost?

    python benchmarks/view_sharpness.py [--images 300] [--image-px 128] [--crop-scale-min 0.6]

Of ELPV's solar cells (300 x 300 px): the variance of the Laplacian of training views cut from pixels
kept at the board's size, at the size that the smallest crop needs (the default), and from the
originals, over that of the board's own frames; milliseconds a view; MiB kept for the images.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import elpv_dataset
import numpy as np

from edgedistill.config.data import AugmentConfig, DataConfig
from edgedistill.data.augment import TrainingView
from edgedistill.data.framing import framing_of
from edgedistill_device.decode import read_image

VIEWS = 4


def sharpness(frames: list[np.ndarray]) -> float:
    """Mean over the frames of the variance of the Laplacian of the grey image."""
    greys = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in frames)
    return float(np.mean([cv2.Laplacian(grey, cv2.CV_32F).var() for grey in greys]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--image-px", type=int, default=128)
    parser.add_argument("--crop-scale-min", type=float, default=0.6)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    folder = Path(elpv_dataset.__file__).parent / "data" / "images"
    originals = [read_image(path) for path in sorted(folder.glob("*.png"))[: args.images]]
    data = DataConfig(train="x", image_px=args.image_px)
    px, needed = args.image_px, round(args.image_px / args.crop_scale_min**0.5)
    frames = [framing_of(data, px).frame(image) for image in originals]
    board = sharpness(frames)
    print(f"board's frames, {px} px: variance of the Laplacian {board:.1f}")
    view = TrainingView(px, AugmentConfig(crop_scale_min=args.crop_scale_min, transforms=()), "area")
    for name, kept_px in (("board's size", px), ("default", needed), ("originals", 100_000)):
        framing = framing_of(data, px, kept_px)
        kept = [framing.keep(image) for image in originals]
        mib = sum(k.pixels.size + (0 if k.frame is None else k.frame.size) for k in kept) / 2**20
        start = time.process_time()
        views = [view(k.pixels, seed) for k in kept for seed in range(VIEWS)]
        milliseconds = (time.process_time() - start) * 1e3 / len(views)
        print(
            f"cut from {min(kept_px, 300)} px ({name}): {sharpness(views) / board:.2f} of the board's, "
            f"{milliseconds:.3f} ms a view, {mib:.1f} MiB for {len(originals)} images"
        )


if __name__ == "__main__":
    main()
