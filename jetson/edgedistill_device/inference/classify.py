"""Images, videos or cameras in, one JSON line a frame out, a summary line at the end."""

import os
import signal
import sys
import time

import numpy as np

from edgedistill_device.decode import read_image
from edgedistill_device.errors import BackendError, ImageError, StreamError
from edgedistill_device.inference.overlay import Overlay
from edgedistill_device.inference.video import Frames, is_stream, open_capture, parse_source
from edgedistill_device.json_text import json_text
from edgedistill_device.preprocess import Preparer
from edgedistill_device.text import plain

STATS_PERIOD_S = 1.0


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


def top_classes(logits, classes, top):
    """The most likely classes of one image.

    Args:
        logits: (classes,) float.
        classes: their names.

    Returns:
        [{"class", "probability"}, ...], most likely first.

    Raises:
        BackendError: a logit is NaN or infinite, so that no class is likely at all.
    """
    logits = np.asarray(logits, np.float64)  # so that differences of the largest floats are numbers too
    if not np.isfinite(logits).all():
        raise BackendError(
            "the network gives NaN or infinity here, which is no class; run: python3 -m edgedistill_device verify"
        )
    shifted = np.exp(logits - logits.max())
    probabilities = shifted / shifted.sum()
    # The stable sort by its old name: numpy 1.13, JetPack 4's, has no "stable".
    order = np.argsort(-probabilities, kind="mergesort")[:top]
    return [{"class": classes[i], "probability": float(probabilities[i])} for i in order]


class Progress(object):
    """Counts what was done, answers SIGTERM, SIGINT and SIGHUP, and writes `--stats` once a second."""

    def __init__(self, stats=None, clock=time.perf_counter):
        self.stopped, self.frames, self.dropped = False, 0, 0
        self._stats, self._clock = stats, clock
        self._start = self._written = clock()
        self._frames_written, self._top, self._complained = 0, None, False
        if stats is not None and not self._write(0.0):
            raise StreamError("--stats %s: cannot be written" % (stats,))

    def begin(self):
        """The clock starts; from now on SIGTERM, SIGINT and a lost terminal let the frame in hand be
        finished. Under nohup a lost terminal stays without effect."""
        self._start = self._written = self._clock()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self.stop)

    def stop(self, *_):
        self.stopped = True

    def one(self, top):
        self.frames, self._top = self.frames + 1, top
        self.tick()

    def tick(self):
        """Write the stats when it is time; True when asked to stop."""
        now = self._clock()
        if self._stats is not None and now - self._written >= STATS_PERIOD_S:
            fps = (self.frames - self._frames_written) / (now - self._written)
            self._written, self._frames_written = now, self.frames
            if not self._write(fps) and not self._complained:
                sys.stderr.write(
                    plain("edgedistill_device classify: --stats %s: cannot be written" % (self._stats,)) + "\n"
                )
                self._complained = True
        return self.stopped

    def summary(self, provenance):
        """JSON-able totals; fps counts from `begin`."""
        seconds = max(self._clock() - self._start, 1e-9)
        if self._stats is not None:
            self._write(self.frames / seconds)
        return {
            "verb": "classify",
            "frames": self.frames,
            "dropped": self.dropped,
            "seconds": round(seconds, 3),
            "fps": round(self.frames / seconds, 2),
            "stopped": self.stopped,
            "provenance": provenance,
        }

    def _write(self, fps):
        """Beside, then renamed: a reader never sees half a file. False when that fails."""
        content = {
            "pid": os.getpid(),
            "unix_time": round(time.time(), 3),
            "frames": self.frames,
            "dropped": self.dropped,
            "fps": round(fps, 2),
            "top": self._top,
        }
        try:
            with open(self._stats + ".tmp", "w", encoding="utf-8") as file:
                file.write(json_text(content, sort_keys=False))
            os.replace(self._stats + ".tmp", self._stats)
        except (IOError, OSError):
            return False
        return True


def classify(sources, manifest, runner, top, camera, overlay, progress, out=None, flip="none"):
    """Classify every image or frame of every source, a JSON line each, until the end or a signal.

    Args:
        sources: image files, folders, videos, or `csi://`, `v4l2://`, `rtsp://`, `file://`.
        runner: entered.
        top: classes in a line.
        camera: (width_px, height_px, frames a second).
        overlay: video file or rtp://HOST:PORT for frames with their class drawn in, or None.
        progress: Progress.
        out: where the lines go; None is stdout.
        flip: of picture.FLIPS, for videos and cameras.

    Raises:
        ImageError, StreamError: one line; what was classified before has been printed.
    """
    out = out or sys.stdout
    if overlay is not None and (len(sources) > 1 or not is_stream(sources[0])):
        raise StreamError("--overlay %s: expected one video or camera, got %s" % (overlay, " ".join(sources)))
    if overlay and os.path.realpath(overlay) == os.path.realpath(parse_source(sources[0])[1]):
        raise StreamError("--overlay %s: that is the source, name another file" % (overlay,))
    listed = [source if is_stream(source) else image_files(source) for source in sources]
    for source in listed:
        if progress.stopped:
            return
        if isinstance(source, list):
            _images(source, manifest, runner, top, progress, out)
        else:
            _stream(source, manifest, runner, top, (camera, flip), overlay, progress, out)


def _images(paths, manifest, runner, top, progress, out):
    prepare = Preparer(manifest.preprocess)
    for path in paths:
        if progress.stopped:
            return
        image = read_image(path, manifest.preprocess.sixteen_bit)
        top_answers = top_classes(runner.infer(prepare(image))[0], manifest.classes, top)
        _say(out, {"path": path, "top": top_answers})
        progress.one(top_answers)


def _stream(source, manifest, runner, top, asked, overlay, progress, out):
    """`asked`: (camera, flip)."""
    capture = open_capture(source, *asked)
    prepare = Preparer(manifest.preprocess, bgr=True)
    frames, before = Frames(source, capture, progress.tick), progress.dropped
    drawing = None
    try:
        drawing = Overlay(overlay, capture) if overlay is not None else None
        for number, frame in frames:
            start = time.perf_counter()
            top_answers = top_classes(runner.infer(prepare(frame))[0], manifest.classes, top)
            taken_ms = round((time.perf_counter() - start) * 1e3, 3)
            progress.dropped = before + frames.dropped
            _say(out, {"source": source, "frame": number, "ms": taken_ms, "top": top_answers})
            if drawing is not None:
                drawing.write(frame, top_answers[0])
            progress.one(top_answers)
    finally:
        frames.close()
        if drawing is not None:
            drawing.close()


def _say(out, line):
    out.write(json_text(line, sort_keys=False) + "\n")
    out.flush()  # a reader behind a pipe sees each frame when it is done
