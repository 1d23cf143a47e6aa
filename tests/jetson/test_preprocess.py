import struct
import zlib
from fractions import Fraction

import cv2
import numpy as np
import pytest

from edgedistill_device.decode import read_image
from edgedistill_device.errors import ImageError
from edgedistill_device.preprocess import (
    Preparer,
    centre_crop,
    covering_size,
    fitting_size,
    resize_box,
    resize_short_side,
    resize_to,
    to_input,
    view,
)
from edgedistill_device.preprocess_spec import Preprocess, dict_from_preprocess, preprocess_from_dict

SPEC = Preprocess(4, 5, "area", (0.5, 0.4, 0.3), (0.25, 0.5, 1.0))


def picture(rng, height=40, width=30):
    return rng.randint(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.fixture
def rng():
    return np.random.RandomState(0)


def test_to_input_by_hand():
    image = np.zeros((4, 4, 3), np.uint8)
    image[1, 2] = (255, 51, 0)
    batch = to_input(image, SPEC)
    assert batch.shape == (1, 3, 4, 4)
    assert batch.dtype == np.float32
    assert batch[0, :, 1, 2] == pytest.approx([(1 - 0.5) / 0.25, (0.2 - 0.4) / 0.5, -0.3])
    assert batch[0, 0, 0, 0] == pytest.approx(-2)


def formula(image, spec):
    """The normalisation in one line, as it is in papers; what the fast one must equal bit for bit."""
    scaled = image.astype(np.float32) / np.float32(255)
    normal = (scaled - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[np.newaxis])


def test_every_byte_gives_the_formulas_bits():
    spec = Preprocess(16, 16, "area", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    image = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    out = np.full((1, 3, 16, 16), np.nan, np.float32)
    assert to_input(image, spec).tobytes() == formula(image, spec).tobytes()
    assert to_input(image, spec, out) is out
    assert out.tobytes() == formula(image, spec).tobytes()


@pytest.mark.parametrize("out", [np.zeros((3, 4, 4), np.float32), np.zeros((1, 3, 4, 4))])
def test_to_input_refuses_another_out(out):
    with pytest.raises(ValueError, match="out must be float32"):
        to_input(np.zeros((4, 4, 3), np.uint8), SPEC, out)


def test_view_into_an_array(rng):
    image = picture(rng)
    out = np.zeros((4, 4, 3), np.uint8)
    assert view(image, SPEC, out) is out
    assert np.array_equal(out, view(image, SPEC))


@pytest.mark.parametrize("bgr", [False, True])
def test_a_preparer_gives_the_same_bits_in_the_same_arrays(rng, bgr):
    spec = Preprocess(24, 28, "area", (0.5, 0.4, 0.3), (0.25, 0.5, 1.0))
    prepare = Preparer(spec, bgr)
    frames = [picture(rng, *size) for size in ((90, 120), (90, 120), (28, 40), (60, 33), (90, 120))]
    for frame in frames:
        kept = frame.copy()
        rgb = frame[:, :, ::-1] if bgr else frame
        wanted = to_input(view(np.ascontiguousarray(rgb), spec), spec)
        batch = prepare(frame)
        assert batch is prepare.batch
        assert batch.tobytes() == wanted.tobytes()
        assert np.array_equal(frame, kept)  # a frame that fits already is not taken for a buffer
    other = np.empty_like(prepare.batch)
    assert prepare(frames[0], other) is other


def test_a_preparer_allocates_nothing_large_a_frame(rng):
    import tracemalloc

    spec = Preprocess(224, 256, "area", (0.5, 0.4, 0.3), (0.25, 0.5, 1.0))
    prepare, frame = Preparer(spec), picture(rng, 720, 1280)
    prepare(frame)
    tracemalloc.start()
    try:
        for _ in range(3):
            prepare(frame)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50000  # a plane of the crop alone has 50176 bytes


def test_to_input_refuses_what_is_not_framed():
    with pytest.raises(ValueError, match="image must be uint8"):
        to_input(np.zeros((5, 4, 3), np.uint8), SPEC)
    with pytest.raises(ValueError, match="float64"):
        to_input(np.zeros((4, 4, 3)), SPEC)


def test_the_short_side_gets_the_size_and_the_crop_is_the_middle(rng):
    image = picture(rng, 60, 90)
    resized = resize_short_side(image, 30, "area")
    assert resized.shape == (30, 45, 3)
    # Halving with `area` is the mean of 2 x 2 pixels: an oracle without OpenCV.
    means = image.reshape(30, 2, 45, 2, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(resized - means).max() <= 0.51
    assert np.array_equal(centre_crop(resized, 20), resized[5:25, 12:32])
    assert resize_short_side(image, 60, "area") is image


def test_png_is_read_as_rgb_and_alpha_dropped(tmp_path, rng):
    image = picture(rng)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    assert np.array_equal(read_image(tmp_path / "a.png"), image[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "b.png"), np.dstack([image, np.full(image.shape[:2], 9, np.uint8)]))
    assert read_image(tmp_path / "b.png").shape == image.shape


def test_grey_becomes_three_equal_channels(tmp_path, rng):
    grey = picture(rng)[..., 0]
    cv2.imwrite(str(tmp_path / "g.png"), grey)
    found = read_image(tmp_path / "g.png")
    assert all(np.array_equal(found[..., channel], grey) for channel in range(3))


def test_sixteen_bits_are_scaled_to_eight(tmp_path, rng):
    deep = rng.randint(0, 65536, (20, 20)).astype(np.uint16)
    deep[0, 0] = 65535
    cv2.imwrite(str(tmp_path / "d.png"), deep)
    found = read_image(tmp_path / "d.png")
    assert found[0, 0, 0] == 255
    assert np.array_equal(found[..., 0], deep // 257)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_truncated_files_are_refused(tmp_path, rng, suffix, kept):
    path = tmp_path / ("t" + suffix)
    cv2.imwrite(str(path), picture(rng, 200, 200))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ImageError, match="truncated"):
        read_image(path)


def test_a_jpeg_with_bytes_after_its_end_is_read(tmp_path, rng):
    path = tmp_path / "t.jpg"
    cv2.imwrite(str(path), picture(rng))
    path.write_bytes(path.read_bytes() + b"\0" * 30)
    assert read_image(path).shape == (40, 30, 3)


def test_a_cmyk_jpeg_is_refused(tmp_path, rng):
    """A frame header that says four channels, as Adobe's CMYK files have."""
    path = tmp_path / "c.jpg"
    cv2.imwrite(str(path), picture(rng))
    content = bytearray(path.read_bytes())
    frame = content.index(b"\xff\xc0")
    content[frame + 9] = 4
    path.write_bytes(bytes(content))
    with pytest.raises(ImageError, match="CMYK JPEG; convert it to RGB"):
        read_image(path)


def test_exif_orientation_is_applied(tmp_path, rng):
    path = tmp_path / "e.jpg"
    image = np.zeros((40, 30, 3), np.uint8)
    image[:20] = 255
    cv2.imwrite(str(path), image)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    content = path.read_bytes()
    path.write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:])
    found = read_image(path)
    assert found.shape == (30, 40, 3)
    assert found[:, 30:].mean() > 250  # what was on top is on the right


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("x.jpg", b"no image at all", "not an image that OpenCV can decode"),
        ("x.png", b"", "an empty file"),
        ("x.png", b"\x89PNG\r\n\x1a\n" + zlib.compress(b"IEND") + b"IEND", "not an image"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, line):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=line):
        read_image(tmp_path / name)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ImageError, match="cannot be read: No such file"):
        read_image(tmp_path / "none.jpg")


def test_the_dict_gives_the_same_value_back_and_refuses_others():
    stored = dict_from_preprocess(SPEC)
    assert preprocess_from_dict(stored) == SPEC
    for change in ({"image_px": 9}, {"interpolation": "magic"}, {"std": [0, 1, 1]}, {"extra": 1}):
        with pytest.raises(ValueError, match="preprocess"):
            preprocess_from_dict(dict(stored, **change))


def spec_of(fit, image_px, resize_px=None, sixteen_bit=(0, 65535)):
    short = min(image_px) if isinstance(image_px, tuple) else image_px
    mean, std = (0.5, 0.4, 0.3), (0.25, 0.5, 1.0)
    return Preprocess(image_px, resize_px or short, "area", mean, std, fit, sixteen_bit)


SIZES = [16, (16, 32), (32, 16), (10, 40)]
PICTURES = [(40, 40), (36, 64), (64, 36), (20, 80), (80, 20), (7, 9), (3, 190)]


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("image_px", SIZES)
@pytest.mark.parametrize("picture_size", PICTURES)
def test_every_fit_gives_the_inputs_size_and_pads_in_the_middle(rng, fit, image_px, picture_size):
    """Against each fit written another way: coordinates of a picture that is a gradient."""
    height, width = picture_size
    spec = spec_of(fit, image_px)
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack([200 * (rows + 0.5) / height, 200 * (columns + 0.5) / width, 0 * rows], -1)
    found = view(np.round(image).astype(np.uint8), spec)
    assert found.shape == spec.size + (3,)
    scale = {"crop": max, "pad": min}.get(fit, lambda a, b: None)(spec.size[0] / height, spec.size[1] / width)
    y, x = np.mgrid[0 : spec.size[0], 0 : spec.size[1]]
    if fit == "squash":
        expected = [200 * (y + 0.5) / spec.size[0], 200 * (x + 0.5) / spec.size[1]]
        inside = np.ones(spec.size, bool)
    else:
        shown = [max(1, scale * height), max(1, scale * width)]
        offsets = [(side - part) / 2 for side, part in zip(spec.size, shown)]
        expected = [200 * (y + 0.5 - offsets[0]) / shown[0], 200 * (x + 0.5 - offsets[1]) / shown[1]]
        inside = (np.abs(y + 0.5 - spec.size[0] / 2) < shown[0] / 2 - 1.5) & (
            np.abs(x + 0.5 - spec.size[1] / 2) < shown[1] / 2 - 1.5
        )
        outside = (np.abs(y + 0.5 - spec.size[0] / 2) > shown[0] / 2 + 1.5) | (
            np.abs(x + 0.5 - spec.size[1] / 2) > shown[1] / 2 + 1.5
        )
        assert (found[outside] == 114).all()
    step = 200 / min(height, width) + 200 / min(spec.size) + 2  # a pixel of either picture
    for channel in range(2):
        assert (np.abs(found[..., channel] - expected[channel])[inside] <= step).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("bgr", [False, True])
def test_a_preparer_gives_the_views_bits_for_every_fit(rng, fit, bgr):
    spec = spec_of(fit, (24, 40), 28 if fit == "crop" else None)
    prepare = Preparer(spec, bgr)
    for size in ((90, 160), (90, 160), (160, 90), (24, 40), (20, 200), (90, 160), (30, 31)):
        frame = picture(rng, *size)
        kept = frame.copy()
        rgb = np.ascontiguousarray(frame[:, :, ::-1]) if bgr else frame
        assert prepare(frame).tobytes() == to_input(view(rgb, spec), spec).tobytes()
        assert np.array_equal(frame, kept)


def test_a_view_is_never_the_image_itself(rng):
    image = picture(rng, 16, 16)
    for fit in ("crop", "pad", "squash"):
        found = view(image, spec_of(fit, 16))
        assert np.array_equal(found, image)
        assert not np.may_share_memory(found, image)


def test_one_side_shrinks_without_aliasing_while_the_other_grows(rng):
    stripes = np.zeros((4, 400, 3), np.uint8)
    stripes[:, ::2] = 254
    found = resize_to(stripes, (16, 20), "area")
    assert found.shape == (16, 20, 3)
    assert np.abs(found.astype(int) - 127).max() <= 1


def test_newer_keys_are_left_out_at_their_default_and_read_back():
    """So that a bundle of before is read, and one of now by an agent of before where it can be."""
    before = {"image_px", "resize_px", "interpolation", "mean", "std"}
    assert set(dict_from_preprocess(SPEC)) == before
    assert preprocess_from_dict(dict_from_preprocess(SPEC)).fit == "crop"
    for spec in (spec_of("pad", (24, 40)), spec_of("squash", 24, None, (0, 4095))):
        stored = dict_from_preprocess(spec)
        assert "fit" in stored
        assert preprocess_from_dict(stored) == spec
    assert dict_from_preprocess(spec_of("crop", (24, 24)))["image_px"] == 24


@pytest.mark.parametrize(
    "change",
    [
        {"fit": "stretch"},
        {"image_px": [4]},
        {"image_px": [4, 0]},
        {"image_px": [4, 4.0]},
        {"image_px": True},
        {"image_px": [4, 5, 6]},
        {"sixteen_bit": [9, 9]},
        {"sixteen_bit": [0, 65536]},
        {"sixteen_bit": [0]},
        {"sixteen_bit": [0.0, 9.0]},
        {"resize_px": 3},
    ],
)
def test_newer_keys_out_of_range_are_refused(change):
    stored = dict(dict_from_preprocess(SPEC), **change)
    with pytest.raises(ValueError, match="preprocess"):
        preprocess_from_dict(stored)


def nearest(numerator, denominator):
    """The nearest whole number, exactly; a half goes to the even one."""
    return int(round(Fraction(numerator, denominator)))


@pytest.mark.parametrize("picture_size", [(40, 30), (100, 67), (67, 100), (480, 641), (719, 1280), (35, 50), (3, 2)])
@pytest.mark.parametrize("box", [(24, 24), (16, 25), (25, 16), (224, 224)])
def test_sides_are_rounded_to_the_nearest_pixel(picture_size, box):
    """In whole numbers: one side of the box is met, the other follows the aspect."""
    height, width = picture_size
    by_height = box[0], nearest(width * box[0], height)
    by_width = nearest(height * box[1], width), box[1]
    covers = [size for size in (by_height, by_width) if size[0] >= box[0] and size[1] >= box[1]]
    fits = [(max(1, h), max(1, w)) for h, w in (by_height, by_width) if h <= box[0] and w <= box[1]]
    assert covering_size(picture_size, box) in covers
    assert fitting_size(picture_size, box) in fits


@pytest.mark.parametrize(
    ("size", "resize_px", "box"),
    [
        ((32, 48), 37, (37, 56)),
        ((48, 32), 37, (56, 37)),
        ((30, 30), 34, (34, 34)),
        ((224, 320), 256, (256, 366)),
    ],
)
def test_the_box_that_is_covered_has_the_inputs_aspect_by_hand(size, resize_px, box):
    """37 x 1.5 is 55.5, rounded to the even 56; 256 / 224 x 320 is 365.7."""
    assert resize_box(size, resize_px) == box


@pytest.mark.parametrize(
    ("before", "first"), [((9, 12), (2, 3)), ((10, 13), (2, 3)), ((5, 6), (0, 0)), ((6, 7), (0, 0))]
)
def test_an_odd_rest_is_left_below_and_on_the_right(before, first):
    """The middle of an odd number of pixels is told by hand: the board and the workstation must agree on it."""
    image = np.arange(before[0] * before[1] * 3, dtype=np.uint8).reshape(before + (3,))
    top, left = first
    assert np.array_equal(centre_crop(image, (5, 6)), image[top : top + 5, left : left + 6])
