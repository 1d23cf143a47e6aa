"""A frame as it comes: turned the right way, and looked at for a decoder that gives empty ones."""

import time

from edgedistill_device.errors import StreamError

# The words of jetson-inference's --input-flip; the numbers are those of nvvidconv's flip-method.
FLIPS = {
    "none": 0,
    "counterclockwise": 1,
    "rotate-180": 2,
    "clockwise": 3,
    "horizontal": 4,
    "upper-right-diagonal": 5,
    "vertical": 6,
    "upper-left-diagonal": 7,
}
# Those in which width and height change places.
TURNS = ("counterclockwise", "clockwise", "upper-right-diagonal", "upper-left-diagonal")
CONSTANT_S, CONSTANT_FRAMES = 2.0, 5  # a camera may begin with some empty frames


def turned(frame, flip):
    """A (height, width, 3) array turned, in an array of its own; the very same for "none"."""
    import numpy as np

    if flip == "none":
        return frame
    views = {
        "counterclockwise": lambda: np.rot90(frame, 1),
        "rotate-180": lambda: frame[::-1, ::-1],
        "clockwise": lambda: np.rot90(frame, 3),
        "horizontal": lambda: frame[:, ::-1],
        "upper-right-diagonal": lambda: np.rot90(frame, 2).transpose(1, 0, 2),
        "vertical": lambda: frame[::-1],
        "upper-left-diagonal": lambda: frame.transpose(1, 0, 2),
    }
    return np.ascontiguousarray(views[flip]())


class Turned(object):
    """A capture whose frames are turned after they were read, for what `nvvidconv` does not turn."""

    def __init__(self, capture, flip):
        self._capture, self._flip, self._plain = capture, flip, None

    def read(self, array=None):
        """As `cv2.VideoCapture.read`; what is read into stays here, `array` is left alone."""
        there, self._plain = self._capture.read() if self._plain is None else self._capture.read(self._plain)
        return there, turned(self._plain, self._flip) if there else None

    def __getattr__(self, name):
        return getattr(self._capture, name)


class Unpadded(object):
    """A capture whose frames have columns on the right that are no part of the picture."""

    def __init__(self, capture, width):
        self._capture, self._width = capture, width

    def read(self, array=None):
        """As `cv2.VideoCapture.read`; the frame is a view without the columns, of an array that has them."""
        padded = None if array is None else array.base
        there, padded = self._capture.read() if padded is None else self._capture.read(padded)
        return there, padded[:, : self._width] if there else None

    def __getattr__(self, name):
        return getattr(self._capture, name)


class Looked(object):
    """Whether every frame so far was one and the same colour: no sensor gives that, an empty buffer does.

    JetPack's own JPEG decoder gave frames of zeros to OpenCV (opencv/opencv issue 20473); in YUV, zeros are green.
    """

    def __init__(self, clock=time.monotonic):
        self._clock, self._since, self._colour = clock, None, None
        self._count, self.constant = 0, True

    def at(self, frame):
        """Look at the next frame; after the first one with two colours this costs nothing."""
        if not self.constant:
            return
        first = frame[0, 0]
        coarse = frame[::16, ::16]
        same = bool((coarse == first).all()) and bool((frame == first).all())
        colour = tuple(int(value) for value in first)
        self.constant = same and self._colour in (None, colour)
        self._colour, self._count = colour, self._count + 1
        self._since = self._clock() if self._since is None else self._since

    def empty(self):
        """True when that has gone on for too long."""
        return self.ever() and self._clock() - self._since >= CONSTANT_S

    def ever(self):
        """True when there were some frames, and nothing else among them."""
        return self.constant and self._count >= CONSTANT_FRAMES

    def refusal(self, source, advice):
        """The StreamError that says so."""
        return StreamError(
            "%s: each of its first %d frames is one colour (blue %d, green %d, red %d), as of a decoder that gives "
            "empty frames; %s" % ((source, self._count) + self._colour + (advice,))
        )
