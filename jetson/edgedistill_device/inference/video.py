"""Cameras and videos: what to open for `csi://0`, `v4l2:///dev/video0`, `rtsp://`, `file://` or a path.

The words are those of jetson-inference. Frames come out of OpenCV, in blue, green, red.
"""

import os
import re
import threading

from edgedistill_device import imports
from edgedistill_device.board.identity import is_jetson
from edgedistill_device.errors import StreamError
from edgedistill_device.inference import v4l2
from edgedistill_device.inference.picture import FLIPS, Looked, Turned

SCHEMES = ("csi", "v4l2", "rtsp", "file")
LIVE = ("csi", "v4l2", "rtsp")  # frames that are not taken are gone
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".ts", ".mpg")
FRAME_TIMEOUT_S = 10.0
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


def pipeline(source, camera, nvidia, flip="none", kind="jpeg"):
    """The GStreamer pipeline that ends in BGR frames for `cv2.VideoCapture`.

    Args:
        source: as for `parse_source`.
        camera: (width_px, height_px, frames a second) asked of a CSI or USB camera.
        nvidia: True on a Jetson, where decoders and the CSI camera hand over NVMM memory that
            `nvvidconv` fetches.
        flip: of FLIPS, for a CSI camera; what other sources give is turned afterwards.
        kind: "jpeg" or "raw", what a USB camera is asked for. JPEG is decoded by `jpegdec`: `decodebin`
            on a Jetson may choose NVIDIA's decoder, whose frames come out all zero (opencv issue 20473).

    Raises:
        StreamError: as `parse_source`.
    """
    scheme, place = parse_source(source)
    fetch = "nvvidconv ! video/x-raw, format=BGRx ! " if nvidia else ""
    size = "width=(int)%d, height=(int)%d, framerate=(fraction)%d/1" % tuple(camera)
    turn = "nvvidconv flip-method=%d" % FLIPS[flip] if FLIPS[flip] else "nvvidconv"
    begin = {
        "csi": "nvarguscamerasrc sensor-id=%s ! video/x-raw(memory:NVMM), %s, format=(string)NV12 ! "
        "%s ! video/x-raw, format=BGRx ! " % (place, size, turn),
        "v4l2": "v4l2src device=%s ! %s, %s ! %s"
        % ((place, "image/jpeg", size, "jpegdec ! ") if kind == "jpeg" else (place, "video/x-raw", size, "")),
        "rtsp": 'rtspsrc location="rtsp://%s" latency=200 ! decodebin ! %s' % (place, fetch),
        "file": 'filesrc location="%s" ! decodebin ! %s' % (place, fetch),
    }[scheme]
    return begin + "videoconvert ! " + _SINK


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


def open_capture(source, camera, flip="none"):
    """An opened `cv2.VideoCapture`, or what reads like one.

    GStreamer where OpenCV has it; else OpenCV's own readers, which know files, RTSP and USB
    cameras but not CSI.

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
    nvidia = is_jetson()
    kinds = v4l2.kinds(place, camera) if scheme == "v4l2" else ["as it is"]
    if has_gstreamer():
        for kind in kinds:
            text = pipeline(source, camera, nvidia, flip, kind)
            capture = cv2.VideoCapture(name_for_opencv(text), cv2.CAP_GSTREAMER)
            if capture.isOpened():
                break
    else:
        capture = _without_gstreamer(cv2, source, camera, kinds[0])
    if not capture.isOpened():
        capture.release()
        hint = _advice(scheme)
        asked = ", and does it offer --camera %dx%d@%d?" % tuple(camera) if scheme in ("csi", "v4l2") else ""
        raise StreamError("%s: cannot be opened as a video%s%s" % (source, "; " + hint if hint else "", asked))
    return capture if flip == "none" or scheme == "csi" else Turned(capture, flip)


def _advice(scheme):
    """What helps a camera that gives nothing; empty for other sources."""
    if scheme == "csi":  # a program that was killed leaves its session to the daemon
        return (
            "after 'Failed to create CaptureSession' run: sudo systemctl restart nvargus-daemon; is another "
            "program using it"
        )
    return "is another program using it" if scheme == "v4l2" else ""


class Frames(object):
    """Frames of one capture, each once: `for number, frame in frames`, then `dropped`.

    A file waits for us. A camera does not: a thread reads it all the time, the newest frame is
    handed out and the ones in between are counted as dropped. Three arrays take turns; a frame
    belongs to the caller until the next one is asked for.
    """

    def __init__(self, source, capture, waiting=None, timeout_s=FRAME_TIMEOUT_S):
        """`waiting` is called twice a second while no frame comes; it may return True to stop."""
        self._source, self._capture = source, capture
        self._waiting, self._timeout_s = waiting or (lambda: False), timeout_s
        self._scheme = parse_source(source)[0]
        self._live, self._looked = self._scheme in LIVE, Looked()
        self._condition = threading.Condition()
        self._free, self._ready, self._ended = [None, None], None, False
        self._stop, self._thread = False, None
        self.dropped = self._read = 0

    def __iter__(self):
        return self._of_camera() if self._live else self._of_file()

    def close(self):
        """Stop reading and give the device back."""
        with self._condition:
            self._stop = True
        if self._thread is not None:
            self._thread.join(2)
            if self._thread.is_alive():  # stuck in the driver: releasing under it would crash
                return
        self._capture.release()

    def _of_file(self):
        number, frame = 0, None
        while not self._waiting():
            there, frame = _read(self._capture, frame)
            if not there:
                if number == 0:
                    raise StreamError("%s: no frame could be decoded" % (self._source,))
                if self._looked.ever():
                    raise self._looked.refusal(self._source, "does another player show it?")
                return
            self._looked.at(frame)
            yield number, frame
            number += 1

    def _of_camera(self):
        self._thread = threading.Thread(target=self._follow, name="camera", daemon=True)
        self._thread.start()
        mine = None
        while True:
            number, frame = self._next(mine)
            if frame is None:
                return
            self._looked.at(frame)
            if self._looked.empty():
                raise self._refusal()
            yield number, frame
            mine = frame

    def _refusal(self):
        return self._looked.refusal(
            self._source,
            {
                "csi": "is the lens covered? else: sudo systemctl restart nvargus-daemon",
                "v4l2": "is the lens covered? else try another size with --camera",
            }.get(self._scheme, "does another player show it?"),
        )

    def _next(self, mine):
        """The newest frame, giving back the one before; (0, None) when asked to stop."""
        silent_s = 0.0
        with self._condition:
            if mine is not None:
                self._free.append(mine)
            while self._ready is None:
                if self._waiting():
                    return 0, None
                if self._ended and self._looked.ever():
                    raise self._refusal()
                if self._ended:
                    raise StreamError(
                        "%s: gives no more frames after %d; was it unplugged?%s"
                        % (self._source, self._read, self._hint())
                    )
                if silent_s >= self._timeout_s:
                    raise StreamError("%s: no frame for %.0f s%s" % (self._source, silent_s, self._hint()))
                if not self._condition.wait(0.5):
                    silent_s += 0.5
            frame, self._ready = self._ready, None
        if self._waiting():
            return 0, None
        return frame

    def _hint(self):
        """For a camera that opened and gave nothing at all."""
        hint = _advice(self._scheme) if self._read == 0 else ""
        return " " + hint + "?" if hint else ""

    def _follow(self):
        while not self._stop:
            with self._condition:
                array = self._free.pop() if self._free else None
            there, frame = _read(self._capture, array)
            with self._condition:
                if not there:
                    self._ended = True
                else:
                    if self._ready is not None:
                        self.dropped += 1
                        self._free.append(self._ready[1])
                    self._ready = (self._read, frame)
                    self._read += 1
                self._condition.notify()
            if not there:
                return


def _read(capture, array):
    """(there, frame); into `array` when its shape fits, which OpenCV decides."""
    return capture.read() if array is None else capture.read(array)
