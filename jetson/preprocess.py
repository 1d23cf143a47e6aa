"""From an image file to the network's input: one function for the board and the workstation."""

import os
import stat
from typing import NamedTuple, Tuple

import numpy as np

from jetson import imports
from jetson.errors import ImageError

INTERPOLATIONS = ("area", "bilinear", "bicubic")
MOST_ASPECT = 64  # long over short side: the short one is brought to hundreds of pixels

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
    numbers = spec.mean + spec.std
    if type(spec.image_px) is not int or type(spec.resize_px) is not int or not all(
        isinstance(number, (int, float)) and abs(number) < 1e6 for number in numbers
    ):
        raise ValueError("preprocess: expected whole pixels and finite means and stds")
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
        if not stat.S_ISREG(os.stat(str(path)).st_mode):  # a pipe or a device may never end
            raise ImageError("%s: not a regular file" % (path,))
        with open(str(path), "rb") as file:
            content = file.read()
    except (IOError, OSError) as error:
        raise ImageError("%s: cannot be read: %s" % (path, error.strerror))
    return decode_image(content, path)


def decode_image(content, name):
    """Decode the bytes of an image file.

    Grey becomes three equal channels, alpha is dropped, 16-bit integers are divided by 257, EXIF
    orientation is applied, an animation gives its first frame. A truncated JPEG or PNG is refused:
    OpenCV fills the rest with grey and reports nothing.

    Args:
        content: of a file that OpenCV reads.
        name: for messages.

    Returns:
        (height, width, 3) uint8, RGB.

    Raises:
        ImageError: truncated, no image, CMYK, neither 8 nor 16 bits a channel, a strip, or larger
            than OpenCV is let (`jetson.MOST_PIXELS`).
    """
    cv2 = imports.opencv()

    _refuse_truncated(name, content)
    if _jpeg_channels(content) == 4:
        raise ImageError("%s: a CMYK JPEG; convert it to RGB" % (name,))
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        if "MAX_IMAGE" in str(error):
            raise ImageError(
                "%s: claims more than %s pixels (OPENCV_IO_MAX_IMAGE_PIXELS); make it smaller"
                % (name, os.environ.get("OPENCV_IO_MAX_IMAGE_PIXELS", "OpenCV's limit of"))
            )
        raise ImageError("%s: cannot be decoded: %s" % (name, str(error).splitlines()[0]))
    if image is None:
        raise ImageError("%s: not an image that OpenCV can decode" % (name,))
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise ImageError("%s: expected 8 or 16 bits a channel, got %s" % (name, image.dtype))
    height, width = image.shape[:2]
    if max(height, width) > MOST_ASPECT * min(height, width):
        raise ImageError(
            "%s: %dx%d is a strip; expected a long side of at most %d times the short one"
            % (name, height, width, MOST_ASPECT)
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def resize_short_side(image, resize_px, interpolation, out=None):
    """Resize so that the short side is `resize_px`, aspect kept.

    Args:
        image: (height, width, 3) uint8.
        resize_px: pixels.
        interpolation: `area` averages when shrinking and is bilinear when enlarging; the others
            alias when shrinking by more than two.
        out: filled and returned when it has the right shape; else the result is a new array.

    Returns:
        (h, w, 3) uint8 with min(h, w) == resize_px; the image itself when it fits already.
    """
    cv2 = imports.opencv()

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
    if out is None or out.shape != (size[1], size[0], 3):
        out = np.empty((size[1], size[0], 3), np.uint8)
    return cv2.resize(image, size, dst=out, interpolation=method)


def centre_crop(image, image_px):
    """The middle (image_px, image_px, 3) of an image whose sides are at least that, copied."""
    return np.ascontiguousarray(_middle(image, image_px))


def _middle(image, image_px):
    height, width = image.shape[:2]
    if min(height, width) < image_px:
        raise ValueError(
            "expected at least %d pixels a side, got %dx%d" % (image_px, height, width)
        )
    top, left = (height - image_px) // 2, (width - image_px) // 2
    return image[top : top + image_px, left : left + image_px]


def view(image, spec, out=None):
    """Resize and crop: (height, width, 3) uint8 -> (image_px, image_px, 3) uint8, into `out` if given."""
    resized = resize_short_side(image, spec.resize_px, spec.interpolation)
    if out is None:
        return centre_crop(resized, spec.image_px)
    np.copyto(out, _middle(resized, spec.image_px))
    return out


def to_input(image, spec, out=None):
    """Turn one framed image into a batch of one.

    Args:
        image: (image_px, image_px, 3) uint8, RGB, from `view`.
        spec: Preprocess.
        out: (1, 3, image_px, image_px) float32 to fill, or None for a new array; the bits are equal.

    Returns:
        (1, 3, image_px, image_px) float32, C-contiguous; `out` when it was given.

    Raises:
        ValueError: wrong dtype or shape. Nothing is resized here.
    """
    expected = (spec.image_px, spec.image_px, 3)
    if image.dtype != np.uint8 or image.shape != expected:
        raise ValueError("image must be uint8 %s, got %s %s" % (expected, image.dtype, image.shape))
    if out is None:
        out = np.empty((1, 3) + expected[:2], np.float32)
    elif out.dtype != np.float32 or out.shape != (1, 3) + expected[:2]:
        raise ValueError(
            "out must be float32 %s, got %s %s" % ((1, 3) + expected[:2], out.dtype, out.shape)
        )
    # A channel at a time: numpy is slow along an innermost axis of three.
    for channel in range(3):
        plane = out[0, channel]
        np.copyto(plane, image[:, :, channel])
        plane /= np.float32(255)
        plane -= np.float32(spec.mean[channel])
        plane /= np.float32(spec.std[channel])
    return out


class Preparer(object):
    """Decoded frames to input batches without a new array a frame; bits as `to_input(view(...))`."""

    def __init__(self, spec, bgr=False):
        """`bgr`: frames come from OpenCV in blue, green, red; the crop is turned, not the frame."""
        self._spec, self._bgr = spec, bgr
        self._resized = None
        self.batch = np.empty((1, 3, spec.image_px, spec.image_px), np.float32)

    def __call__(self, frame, out=None):
        """(height, width, 3) uint8 -> (1, 3, px, px) float32: `out`, or `batch`, filled anew each call."""
        spec = self._spec
        resized = resize_short_side(frame, spec.resize_px, spec.interpolation, self._resized)
        if resized is not frame:
            self._resized = resized
        crop = _middle(resized, spec.image_px)
        if self._bgr:
            crop = crop[:, :, ::-1]
        return to_input(crop, spec, self.batch if out is None else out)


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
