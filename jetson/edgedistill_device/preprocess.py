"""From decoded pixels to the network's input: one function for the board and the workstation."""

import numpy as np

from edgedistill_device import imports
from edgedistill_device.preprocess_spec import size_of

PAD_GREY = 114  # of the bars of `pad`: ImageNet's mean grey, and the grey of YOLO's letterbox


def resize_to(image, size, interpolation, out=None):
    """Resize to exactly (height, width).

    Args:
        image: (h, w, 3) uint8.
        size: (height, width) pixels.
        interpolation: `area` averages along a side that shrinks and is linear along one that grows;
            the others alias when shrinking by more than two.
        out: filled and returned when it has the right shape; else the result is a new array.

    Returns:
        (height, width, 3) uint8; the image itself when it fits already.
    """
    cv2 = imports.opencv()

    before, size = image.shape[:2], tuple(size)
    if before == size:
        return image
    smaller = (min(before[0], size[0]), min(before[1], size[1]))
    if interpolation == "area" and smaller not in (before, size):  # one shrinks, one grows
        image = resize_to(image, smaller, interpolation)
        before = smaller
    method = {
        "area": cv2.INTER_AREA if smaller == size else cv2.INTER_LINEAR,
        "bilinear": cv2.INTER_LINEAR,
        "bicubic": cv2.INTER_CUBIC,
    }[interpolation]
    if out is None or out.shape != size + (3,):
        out = np.empty(size + (3,), np.uint8)
    return cv2.resize(image, (size[1], size[0]), dst=out, interpolation=method)


def covering_size(picture, box):
    """The smallest (height, width) of the picture's aspect that covers a box."""
    (height, width), (box_height, box_width) = picture, box
    if box_height * width >= box_width * height:
        return box_height, max(box_width, int(round(width * box_height / float(height))))
    return max(box_height, int(round(height * box_width / float(width)))), box_width


def fitting_size(picture, box):
    """The largest (height, width) of the picture's aspect inside a box, at least a pixel a side."""
    (height, width), (box_height, box_width) = picture, box
    if box_height * width <= box_width * height:
        inside = int(round(width * box_height / float(height)))
        return box_height, max(1, min(box_width, inside))
    inside = int(round(height * box_width / float(width)))
    return max(1, min(box_height, inside)), box_width


def resize_box(size, resize_px):
    """(height, width) that a picture must cover before the middle is cropped: the input's aspect,
    short side resize_px."""
    short = min(size)
    return tuple(int(round(side * resize_px / float(short))) for side in size)


def resized_size(picture, spec):
    """(height, width) that a picture of such a size is resized to, before its middle is cropped or bars are added.

    Args:
        picture: (height, width) pixels.
        spec: Preprocess, or anything with its size, resize_px and fit.
    """
    if spec.fit == "squash":
        return spec.size
    if spec.fit == "pad":
        return fitting_size(picture, spec.size)
    return covering_size(picture, resize_box(spec.size, spec.resize_px))


def resize_short_side(image, resize_px, interpolation, out=None):
    """Resize so that the short side is `resize_px`, aspect kept; arguments as `resize_to`."""
    size = covering_size(image.shape[:2], (resize_px, resize_px))
    return resize_to(image, size, interpolation, out)


def centre_crop(image, image_px):
    """The middle of an image whose sides are at least that, copied.

    Args:
        image_px: side, or (height, width).
    """
    return np.ascontiguousarray(_middle(image, size_of(image_px)))


def _middle(image, size):
    height, width = image.shape[:2]
    if height < size[0] or width < size[1]:
        raise ValueError("expected at least %dx%d pixels, got %dx%d" % (size + (height, width)))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return image[top : top + size[0], left : left + size[1]]


class Framer(object):
    """Decoded images to the network's frame: height and width of the input, still uint8.

    The arrays are used again from call to call; a frame holds until the next one.
    """

    def __init__(self, spec):
        """`spec`: Preprocess, or anything with its size, resize_px, interpolation and fit."""
        self._spec = spec
        self._resized = self._canvas = self._placed = None

    def __call__(self, image):
        """(height, width, 3) uint8 -> (H, W, 3) uint8, a view where the image allows it."""
        resized = self._resize(image, resized_size(image.shape[:2], self._spec))
        return self._padded(resized) if self._spec.fit == "pad" else _middle(resized, self._spec.size)

    def _resize(self, image, size):
        resized = resize_to(image, size, self._spec.interpolation, self._resized)
        if resized is not image:
            self._resized = resized
        return resized

    def _padded(self, image):
        """The image in the middle, grey bars beside it."""
        if self._placed != image.shape:
            self._canvas = np.full(self._spec.size + (3,), PAD_GREY, np.uint8)
            self._placed = image.shape
        np.copyto(_middle(self._canvas, image.shape[:2]), image)
        return self._canvas


def view(image, spec, out=None):
    """Frame a decoded image: (height, width, 3) uint8 -> (H, W, 3) uint8, into `out` if given."""
    framed = Framer(spec)(image)
    if out is None:
        return framed.copy() if np.may_share_memory(framed, image) else np.ascontiguousarray(framed)
    np.copyto(out, framed)
    return out


def to_input(image, spec, out=None):
    """Turn one framed image into a batch of one.

    Args:
        image: (H, W, 3) uint8, RGB, from `view`.
        spec: Preprocess.
        out: (1, 3, H, W) float32 to fill, or None for a new array; the bits are equal.

    Returns:
        (1, 3, H, W) float32, C-contiguous; `out` when it was given.

    Raises:
        ValueError: wrong dtype or shape. Nothing is resized here.
    """
    expected = spec.size + (3,)
    if image.dtype != np.uint8 or image.shape != expected:
        raise ValueError("image must be uint8 %s, got %s %s" % (expected, image.dtype, image.shape))
    if out is None:
        out = np.empty((1, 3) + spec.size, np.float32)
    elif out.dtype != np.float32 or out.shape != (1, 3) + spec.size:
        raise ValueError("out must be float32 %s, got %s %s" % ((1, 3) + spec.size, out.dtype, out.shape))
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
        self._spec, self._bgr, self._frame = spec, bgr, Framer(spec)
        self.batch = np.empty((1, 3) + spec.size, np.float32)

    def __call__(self, frame, out=None):
        """(height, width, 3) uint8 -> (1, 3, H, W) float32: `out`, or `batch`, filled again each call."""
        framed = self._frame(frame)
        if self._bgr:
            framed = framed[:, :, ::-1]
        return to_input(framed, self._spec, self.batch if out is None else out)
