"""What is left to the CPU between a camera or a file and the network's input, before and after.

    .venv36/bin/python benchmarks/frame_path.py       the board's Python; .venv/bin/python does too

Camera: a 1280x720 frame as nvvidconv hands it over, in BGRx. Before, it comes whole; after, scaled to what training
resizes to (1x) or to twice that (2x): `frames` decides on a board which of them the network bears. A real GStreamer
turns it to BGR, our Preparer does the rest. nvvidconv itself has no part in it, neither its work, which is not the
CPU's, nor its copy out of NVMM memory: no board was there.
JPEG: a 4032x3024 file from its bytes to the input, decoded whole and at a quarter (2x) or an eighth (1x) of its sides.
Overlap: frames a second of a stream one after the other and in `overlapped`, around a network that only waits, a
stand-in for a GPU; the one figure here that is wall time.

Compared is the least CPU time of TURNS turns, their order drawn by lot: a busy machine only adds.
"""

import os
import random
import resource
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "jetson"), os.path.join(ROOT, "calibration")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from edgedistill_device.decode import decode_image  # noqa: E402
from edgedistill_device.inference.frame_path import least_of  # noqa: E402
from edgedistill_device.inference.video import padding_of  # noqa: E402
from edgedistill_device.overlap import overlapped  # noqa: E402
from edgedistill_device.preprocess import Preparer, resized_size  # noqa: E402
from edgedistill_device.preprocess_spec import Preprocess  # noqa: E402

SPEC = Preprocess(224, 256, "area", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAMERA, PHOTO = (720, 1280), (3024, 4032)
TURNS, FRAMES, GST_FRAMES, STREAM = 3, 20, 60, 30
NETWORK_S = 0.008
GST_LAUNCH = shutil.which("gst-launch-1.0")


def main():
    cv2.setNumThreads(1)
    print(f"Python {sys.version.split()[0]}, OpenCV {cv2.__version__}, numpy {np.__version__}")
    camera()
    jpeg()
    overlap()


def texture(size):
    """(height, width, 3) uint8 with coarse and fine detail, as a photograph has."""
    rng = np.random.RandomState(0)
    coarse = rng.randint(0, 256, (size[0] // 60, size[1] // 60, 3)).astype(np.uint8)
    fine = rng.randint(-6, 7, size + (3,))
    return np.clip(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC) + fine, 0, 255).astype(np.uint8)


def camera():
    height, width = resized_size(CAMERA, SPEC)
    sizes = {"whole": CAMERA, "2x": (2 * height, 2 * width), "1x": (height, width)}
    frame = texture(CAMERA)
    ways = {name: Camera(cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)) for name, size in sizes.items()}
    without = "" if GST_LAUNCH else " (without GStreamer's part: there is no gst-launch-1.0)"
    report(f"camera, 1280x720 to 224 px{without}", least({name: way.cpu_ms for name, way in ways.items()}))
    report("  of that in Python", least({name: way.python_ms for name, way in ways.items()}))


class Camera:
    def __init__(self, frame):
        self._frame, self._preparer = frame, Preparer(SPEC, bgr=True)
        self._padded = cv2.copyMakeBorder(frame, 0, 0, 0, padding_of(frame.shape[1]), cv2.BORDER_CONSTANT)

    def cpu_ms(self):
        return self.python_ms() + (gstreamer_ms(self._frame) if GST_LAUNCH else 0.0)

    def python_ms(self):
        """OpenCV's copy out of the sink, and the preparation."""
        taken, start = np.empty_like(self._padded), time.process_time()
        for _ in range(FRAMES):
            np.copyto(taken, self._padded)
            self._preparer(taken[:, : self._frame.shape[1]])
        return (time.process_time() - start) / FRAMES * 1e3


def gstreamer_ms(frame):
    """CPU time of a frame of that size from BGRx to the sink's BGR."""
    (height, width), padding = frame.shape[:2], padding_of(frame.shape[1])
    caps = f"video/x-raw,format=BGRx,width={width},height={height}"
    given = f"videotestsrc pattern=black num-buffers={GST_FRAMES} ! {caps} ! "
    box = f"videobox right=-{padding} ! " if padding else ""

    def cpu_s(text):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.check_call([GST_LAUNCH, "-q", *(text + "fakesink").split(" ")])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    to_bgr = "videoconvert ! video/x-raw,format=BGR ! " + box
    return (cpu_s(given + to_bgr) - cpu_s(given)) / GST_FRAMES * 1e3


def jpeg():
    content, preparer = cv2.imencode(".jpg", texture(PHOTO))[1].tobytes(), Preparer(SPEC)

    def decoded(times):
        wanted = None if times is None else least_of(SPEC, times)

        def cpu_ms():
            start = time.process_time()
            preparer(decode_image(content, "photo.jpg", least=wanted))
            return (time.process_time() - start) * 1e3

        return cpu_ms

    ways = {"whole": decoded(None), "2x": decoded(2), "1x": decoded(1)}
    report(f"JPEG, 4032x3024 ({len(content) / 1e6:.1f} MB) to 224 px", least(ways))


def overlap():
    preparer, frame = Preparer(SPEC, bgr=True), texture(CAMERA)

    def wait(buffer):
        time.sleep(NETWORK_S)

    def in_turn():
        start = time.perf_counter()
        for _ in range(STREAM):
            wait(preparer(frame))
        return (time.perf_counter() - start) / STREAM * 1e3

    def at_once():
        buffers = [preparer.batch.copy() for _ in range(3)]
        start = time.perf_counter()
        overlapped(range(STREAM), lambda _, buffer: preparer(frame, buffer), wait, lambda *_: None, buffers)
        return (time.perf_counter() - start) / STREAM * 1e3

    what = f"a whole frame and a network that waits {NETWORK_S * 1e3:.0f} ms (simulated)"
    report(what, least({"in turn": in_turn, "overlapped": at_once}), "ms of wall time")


def least(ways):
    """{name: least of TURNS turns}, each turn in an order of its own."""
    taken, order = {name: [] for name in ways}, random.Random(0)
    for _ in range(TURNS):
        for name in order.sample(sorted(ways), len(ways)):
            taken[name].append(ways[name]())
    return {name: min(taken[name]) for name in ways}


def report(what, times_ms, unit="ms of CPU"):
    (name, first), *others = times_ms.items()
    ratios = [f"{other} {ms:.2f} ({first / ms:.1f} times less)" for other, ms in others]
    print(f"{what}: {name} {first:.2f}, {', '.join(ratios)} {unit}", flush=True)


if __name__ == "__main__":
    main()
