"""Golden images: what is not pixels goes, and the pixels stay; oracles: Pillow's own decoders."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from edgedistill.bundles.golden import pixels_only
from edgedistill.errors import BundleError
from edgedistill_device.decode import decode_image
from edgedistill_device.errors import ImageError
from edgedistill_device.manifest import _NAME

SECRET = b"52.5200N-13.4050E-anna"


def picture(height=40, width=56):
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 4, columns * 3, (rows + columns) * 2], axis=2).astype(np.uint8)


def exif_of(orientation=None):
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = SECRET.decode()
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 29: SECRET.decode()})
    if orientation is not None:
        exif[0x0112] = orientation
    return exif


def saved(form, image=None, **options):
    file = io.BytesIO()
    (Image.fromarray(picture()) if image is None else image).save(file, form, **options)
    return file.getvalue()


def segment(marker, payload):
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def jpeg(orientation=None, **options):
    """With all that cameras and editors put beside the pixels, behind them too."""
    content = saved(
        "JPEG",
        exif=exif_of(orientation),
        icc_profile=SECRET * 9,
        comment=SECRET,
        xmp=b"<x>" + SECRET + b"</x>",
        **options,
    )
    more = segment(0xED, b"Photoshop 3.0\0" + SECRET) + segment(0xE0, b"JFXX\0\x10" + SECRET)
    more += segment(0xEB, SECRET) + b"\xff" + segment(0xFE, SECRET)
    first = 4 + int.from_bytes(content[4:6], "big")  # JFIF's, or Adobe's where there is none
    return content[:first] + more + content[first:] + saved("JPEG", exif=exif_of()) + SECRET


def png_with(content, *chunks):
    made = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return content[:33] + made + content[33:] + SECRET


def png(image=None, **options):
    info = PngInfo()
    info.add_text("Comment", SECRET.decode())
    info.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    content = saved("PNG", image, pnginfo=info, exif=exif_of(), icc_profile=SECRET * 9, dpi=(300, 300), **options)
    return png_with(content, (b"tIME", struct.pack(">H5B", 2024, 1, 2, 3, 4, 5)), (b"prVt", SECRET))


FILES = {
    "jpeg": (lambda: jpeg(), ".jpg"),
    "jpeg, progressive": (lambda: jpeg(progressive=True), ".jpg"),
    "jpeg, optimised, 4:4:4": (lambda: jpeg(optimize=True, subsampling=0), ".jpg"),
    "jpeg, restarts": (lambda: jpeg(restart_marker_rows=1), ".jpg"),
    "jpeg, RGB of Adobe": (lambda: jpeg(keep_rgb=True), ".jpg"),
    "jpeg, grey": (lambda: saved("JPEG", Image.fromarray(picture()[:, :, 0]), exif=exif_of(), comment=SECRET), ".jpg"),
    **{f"jpeg, orientation {n}": (lambda n=n: jpeg(n), ".jpg") for n in range(1, 9)},
    "png": (lambda: png(), ".png"),
    "png, palette": (lambda: png(Image.fromarray(picture()).quantize(16), transparency=3), ".png"),
    "png, alpha": (lambda: png(Image.fromarray(np.dstack([picture(), picture()[:, :, 0]]))), ".png"),
    "png, 16 bits": (lambda: png(Image.fromarray(picture()[:, :, 0].astype(np.uint16) * 257)), ".png"),
    "png, 1 bit": (lambda: png(Image.fromarray(picture()[:, :, 0] > 80)), ".png"),
    "png, orientation": (lambda: saved("PNG", exif=exif_of(6)), ".png"),
    "webp": (lambda: saved("WEBP", exif=exif_of(), xmp=SECRET, icc_profile=SECRET * 9), ".webp"),
    "webp, lossless": (lambda: saved("WEBP", lossless=True, exif=exif_of(), xmp=SECRET), ".webp"),
    "webp, alpha": (
        lambda: saved("WEBP", Image.fromarray(np.dstack([picture(), picture()[:, :, 0]])), xmp=SECRET),
        ".webp",
    ),
    "tiff": (lambda: saved("TIFF", exif=exif_of()), ".png"),
    "bmp": (lambda: saved("BMP") + SECRET, ".png"),
    "pnm": (lambda: b"P6 # " + SECRET + b"\n56 40 255\n" + picture().tobytes(), ".png"),
}


@pytest.mark.parametrize("kind", FILES)
def test_pixels_stay_and_nothing_else_does(kind):
    made, suffix = FILES[kind]
    content = made()
    assert SECRET in content
    stripped, found = pixels_only(content, kind)
    assert found == suffix
    assert _NAME.match(f"golden/images/0000{found}")
    assert SECRET not in stripped
    assert b"anna" not in stripped
    assert np.array_equal(decode_image(stripped, kind), decode_image(content, kind))
    with Image.open(io.BytesIO(stripped)) as image:
        assert set(image.getexif()) <= {0x0112}, "which way up it is, and no more"
        assert not {"comment", "icc_profile", "xmp", "photoshop", "mp"} & set(image.info)
        ours = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    with Image.open(io.BytesIO(content)) as image:
        if image.mode not in {"I;16", "P", "RGBA"}:  # which decode_image turns otherwise than Pillow
            assert np.array_equal(ours, np.asarray(ImageOps.exif_transpose(image).convert("RGB")))
    assert pixels_only(stripped, kind) == (stripped, found), "a second time changes nothing"
    assert pixels_only(content, kind) == (stripped, found), "equal inputs, equal bytes"


def test_the_compressed_data_of_a_jpeg_is_untouched():
    """Another decoder, on the board, gives what it would have given."""
    content = jpeg()
    stripped, _ = pixels_only(content, "x")
    scan = content[content.index(b"\xff\xda") :]
    scan = scan[: scan.index(b"\xff\xd9")]
    assert scan in stripped
    with Image.open(io.BytesIO(content)) as theirs, Image.open(io.BytesIO(stripped)) as ours:
        assert theirs.quantization == ours.quantization
        assert theirs.layer == ours.layer


def test_a_thumbnail_within_the_header_goes():
    content = saved("JPEG")
    assert content[6:11] == b"JFIF\0"
    head = content[4:18] + bytes((1, 1)) + b"ANN"
    content = content[:2] + segment(0xE0, head[2:-5] + bytes((1, 1)) + b"ANN") + content[20:]
    stripped, suffix = pixels_only(content, "x")
    assert (suffix, b"ANN" in stripped) == (".jpg", False)
    assert np.array_equal(decode_image(stripped, "x"), decode_image(content, "x"))


def test_an_animation_gives_its_first_frame():
    frames = [Image.fromarray(np.full((40, 40, 3), value, np.uint8)) for value in (10, 200)]
    for form in ("PNG", "WEBP"):
        content = saved(form, frames[0], save_all=True, append_images=frames[1:], duration=100, lossless=True)
        stripped, _ = pixels_only(content, form)
        assert (decode_image(stripped, form) == 10).all()
        with Image.open(io.BytesIO(stripped)) as image:
            assert getattr(image, "n_frames", 1) == 1


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_file_is_refused_or_has_its_own_pixels(seed):
    rng = np.random.default_rng(seed)
    made = [made for made, _ in FILES.values()][seed % len(FILES)]
    content = bytearray(made())
    for at in rng.integers(2, len(content), 1 + seed % 4):
        content[at] = rng.integers(256)
    content = bytes(content[: len(content) - (seed % 3) * int(rng.integers(40))])
    try:
        expected = decode_image(content, "x")
    except ImageError:
        with pytest.raises(ImageError):
            pixels_only(content, "x")
        return
    stripped, _ = pixels_only(content, "x")
    assert np.array_equal(decode_image(stripped, "x"), expected)


def test_what_cannot_be_proved_does_not_travel(monkeypatch):
    monkeypatch.setattr(cv2, "imencode", lambda *a: (False, None))
    with pytest.raises(BundleError, match=r"x\.bmp: it cannot be written without its metadata"):
        pixels_only(saved("BMP"), "x.bmp")
