"""From an image file to the network's input: one function for the board and the workstation."""

from typing import NamedTuple, Tuple

import numpy as np

from jetson.errors import ImageError

INTERPOLATIONS = ("area", "bilinear", "bicubic")

Preprocess = NamedTuple(
    "Preprocess",
    [
        ("image_px", int),  # height = width of the network's input
        ("resize_px", int),  # short side after the resize, >= image_px
        ("interpolation", str),  # of the resize, one of INTERPOLATIONS
        ("mean", Tuple[float, ...]),  # RGB, of values in 0..1
        ("std", Tuple[float, ...]),  # the same
    ],
)


def dict_from_preprocess(spec):
    """JSON-able dict; `preprocess_from_dict` gives the same value back."""
    return {
        "image_px": spec.image_px,
        "resize_px": spec.resize_px,
        "interpolation": spec.interpolation,
        "mean": list(spec.mean),
        "std": list(spec.std),
    }


def preprocess_from_dict(stored):
    """A checked Preprocess.

    Raises:
        ValueError: a key is missing, unknown or out of range.
    """
    if not isinstance(stored, dict) or set(stored) != set(Preprocess._fields):
        raise ValueError(
            "preprocess: expected the keys %s, got %s" % (list(Preprocess._fields), sorted(stored))
        )
    spec = Preprocess(
        stored["image_px"],
        stored["resize_px"],
        stored["interpolation"],
        tuple(stored["mean"]),
        tuple(stored["std"]),
    )
    if spec.interpolation not in INTERPOLATIONS:
        raise ValueError(
            "preprocess: expected one of %s, got %r" % (INTERPOLATIONS, spec.interpolation)
        )
    if not 0 < spec.image_px <= spec.resize_px:
        raise ValueError(
            "preprocess: expected 0 < image_px <= resize_px, got %r" % (spec.image_px,)
        )
    if len(spec.mean) != 3 or len(spec.std) != 3 or min(spec.std) <= 0:
        raise ValueError("preprocess: expected three means and three positive stds")
    return spec


def read_image(path):
    """Decode an image file; see `decode_image`.

    Raises:
        ImageError: unreadable, or what `decode_image` refuses.
    """
    try:
        with open(str(path), "rb") as file:
            content = file.read()
    except (IOError, OSError) as error:
        raise ImageError("%s: cannot be read: %s" % (path, error.strerror))
    return decode_image(content, path)


def decode_image(content, name):
    """Decode the bytes of an image file.

    Grey becomes three equal channels, alpha is dropped, 16-bit integers are divided by 257, EXIF
    orientation is applied. A truncated JPEG or PNG is refused: OpenCV fills the rest with grey
    and reports nothing.

    Args:
        content: of a file that OpenCV reads.
        name: for messages.

    Returns:
        (height, width, 3) uint8, RGB.

    Raises:
        ImageError: truncated, no image, CMYK, or neither 8 nor 16 bits a channel.
    """
    import cv2

    _refuse_truncated(name, content)
    if _jpeg_channels(content) == 4:
        raise ImageError("%s: a CMYK JPEG; convert it to RGB" % (name,))
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise ImageError("%s: cannot be decoded: %s" % (name, str(error).splitlines()[0]))
    if image is None:
        raise ImageError("%s: not an image that OpenCV can decode" % (name,))
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise ImageError("%s: expected 8 or 16 bits a channel, got %s" % (name, image.dtype))
    return np.ascontiguousarray(image[:, :, ::-1])


def resize_short_side(image, resize_px, interpolation):
    """Resize so that the short side is `resize_px`, aspect kept.

    Args:
        image: (height, width, 3) uint8.
        resize_px: pixels.
        interpolation: `area` averages when shrinking and is bilinear when enlarging; the others
            alias when shrinking by more than two.

    Returns:
        (h, w, 3) uint8 with min(h, w) == resize_px; the image itself when it fits already.
    """
    import cv2

    height, width = image.shape[:2]
    short = min(height, width)
    if short == resize_px:
        return image
    size = (
        max(resize_px, int(round(width * resize_px / float(short)))),
        max(resize_px, int(round(height * resize_px / float(short)))),
    )
    shrinking = resize_px < short
    method = {
        "area": cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR,
        "bilinear": cv2.INTER_LINEAR,
        "bicubic": cv2.INTER_CUBIC,
    }[interpolation]
    return cv2.resize(image, size, interpolation=method)


def centre_crop(image, image_px):
    """The middle (image_px, image_px, 3) of an image whose sides are at least that."""
    height, width = image.shape[:2]
    if min(height, width) < image_px:
        raise ValueError(
            "expected at least %d pixels a side, got %dx%d" % (image_px, height, width)
        )
    top, left = (height - image_px) // 2, (width - image_px) // 2
    return np.ascontiguousarray(image[top : top + image_px, left : left + image_px])


def view(image, spec):
    """Resize and crop: (height, width, 3) uint8 -> (image_px, image_px, 3) uint8."""
    return centre_crop(resize_short_side(image, spec.resize_px, spec.interpolation), spec.image_px)


def to_input(image, spec):
    """Turn one framed image into a batch of one.

    Args:
        image: (image_px, image_px, 3) uint8, RGB, from `view`.
        spec: Preprocess.

    Returns:
        (1, 3, image_px, image_px) float32, C-contiguous.

    Raises:
        ValueError: wrong dtype or shape. Nothing is resized here.
    """
    expected = (spec.image_px, spec.image_px, 3)
    if image.dtype != np.uint8 or image.shape != expected:
        raise ValueError("image must be uint8 %s, got %s %s" % (expected, image.dtype, image.shape))
    scaled = image.astype(np.float32) / np.float32(255)
    normal = (scaled - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[np.newaxis])


def _refuse_truncated(name, content):
    """The end marker must be there; cameras may append a few bytes after it."""
    if not content:
        raise ImageError("%s: an empty file" % (name,))
    if content[:2] == b"\xff\xd8" and content.rfind(b"\xff\xd9") <= content.rfind(b"\xff\xda"):
        raise ImageError("%s: a truncated JPEG, its end marker is missing" % (name,))
    if content[:8] == b"\x89PNG\r\n\x1a\n" and b"IEND" not in content[-64:]:
        raise ImageError("%s: a truncated PNG, its IEND chunk is missing" % (name,))


def _jpeg_channels(content):
    """Colour channels of a JPEG, from its frame header; None for other formats."""
    if content[:2] != b"\xff\xd8":
        return None
    position = 2
    while position + 9 < len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return content[position + 9]
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return None
