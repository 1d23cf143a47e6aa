"""Cameras and videos: what to open for `csi://0`, `v4l2:///dev/video0`, `rtsp://`, `file://` or a path.

The words are those of jetson-inference. Frames come out of OpenCV, in blue, green, red.
"""

import os
import re
from typing import NamedTuple

from edgedistill_device import imports
from edgedistill_device.board.identity import is_jetson
from edgedistill_device.errors import StreamError
from edgedistill_device.inference import v4l2
from edgedistill_device.inference.picture import FLIPS, Turned, Unpadded

SCHEMES = ("csi", "v4l2", "rtsp", "file")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".ts", ".mpg")
Scaled = NamedTuple("Scaled", [("width", int), ("height", int), ("method", int)])  # method: nvvidconv's interpolation
_BGRX = "video/x-raw, format=BGRx"
_SINK = "video/x-raw, format=BGR ! appsink max-buffers=4 sync=false"


def is_stream(source):
    """A camera or video, and not an image file or a folder."""
    return "://" in source or source.lower().endswith(VIDEO_SUFFIXES)


def parse_source(source):
    """(scheme, place): `csi://0` -> ("csi", "0"), a path -> ("file", path).

    Raises:
        StreamError: an unknown scheme, or a place that could break out of a GStreamer pipeline.
    """
    scheme, separator, place = source.partition("://")
    if not separator:
        scheme, place = "file", source
    if scheme not in SCHEMES:
        raise StreamError("%s: expected a path or one of %s" % (source, ", ".join(s + "://" for s in SCHEMES)))
    if not place or re.search(r"[\"\\\x00-\x1f]", place):
        raise StreamError("%s: nothing after ://, or a quote, backslash or control character" % (source,))
    if scheme == "csi" and not re.match(r"^\d+$", place):
        raise StreamError("%s: expected csi:// and the sensor's number, as csi://0" % (source,))
    if scheme == "v4l2" and not re.match(r"^/dev/video\d+$", place):
        raise StreamError("%s: expected v4l2:///dev/video and a number" % (source,))
    return scheme, place


def pipeline(source, camera, nvidia, flip="none", kind="jpeg", scaled=None):
    """The GStreamer pipeline that ends in BGR frames for `cv2.VideoCapture`.

    Args:
        source: as for `parse_source`.
        camera: (width_px, height_px, frames a second) asked of a CSI or USB camera.
        nvidia: True on a Jetson, where decoders and the CSI camera hand over NVMM memory that
            `nvvidconv` fetches.
        flip: of FLIPS, for a CSI camera; what other sources give is turned afterwards.
        kind: "jpeg" or "raw", what a USB camera is asked for. JPEG is decoded by `jpegdec`: `decodebin`
            on a Jetson may choose NVIDIA's decoder, whose frames come out all zero (opencv issue 20473).
        scaled: Scaled, of a Jetson's `nvvidconv`, or None for whole frames.

    Raises:
        StreamError: as `parse_source`.
    """
    scheme, place = parse_source(source)
    size = "width=(int)%d, height=(int)%d, framerate=(fraction)%d/1" % tuple(camera)
    begin = {
        "csi": "nvarguscamerasrc sensor-id=%s ! video/x-raw(memory:NVMM), %s, format=(string)NV12 ! " % (place, size),
        "v4l2": "v4l2src device=%s ! %s, %s ! %s"
        % ((place, "image/jpeg", size, "jpegdec ! ") if kind == "jpeg" else (place, "video/x-raw", size, "")),
        "rtsp": 'rtspsrc location="rtsp://%s" latency=200 ! decodebin ! ' % (place,),
        "file": 'filesrc location="%s" ! decodebin ! ' % (place,),
    }[scheme]
    return begin + _to_bgr(kind_of(scheme, kind), nvidia, flip, scaled)


def kind_of(scheme, kind):
    """What gives the frames: "csi", "raw" and "jpeg" of a USB camera, "decoded" of a file or stream."""
    return {"csi": "csi", "v4l2": kind}.get(scheme, "decoded")


def golden_pipeline(folder, count, kind, flip="none", scaled=None):
    """As `pipeline` on a Jetson, with JPEG files in the place of a camera or decoder that gives such frames.

    Args:
        folder: of 00000.jpg and so on, all of one size.
        count: files there.
        kind: as of `kind_of`.
    """
    begin = (
        'multifilesrc location="%s/%%05d.jpg" start-index=0 stop-index=%d '
        'caps="image/jpeg, framerate=(fraction)30/1" ! jpegdec ! ' % (folder, count - 1)
    )
    in_hardware = "nvvidconv ! video/x-raw(memory:NVMM), format=(string)NV12 ! "
    given = {"raw": "videoconvert ! video/x-raw, format=YUY2 ! ", "jpeg": ""}.get(kind, in_hardware)
    return begin + given + _to_bgr(kind, True, flip, scaled)


def _to_bgr(kind, nvidia, flip, scaled):
    """From frames of a kind to BGR in system memory, whole or scaled."""
    turn = " flip-method=%d" % FLIPS[flip] if kind == "csi" and FLIPS[flip] else ""
    if scaled is not None:
        return _scaled_to_bgr(kind, turn, scaled)
    in_hardware = kind == "csi" or (kind == "decoded" and nvidia)
    return ("nvvidconv%s ! %s ! " % (turn, _BGRX) if in_hardware else "") + "videoconvert ! " + _SINK


def _scaled_to_bgr(kind, turn, scaled):
    """`nvvidconv` takes frames from NVMM memory or puts them there, at least one of both: system memory on both sides
    is an error of its transform. Unless told, it takes the nearest pixel. Source: gstnvvconv.c of L4T 32.

    Black columns fill rows to whole four bytes, where GStreamer begins the next: OpenCV before 4.5.2 takes rows for
    packed (its pull request 19609). `Unpadded` takes them away again.
    """
    size = ", width=(int)%d, height=(int)%d" % (scaled.width, scaled.height)
    through = "" if kind == "csi" else "video/x-raw(memory:NVMM), format=BGRx%s ! nvvidconv ! " % (size,)
    padding = padding_of(scaled.width)
    return (
        "nvvidconv%s interpolation-method=%d ! %s" % (turn, scaled.method, through)
        + "%s%s ! videoconvert ! " % (_BGRX, "" if through else size)
        + ("video/x-raw, format=BGR ! videobox right=-%d ! " % (padding,) if padding else "")
        + _SINK
    )


def padding_of(width):
    """Columns that bring rows of BGR to whole four bytes."""
    return -width % 4


def has_gstreamer():
    """Whether this OpenCV was built with GStreamer: JetPack's and Debian's are, pip's is not."""
    return imports.gstreamer_of(imports.opencv()).startswith("YES")


def name_for_opencv(path):
    """The same name as text; of bytes that are no UTF-8, OpenCV does not complain, it dies.

    Raises:
        StreamError: such bytes.
    """
    try:  # without a locale, Python 3.6 holds every other byte as a surrogate
        return os.fsencode(path).decode("utf-8")
    except UnicodeError:
        raise StreamError("%r: OpenCV opens names in UTF-8 only; rename it" % (path,))


def _without_gstreamer(cv2, source, camera, kind):
    """OpenCV's own reader of a source, opened or not."""
    scheme, place = parse_source(source)
    if scheme == "csi":
        raise StreamError(
            "%s: this OpenCV (%s) was built without GStreamer, which CSI cameras need; JetPack's "
            "own OpenCV has it: python3 -m pip uninstall opencv-python; sudo apt install libopencv-python"
            % (source, cv2.__version__)
        )
    if scheme != "v4l2":
        return cv2.VideoCapture(name_for_opencv(place if scheme == "file" else source))
    capture = cv2.VideoCapture(int(place[len("/dev/video") :]), cv2.CAP_V4L2)
    if kind == "jpeg":  # before the size, which raw may not have
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*"MJPG"))
    for key, value in zip((cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS), camera):
        capture.set(key, value)
    return capture


def open_capture(source, camera, flip="none", accepted=None):
    """An opened `cv2.VideoCapture`, or what reads like one.

    GStreamer where OpenCV has it; else OpenCV's own readers, which know files, RTSP and USB
    cameras but not CSI.

    Args:
        accepted: frame_path.Accepted, which says how a Jetson's GStreamer may scale them; None: frames come whole.

    Raises:
        StreamError: no such file, a size that the camera has not, OpenCV without GStreamer for CSI, or
            nothing that opens.
    """
    cv2 = imports.opencv()
    scheme, place = parse_source(source)
    if scheme == "file" and not os.path.isfile(place):
        raise StreamError("%s: no such file" % (place,))
    if scheme == "v4l2" and not os.path.exists(place):
        raise StreamError("%s: no such device; is the camera plugged in? ls /dev/video*" % (place,))
    kinds = v4l2.kinds(place, camera) if scheme == "v4l2" else ["as it is"]
    if has_gstreamer():
        capture = _through_gstreamer(cv2, source, camera, flip, kinds, accepted)
    else:
        capture = _without_gstreamer(cv2, source, camera, kinds[0])
    if not capture.isOpened():
        capture.release()
        hint = advice(scheme)
        asked = ", and does it offer --camera %dx%d@%d?" % tuple(camera) if scheme in ("csi", "v4l2") else ""
        raise StreamError("%s: cannot be opened as a video%s%s" % (source, "; " + hint if hint else "", asked))
    return capture if flip == "none" or scheme == "csi" else Turned(capture, flip)


def _through_gstreamer(cv2, source, camera, flip, kinds, accepted):
    """The first kind that opens, scaled where that is accepted and opens; the last, not open, where none does."""
    nvidia, scheme = is_jetson(), parse_source(source)[0]

    def opened(kind, size):
        scaled = accepted.scaled(kind_of(scheme, kind), size, flip) if nvidia and accepted and size else None
        for how in [scaled, None] if scaled else [None]:
            text = pipeline(source, camera, nvidia, flip, kind, how)
            capture = cv2.VideoCapture(name_for_opencv(text), cv2.CAP_GSTREAMER)
            if capture.isOpened():
                break
        if how is None or not capture.isOpened():
            return capture
        accepted.scales(how)
        return Unpadded(capture, how.width)

    size = tuple(camera[:2]) if scheme in ("csi", "v4l2") else None
    for kind in kinds:
        capture = opened(kind, size)
        if capture.isOpened():
            break
    if size is None and capture.isOpened() and nvidia and accepted:  # the size is known only now
        size = frame_size(capture)
        if accepted.scaled(kind_of(scheme, kind), size, flip):
            capture.release()
            capture = opened(kind, size)
    return capture


def frame_size(capture):
    """(width, height) of the frames of an opened capture."""
    cv2 = imports.opencv()
    return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def advice(scheme):
    """What helps a camera that gives nothing; empty for other sources."""
    if scheme == "csi":  # a program that was killed leaves its session to the daemon
        return (
            "after 'Failed to create CaptureSession' run: sudo systemctl restart nvargus-daemon; is another "
            "program using it"
        )
    return "is another program using it" if scheme == "v4l2" else ""
