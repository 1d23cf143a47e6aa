"""What a USB camera offers, asked of the kernel: v4l2-ctl, which would tell, is not on every board.

Numbers and layouts: linux/videodev2.h, the same on 32 and 64 bits.
"""

import fcntl
import os
import struct
from typing import NamedTuple, Tuple

from edgedistill_device.errors import StreamError

_ENUM_FMT, _ENUM_FRAMESIZES, _ENUM_FRAMEINTERVALS = 0xC0405602, 0xC02C564A, 0xC034564B
_VIDEO_CAPTURE, _DISCRETE = 1, 1
_MOST = 256  # answers to one question: a driver that never ends must not hold us
JPEG = ("MJPG", "JPEG")
# What GStreamer's v4l2src calls video/x-raw; H264 and the sensors' Bayer patterns are not among them.
RAW = (
    "YUYV",
    "UYVY",
    "YVYU",
    "VYUY",
    "NV12",
    "NV21",
    "NV16",
    "YU12",
    "YV12",
    "422P",
    "RGB3",
    "BGR3",
    "RGB4",
    "BGR4",
    "XR24",
    "BX24",
    "GREY",
)

# width and height are 0 where any is taken; rates is empty where any is.
Mode = NamedTuple("Mode", [("fourcc", str), ("width", int), ("height", int), ("rates", Tuple[float, ...])])


def modes(path):
    """[Mode] of a camera; empty when it cannot be asked."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        offered = []
        for answer in _answers(handle, _ENUM_FMT, "=III32sI16x", (_VIDEO_CAPTURE, 0, b"", 0)):
            offered += _sizes(handle, answer[4])
        return offered
    finally:
        os.close(handle)


def kinds(path, camera):
    """How to ask a camera for its frames, the best first: "raw" and "jpeg".

    Args:
        path: /dev/video0.
        camera: (width_px, height_px, frames a second).

    Returns:
        Those that it offers in that size and rate. Raw takes no decoder; over USB most cameras have JPEG
        alone at 1280x720. One that cannot be asked gets both, JPEG first.

    Raises:
        StreamError: it offers neither; the line says what it does offer.
    """
    camera_modes = modes(path)
    if not camera_modes:
        return ["jpeg", "raw"]
    names = [
        kind
        for kind, fourccs in (("raw", RAW), ("jpeg", JPEG))
        if any(mode.fourcc in fourccs and _fits(mode, camera) for mode in camera_modes)
    ]
    if not names:
        offered = [
            "%dx%d@%g" % (mode.width, mode.height, rate)
            for mode in camera_modes
            if mode.fourcc in RAW + JPEG
            for rate in mode.rates[:1]
        ]
        raise StreamError(
            "%s: does not offer %dx%d@%d; name with --camera what it offers: %s"
            % ((path,) + tuple(camera) + (", ".join(sorted(set(offered))) or "no format that is read here",))
        )
    return names


def _fits(mode, camera):
    size = not mode.width or (mode.width, mode.height) == tuple(camera[:2])
    return size and (not mode.rates or any(abs(rate - camera[2]) < 0.01 for rate in mode.rates))


def _sizes(handle, pixels):
    fourcc, modes = struct.pack("=I", pixels).decode("ascii", "replace"), []
    for answer in _answers(handle, _ENUM_FRAMESIZES, "=IIIII16x8x", (pixels, 0, 0, 0)):
        if answer[2] != _DISCRETE:
            return [Mode(fourcc, 0, 0, ())]
        modes.append(Mode(fourcc, answer[3], answer[4], _rates(handle, pixels, answer[3], answer[4])))
    return modes or [Mode(fourcc, 0, 0, ())]


def _rates(handle, pixels, width, height):
    """Frames a second; the kernel gives seconds a frame, as a fraction."""
    rates = []
    for answer in _answers(handle, _ENUM_FRAMEINTERVALS, "=IIIIIII16x8x", (pixels, width, height, 0, 0, 0)):
        if answer[4] != _DISCRETE or not answer[5]:
            return ()
        rates.append(answer[6] / float(answer[5]))
    return tuple(rates)


def _answers(handle, request, layout, fields):
    """What the driver says to index 0, 1, 2, ... until it has no more."""
    answers = []
    for index in range(_MOST):
        asked = bytearray(struct.pack(layout, index, *fields))
        try:
            fcntl.ioctl(handle, request, asked)
        except (IOError, OSError):
            break
        answers.append(struct.unpack(layout, bytes(asked)))
    return answers
