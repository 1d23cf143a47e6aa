"""Frames of an opened video or camera, each once; of a camera the newest."""

import threading
import time
from typing import Any, NamedTuple

from edgedistill_device.errors import StreamError
from edgedistill_device.inference.picture import Looked
from edgedistill_device.inference.video import advice, parse_source

LIVE = ("csi", "v4l2", "rtsp")  # frames that are not taken are gone
FRAME_TIMEOUT_S = 10.0

# pixels: (height, width, 3) uint8 in blue, green, red; read_s: time.perf_counter when it had been read.
Frame = NamedTuple("Frame", [("number", int), ("pixels", Any), ("read_s", float)])


class Frames(object):
    """Frames of one capture, each once: `for frame in frames`, then `dropped`.

    A file waits for us. A camera does not: a thread reads it all the time, the newest frame is
    handed out and the ones in between are counted as dropped. A frame belongs to who took it; its array
    is read into again once it was given back.
    """

    def __init__(self, source, capture, waiting=None, timeout_s=FRAME_TIMEOUT_S):
        """`waiting` is called before each frame, and twice a second while none comes; it may return True to stop."""
        self._source, self._capture = source, capture
        self._waiting, self._timeout_s = waiting or (lambda: False), timeout_s
        self._scheme = parse_source(source)[0]
        self.live, self._looked = self._scheme in LIVE, Looked()
        self._condition = threading.Condition()
        self._free, self._ready, self._ended = [], None, False
        self._stop, self._thread = False, None
        self.dropped = self._read = 0

    def __iter__(self):
        return self._of_camera() if self.live else self._of_file()

    def give_back(self, frame):
        """Let the array of a Frame be read into again."""
        with self._condition:
            self._free.append(frame.pixels)

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
        while not self._waiting():
            frame = self._next_read()
            if frame is None:
                if self._read == 0:
                    raise StreamError("%s: no frame could be decoded" % (self._source,))
                if self._looked.ever():
                    raise self._looked.refusal(self._source, "does another player show it?")
                return
            self._looked.at(frame.pixels)
            yield frame

    def _of_camera(self):
        self._thread = threading.Thread(target=self._follow, name="camera", daemon=True)
        self._thread.start()
        while True:
            frame = self._newest()
            if frame is None:
                return
            self._looked.at(frame.pixels)
            if self._looked.empty():
                raise self._refusal()
            yield frame

    def _refusal(self):
        return self._looked.refusal(
            self._source,
            {
                "csi": "is the lens covered? else: sudo systemctl restart nvargus-daemon",
                "v4l2": "is the lens covered? else try another size with --camera",
            }.get(self._scheme, "does another player show it?"),
        )

    def _newest(self):
        """The newest frame; None when asked to stop."""
        silent_s = 0.0
        with self._condition:
            while self._ready is None:
                if self._waiting():
                    return None
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
        return None if self._waiting() else frame

    def _hint(self):
        """For a camera that opened and gave nothing at all."""
        hint = advice(self._scheme) if self._read == 0 else ""
        return " " + hint + "?" if hint else ""

    def _follow(self):
        frame = self._next_read()
        while frame is not None:
            with self._condition:
                if self._ready is not None:
                    self.dropped += 1
                    self._free.append(self._ready.pixels)
                self._ready = frame
                self._condition.notify()
            frame = None if self._stop else self._next_read()
        with self._condition:
            self._ended = True
            self._condition.notify()

    def _next_read(self):
        """The next Frame of the capture, into an array that was given back when its shape fits, which OpenCV
        decides; None at the end."""
        with self._condition:
            array = self._free.pop() if self._free else None
        there, pixels = self._capture.read() if array is None else self._capture.read(array)
        if not there:
            return None
        self._read += 1
        return Frame(self._read - 1, pixels, time.perf_counter())
