"""Which way up: the same file is the same picture with every release of OpenCV."""

import struct
import timeit
import zlib

import cv2
import numpy as np
import pytest

from edgedistill_device.decode import decode_image, decode_raw
from edgedistill_device.orientation import orientation_of

HEIGHT, WIDTH = 24, 40
# Of EXIF's definition: where the pixel of row y and column x of the upright picture (h, w) lies in the stored one.
STORED_AT = {
    1: lambda y, x, h, w: (y, x),  # row 0 is the top, column 0 the left
    2: lambda y, x, h, w: (y, w - 1 - x),  # top, right
    3: lambda y, x, h, w: (h - 1 - y, w - 1 - x),  # bottom, right
    4: lambda y, x, h, w: (h - 1 - y, x),  # bottom, left
    5: lambda y, x, h, w: (x, y),  # left, top
    6: lambda y, x, h, w: (w - 1 - x, y),  # right, top
    7: lambda y, x, h, w: (w - 1 - x, h - 1 - y),  # right, bottom
    8: lambda y, x, h, w: (x, h - 1 - y),  # left, bottom
}


def upright(stored, orientation):
    """The picture that is seen, pixel by pixel."""
    sides = stored.shape[:2]
    h, w = sides if orientation < 5 else sides[::-1]
    rows = [[stored[STORED_AT[orientation](y, x, h, w)] for x in range(w)] for y in range(h)]
    return np.array(rows, stored.dtype)


def picture():
    return np.random.RandomState(3).randint(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def tiff(value, order=">", kind=3, tag=0x0112):
    """A TIFF structure of two tags, the second one the orientation."""
    mark = b"MM" if order == ">" else b"II"
    number = struct.pack(order + ("HH" if kind == 3 else "I"), *((value, 0) if kind == 3 else (value,)))
    other = struct.pack(order + "HHIHH", 0x010D, 3, 1, 6, 0)
    return mark + struct.pack(order + "HIH", 42, 8, 2) + other + struct.pack(order + "HHI", tag, kind, 1) + number


def segment(marker, payload):
    return b"\xff" + bytes(bytearray([marker])) + struct.pack(">H", len(payload) + 2) + payload


def jpeg(*before, image=None):
    """A JPEG with these bytes behind its first marker."""
    content = cv2.imencode(".jpg", picture() if image is None else image)[1].tobytes()
    return content[:2] + b"".join(before) + content[2:]


def chunk(kind, payload):
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload) & 0xFFFFFFFF)


def png(exif, last=False):
    content = cv2.imencode(".png", picture())[1].tobytes()
    at = len(content) - 12 if last else 33  # before IEND, or behind IHDR
    return content[:at] + chunk(b"eXIf", exif) + content[at:]


def webp(exif, flags=0x08):
    plain = cv2.imencode(".webp", picture(), [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()[12:]
    sides = struct.pack("<I", WIDTH - 1)[:3] + struct.pack("<I", HEIGHT - 1)[:3]
    head = b"VP8X" + struct.pack("<I", 10) + bytes(bytearray([flags, 0, 0, 0])) + sides
    body = b"WEBP" + head + plain + b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


XMP = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
EXIF = b"Exif\0\0"
FILES = {
    "jpeg": lambda n: jpeg(segment(0xE1, EXIF + tiff(n))),
    "jpeg, little-endian": lambda n: jpeg(segment(0xE1, EXIF + tiff(n, "<"))),
    "jpeg, XMP first": lambda n: jpeg(XMP, segment(0xE1, EXIF + tiff(n))),
    "jpeg, fill bytes": lambda n: jpeg(b"\xff\xff" + segment(0xE1, EXIF + tiff(n))),
    "jpeg, a comment first": lambda n: jpeg(segment(0xFE, b"Exif\0\0"), segment(0xE1, EXIF + tiff(n, kind=4))),
    "png": lambda n: png(tiff(n)),
    "png, at its end": lambda n: png(tiff(n, "<"), last=True),
    "webp": lambda n: webp(tiff(n)),
    "webp, with a JPEG's header": lambda n: webp(EXIF + tiff(n, "<")),
}


@pytest.mark.parametrize("orientation", sorted(STORED_AT))
@pytest.mark.parametrize("kind", sorted(FILES))
def test_every_orientation_in_every_place(kind, orientation):
    content = FILES[kind](orientation)
    assert orientation_of(content) == orientation
    stored = decode_image(FILES[kind](1), kind)
    assert stored.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(decode_image(content, kind), upright(stored, orientation))


def test_a_png_with_the_header_of_a_jpeg_says_it_too():
    assert orientation_of(png(EXIF + tiff(6))) == 6  # libpng 1.6.37 decodes no such file


@pytest.mark.parametrize("orientation", sorted(STORED_AT))
@pytest.mark.parametrize("kind", ["jpeg", "jpeg, XMP first", "jpeg, fill bytes"])
def test_a_reduced_jpeg_is_turned_too(kind, orientation):
    reduced = decode_raw(FILES[kind](1), kind, lambda size: (10, 10))
    assert reduced.shape == (HEIGHT // 2, WIDTH // 2, 3)
    assert np.array_equal(
        decode_raw(FILES[kind](orientation), kind, lambda size: (10, 10)), upright(reduced, orientation)
    )


def test_sixteen_bits_are_turned_as_eight():
    image = np.random.RandomState(4).randint(0, 65536, (HEIGHT, WIDTH, 3)).astype(np.uint16)
    content = cv2.imencode(".png", image)[1].tobytes()
    turned = content[:33] + chunk(b"eXIf", tiff(6)) + content[33:]
    assert np.array_equal(decode_raw(turned, "turned"), upright(image[:, :, ::-1], 6))


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"MM",
        tiff(0),
        tiff(9),
        tiff(6, kind=2),
        tiff(6, tag=0x0113),
        tiff(6)[:20],
        b"XX" + tiff(6)[2:],
        tiff(6)[:4] + b"\xff\xff\xff\xff" + tiff(6)[8:],
        tiff(6)[:8] + b"\xff\xff" + tiff(0, tag=1)[10:],
    ],
)
def test_what_is_damaged_is_upright(exif):
    for content in (jpeg(segment(0xE1, EXIF + exif)), png(exif), webp(exif)):
        assert orientation_of(content) == 1


def test_what_says_nothing_is_upright_and_other_formats_are_left_to_their_decoders():
    assert orientation_of(jpeg()) == 1
    assert orientation_of(jpeg(segment(0xE2, EXIF + tiff(6)))) == 1, "another segment than APP1"
    assert orientation_of(webp(tiff(6), flags=0)) == 1, "its header says that it has none"
    for suffix in (".png", ".webp", ".jpg"):
        assert orientation_of(cv2.imencode(suffix, picture())[1].tobytes()) == 1
    for content in (b"", cv2.imencode(".bmp", picture())[1].tobytes(), cv2.imencode(".tiff", picture())[1].tobytes()):
        assert orientation_of(content) is None


def test_no_bytes_end_in_an_exception():
    """Every cut, and seeded changes of every file."""
    rng = np.random.RandomState(5)
    for kind in sorted(FILES):
        content = FILES[kind](6)
        for length in range(min(200, len(content))):
            orientation_of(content[:length])
        for _ in range(200):
            changed = bytearray(content)
            for place in rng.randint(0, min(120, len(changed)), 3):
                changed[place] = rng.randint(256)
            assert orientation_of(bytes(changed)) in (None, 1, 2, 3, 4, 5, 6, 7, 8)


def test_a_photo_that_says_nothing_costs_next_to_nothing():
    """No bytes of the pixels are looked at: a large photo takes as long as a small one."""
    content = jpeg(image=np.random.RandomState(6).randint(0, 256, (1500, 2000, 3)).astype(np.uint8))
    assert len(content) > 1 << 20
    assert min(timeit.repeat(lambda: orientation_of(content), number=20, repeat=5)) / 20 < 500e-6
