"""Images, videos or cameras in, one JSON line a frame out, a summary line at the end."""

import itertools
import os
import sys
import threading
import time
from typing import Any, NamedTuple, Optional, Tuple

from edgedistill_device.decision_spec import PLAIN, Decision
from edgedistill_device.decode import read_image
from edgedistill_device.errors import ImageError, StreamError
from edgedistill_device.inference.answers import answer_of, shown_of
from edgedistill_device.inference.frames import Frames
from edgedistill_device.inference.overlay import Overlay
from edgedistill_device.inference.smoothing import Smoother
from edgedistill_device.inference.video import is_stream, open_capture, parse_source
from edgedistill_device.json_text import json_text
from edgedistill_device.overlap import overlapped
from edgedistill_device.preprocess import Preparer

BUFFERS = 3  # inputs in flight, as in bench: one prepared, one waiting, one in the network
LIVE_BUFFERS = 2  # of a camera none waits: it would only grow old


class Asked(NamedTuple):
    """What `classify` is asked for.

    Attributes:
        top: classes in a line.
        camera: (width_px, height_px, frames a second) of a CSI or USB camera.
        flip: of picture.FLIPS, for videos and cameras.
        overlay: video file or rtp://HOST:PORT for frames with their class drawn in, which then stay whole; or None.
        accepted: frame_path.Accepted: how pictures may be made small; None: all stay whole.
        decision: decide.Decision of the precision that is executed; of an embedding its gallery.Gallery.
        smoothing: smoothing.Rule for the frames of a video or camera; None: each stands alone.
    """

    top: int = 5
    camera: Tuple[int, int, int] = (1280, 720, 30)
    flip: str = "none"
    overlay: Optional[str] = None
    accepted: Any = None
    decision: Decision = PLAIN
    smoothing: Any = None


def image_files(path):
    """A file, or all files of a folder in name order.

    Raises:
        ImageError: nothing there.
    """
    if os.path.isdir(path):
        files = [os.path.join(path, name) for name in sorted(os.listdir(path))]
        files = [name for name in files if os.path.isfile(name)]
        if not files:
            raise ImageError("%s: no files in this folder" % (path,))
        return files
    if not os.path.isfile(path):
        camera = "; a camera is v4l2://%s" % (path,) if path.startswith("/dev/video") else ""
        raise ImageError("%s: no such file or folder%s" % (path, camera))
    return [path]


def classify(sources, manifest, runner, asked, progress, out=None):
    """Classify every image or frame of every source, a JSON line each, until the end or a signal.

    Args:
        sources: image files, folders, videos, or `csi://`, `v4l2://`, `rtsp://`, `file://`.
        runner: entered, on this thread.
        asked: Asked.
        progress: Progress.
        out: where the lines go; None is stdout.

    Raises:
        ImageError, StreamError: one line; what was classified before has been printed.
    """
    out, overlay = out or sys.stdout, asked.overlay
    if overlay is not None and (len(sources) > 1 or not is_stream(sources[0])):
        raise StreamError("--overlay %s: expected one video or camera, got %s" % (overlay, " ".join(sources)))
    if overlay and os.path.realpath(overlay) == os.path.realpath(parse_source(sources[0])[1]):
        raise StreamError("--overlay %s: that is the source, name another file" % (overlay,))
    listed = [source if is_stream(source) else image_files(source) for source in sources]
    for source in listed:
        if progress.stopped:
            return
        if isinstance(source, list):
            _images(source, manifest, runner, asked, progress, out)
        else:
            _stream(source, manifest, runner, asked, progress, out)


def _images(paths, manifest, runner, asked, progress, out):
    preparer, least = Preparer(manifest.preprocess), asked.accepted.least() if asked.accepted else None

    def prepare(path, buffer):
        preparer(read_image(path, manifest.preprocess.sixteen_bit, least), buffer)

    def write(path, logits, _):
        said = answer_of(logits, manifest, asked.top, asked.decision)
        _say(out, dict({"path": path}, **said))
        progress.one(shown_of(said))

    wanted = itertools.takewhile(lambda _: not progress.stopped, paths)
    overlapped(wanted, prepare, _infer(runner), write, _buffers(preparer, BUFFERS))


def _stream(source, manifest, runner, asked, progress, out):
    capture = open_capture(source, asked.camera, asked.flip, None if asked.overlay else asked.accepted)
    preparer, ending, before = Preparer(manifest.preprocess, bgr=True), threading.Event(), progress.dropped
    smooth = Smoother(asked.smoothing, manifest.classes, asked.decision.temperature) if asked.smoothing else None
    frames, drawing = Frames(source, capture, lambda: progress.tick() or ending.is_set()), None

    def prepare(frame, buffer):
        preparer(frame.pixels, buffer)
        if drawing is None:
            frames.give_back(frame)

    def write(frame, logits, busy_ms):
        said = answer_of(logits, manifest, asked.top, asked.decision)
        if smooth is not None:
            said["smoothed"] = smooth(said, logits)
        latency_ms = (time.perf_counter() - frame.read_s) * 1e3
        line = {"source": source, "frame": frame.number, "ms": round(busy_ms, 3), "latency_ms": round(latency_ms, 3)}
        progress.dropped = before + frames.dropped
        _say(out, dict(line, **said))
        if drawing is not None:
            drawing.write(frame.pixels, said)
            frames.give_back(frame)
        progress.one(shown_of(said), latency_ms)

    try:
        drawing = Overlay(asked.overlay, capture) if asked.overlay is not None else None
        buffers = _buffers(preparer, LIVE_BUFFERS if frames.live else BUFFERS)
        overlapped(frames, prepare, _infer(runner), write, buffers, ending)
    finally:
        frames.close()
        if drawing is not None:
            drawing.close()


def _infer(runner):
    return lambda buffer: runner.infer(buffer)[0]


def _buffers(preparer, number):
    return [preparer.batch.copy() for _ in range(number)]


def _say(out, line):
    out.write(json_text(line, sort_keys=False) + "\n")
    out.flush()  # a reader behind a pipe sees each frame when it is done
