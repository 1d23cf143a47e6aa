"""Where an image ends, and what its 16-bit values become."""

import struct
import tempfile

import cv2
import numpy as np
import pytest

from edgedistill_device.decode import decode_image, decode_raw, divisor_for, read_image, to_eight_bits
from edgedistill_device.errors import ImageError
from edgedistill_device.preprocess_spec import FULL_RANGE

RNG = np.random.RandomState(3)
NOISE = RNG.randint(0, 256, (60, 80, 3)).astype(np.uint8)


def jpeg(image=NOISE, **options):
    named = {
        "quality": cv2.IMWRITE_JPEG_QUALITY,
        "progressive": cv2.IMWRITE_JPEG_PROGRESSIVE,
        "restarts": cv2.IMWRITE_JPEG_RST_INTERVAL,
    }
    flags = [word for key, value in options.items() for word in (named[key], value)]
    return cv2.imencode(".jpg", image, flags)[1].tobytes()


def with_thumbnail(content):
    """An APP1 segment that holds a whole JPEG, as cameras write them."""
    thumbnail = jpeg(NOISE[:16, :16])
    body = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + content[2:]


def mp4(seed=0):
    """What a motion photo has behind its picture: boxes, and data with every JPEG marker in it."""
    rng = np.random.RandomState(seed)
    data = rng.randint(0, 256, 3000).astype(np.uint8).tobytes() + b"\xff\xd8\xff\xda\0\x08\xff\xd9\xff\xda"
    return struct.pack(">I", 24) + b"ftypmp42\0\0\0\0isommp42" + struct.pack(">I", len(data) + 8) + b"mdat" + data


JPEGS = {
    "baseline": jpeg(),
    "progressive": jpeg(progressive=1),
    "restart markers": jpeg(restarts=2),
    "thumbnail": with_thumbnail(jpeg()),
    "progressive with a thumbnail": with_thumbnail(jpeg(progressive=1)),
    "fill bytes": jpeg()[:2] + b"\xff\xff" + jpeg()[2:],
}
TAILS = {
    "motion photo": mp4(),
    "second picture": jpeg(NOISE[:20, :20]),
    "start of scan": b"\xff\xda",
    "end marker": b"\xff\xd9",
    "zeros": b"\0" * 5000,
    "text": b"SEFH and what phones write\n" * 9,
}


@pytest.mark.parametrize("tail", sorted(TAILS))
@pytest.mark.parametrize("kind", sorted(JPEGS))
def test_what_follows_a_jpeg_changes_nothing(kind, tail):
    whole = decode_image(JPEGS[kind], kind)
    assert np.abs(whole.astype(int) - cv2.imdecode(np.frombuffer(JPEGS[kind], np.uint8), 1)[..., ::-1]).max() == 0
    assert np.array_equal(decode_image(JPEGS[kind] + TAILS[tail], kind), whole)


@pytest.mark.parametrize("kind", sorted(JPEGS))
def test_a_cut_jpeg_is_refused_at_every_byte(kind):
    content = JPEGS[kind]
    for length in range(2, len(content), 7):
        with pytest.raises(ImageError, match="truncated JPEG"):
            decode_raw(content[:length], kind)


@pytest.mark.parametrize("tail", ["motion photo", "second picture", "zeros", "text"])
@pytest.mark.parametrize("kind", ["baseline", "thumbnail", "restart markers"])
def test_a_cut_jpeg_is_refused_whatever_follows(kind, tail):
    content = JPEGS[kind]
    for length in range(len(content) - 2000, len(content) - 2, 97):
        with pytest.raises(ImageError, match="truncated JPEG"):
            decode_raw(content[:length] + TAILS[tail], kind)


PNG = cv2.imencode(".png", NOISE)[1].tobytes()


@pytest.mark.parametrize("tail", sorted(TAILS))
def test_what_follows_a_png_changes_nothing(tail):
    assert np.array_equal(decode_image(PNG + TAILS[tail], "x"), NOISE[..., ::-1])


@pytest.mark.parametrize("tail", ["nothing", *sorted(TAILS), "png"])
def test_a_cut_png_is_refused_whatever_follows(tail):
    tails = dict(TAILS, nothing=b"", png=PNG)
    for length in list(range(16, len(PNG), 53)) + list(range(len(PNG) - 16, len(PNG))):
        with pytest.raises(ImageError, match="truncated PNG"):
            decode_raw(PNG[:length] + tails[tail], "x")


# JetPack 4's OpenCV 4.1 has its JPEG 2000 switched off.
OTHERS = [".webp", ".bmp", ".tiff", ".ppm"] + [".jp2"] * (not cv2.__version__.startswith("4.1."))


@pytest.mark.parametrize("suffix", OTHERS)
def test_what_follows_other_files_changes_nothing(suffix):
    there, content = cv2.imencode(suffix, NOISE)
    assert there
    whole = decode_image(content.tobytes(), suffix)
    assert np.array_equal(decode_image(content.tobytes() + mp4(), suffix), whole)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("sixteen_bit", "formula"),
    [
        (FULL_RANGE, lambda v: v // 257),
        ((0, 4095), lambda v: np.minimum(v, 4095) * 255 // 4095),
        ((29000, 30000), lambda v: np.clip((v.astype(int) - 29000) * 255 // 1000, 0, 255)),
    ],
)
def test_sixteen_bit_values_are_mapped_and_clipped(tmp_path, suffix, channels, sixteen_bit, formula):
    deep = RNG.randint(0, 65536, (20, 30, channels)).astype(np.uint16)
    deep[0, :8, 0] = (0, 1, 4094, 4095, 4096, 28999, 30001, 65535)
    path = str(tmp_path / ("d" + suffix))
    assert cv2.imwrite(path, deep)
    found = read_image(path, sixteen_bit)
    assert found.dtype == np.uint8
    expected = formula(deep.astype(np.int64))[..., ::-1]
    assert np.array_equal(found, np.broadcast_to(expected, (20, 30, 3)))


def test_a_twelve_bit_camera_keeps_256_grey_levels_and_8_bits_stay_as_they_are(tmp_path):
    mono12 = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    path = str(tmp_path / "m.png")
    cv2.imwrite(path, mono12)
    assert len(np.unique(read_image(path))) == 16
    assert len(np.unique(read_image(path, (0, 4095)))) == 256
    cv2.imwrite(path, NOISE)
    assert np.array_equal(read_image(path, (0, 4095)), NOISE[..., ::-1])


def test_the_mapping_is_monotonic_and_meets_both_ends():
    values = np.arange(65536, dtype=np.uint16)
    for low, high in (FULL_RANGE, (0, 255), (0, 1023), (5, 6), (40000, 65535)):
        found = to_eight_bits(values, (low, high)).astype(int)
        assert (np.diff(found) >= 0).all()
        assert found[low] == 0
        assert found[high] == 255
        assert set(found[:low]) <= {0}
        assert set(found[high:]) == {255}


def least(times, side=24):
    """At least so many times a square of `side`, covered, on each side."""
    return lambda picture: tuple(int(times * side * edge / float(min(picture))) for edge in picture)


@pytest.mark.parametrize("kind", sorted(JPEGS))
@pytest.mark.parametrize(("times", "expected"), [(0.3, 8), (0.6, 4), (1.25, 2), (1.3, 1), (9, 1)])
def test_a_jpeg_is_decoded_no_smaller_than_asked(kind, times, expected):
    """NOISE is 60 x 80, the square 24: at 1.25 times half is just enough. OpenCV's own flag says what comes out."""
    assert divisor_for((60, 80), least(times)) == divisor_for((80, 60), least(times)) == expected
    small = decode_image(JPEGS[kind] + TAILS["text"], kind, least=least(times))
    assert small.shape == (-(-60 // expected), -(-80 // expected), 3)
    flag = {1: 1, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}[expected]
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(JPEGS[kind])
        file.flush()
        assert np.array_equal(small, cv2.imread(file.name, flag)[..., ::-1])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_what_comes_out_reduced_is_turned_as_the_whole_and_near_its_average(orientation):
    smooth = cv2.resize(NOISE[:6, :8], (400, 300), interpolation=cv2.INTER_CUBIC)
    exif = b"Exif\0\0" + struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    plain = jpeg(smooth, quality=95)
    content = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
    whole, small = decode_image(content, "x"), decode_image(content, "x", least=least(1, 30))
    assert small.shape == tuple(-(-side // 8) for side in whole.shape[:2]) + (3,)
    average = cv2.resize(whole, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(average.astype(int) - small).mean() < 3


def test_other_formats_and_what_is_refused_stay_as_they_are():
    always = least(0.1)
    assert np.array_equal(decode_image(PNG, "x", least=always), NOISE[..., ::-1])
    with pytest.raises(ImageError, match="truncated JPEG"):
        decode_raw(JPEGS["baseline"][:-900], "x", always)
    assert divisor_for((0, 80), always) == 1  # a height that comes after the scan
    assert divisor_for((1 << 14, 1 << 14), always) == 1  # more pixels than OpenCV is let decode: it says so
