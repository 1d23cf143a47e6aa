"""Files as other programs write them are turned as Pillow turns them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from edgedistill_device.decode import decode_image

WAYS = {
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP", "lossless": True},
    "jpeg": {"format": "JPEG", "quality": 100, "subsampling": 0},
    "tiff": {"format": "TIFF"},
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("way", WAYS)
def test_as_pillow(way, orientation):
    pixels = np.random.default_rng(7).integers(0, 256, (24, 40, 3), np.uint8)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(file, exif=exif, **WAYS[way])
    theirs = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file.getvalue()))).convert("RGB"))
    ours = decode_image(file.getvalue(), way)
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).max() <= (3 if way == "jpeg" else 0)  # two builds of libjpeg
