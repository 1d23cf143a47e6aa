"""What `frames` accepted of making pictures small: work/frame_path.json, version 1.

tried_with   bundle, engine, OpenCV, GStreamer and L4T: the verdicts hold for these and for no others
verdicts     "jpeg": a verdict on JPEG files; "frames": a verdict for each kind, size and flip of frames

A verdict is {"accepted": how, or null, "why": why not, "candidates": each way that was tried, as parity.compared}.
"""

import json
import math
import os

from edgedistill_device import imports
from edgedistill_device.board.telemetry import machine
from edgedistill_device.errors import EngineError
from edgedistill_device.inference.video import Scaled
from edgedistill_device.json_text import json_text
from edgedistill_device.manifest import NAME, WORK, sha256_of
from edgedistill_device.preprocess import resized_size

VERSION = 1
FILE = "frame_path.json"
_AGAIN = "pictures stay whole until it is run again: python3 -m edgedistill_device frames"


def frame_key(kind, size, flip):
    """The name of a verdict on frames.

    Args:
        kind: of video.kind_of.
        size: (width, height) as the camera or decoder gives them.
        flip: of FLIPS; one that happens after reading matters too, it turns what is needed.
    """
    return "%s %dx%d %s" % ((kind,) + tuple(size) + (flip,))


def least_of(spec, times):
    """For decode.read_image: `times` what a picture is resized to, on each side."""
    return lambda picture: tuple(int(math.ceil(times * side)) for side in resized_size(picture, spec))


class Accepted(object):
    """How `classify` may make pictures small; without verdicts, not at all.

    Attributes:
        used: lines on what was made small since, each once.
    """

    def __init__(self, spec, verdicts=None):
        verdicts = verdicts or {}
        self._spec, self._frames = spec, verdicts.get("frames", {})
        self._jpeg = (verdicts.get("jpeg") or {}).get("accepted")
        self.used = []

    def least(self):
        """`least` of decode.read_image for image files, or None: decode them whole."""
        if self._jpeg is None:
            return None
        self._use("JPEG files are decoded to no less than %g times the size that is needed" % self._jpeg["times"])
        return least_of(self._spec, self._jpeg["times"])

    def scaled(self, kind, size, flip):
        """Scaled for frames of video.kind_of a kind, (width, height) and flip, or None: take them whole."""
        how = self._frames.get(frame_key(kind, size, flip), {}).get("accepted")
        return None if how is None else Scaled(how["width"], how["height"], how["method"])

    def scales(self, scaled):
        """Frames do come so."""
        self._use("frames are scaled to %dx%d by nvvidconv" % (scaled.width, scaled.height))

    def _use(self, line):
        if line not in self.used:
            self.used.append(line)


def tried_with(bundle, runner):
    """What a verdict holds for: JSON-able."""
    cv2 = imports.opencv()
    return {
        "manifest_sha256": sha256_of(os.path.join(str(bundle), NAME)),
        "backend": runner.backend,
        "engine_sha256": runner.engine_sha256,
        "opencv": cv2.__version__,
        "gstreamer": imports.gstreamer_of(cv2),
        "l4t": machine()["l4t"],
    }


def read_verdicts(bundle, runner):
    """(verdicts, why not): {"jpeg", "frames"} of this engine with these libraries, or None; "" where none were kept."""
    path = os.path.join(str(bundle), WORK, FILE)
    try:
        with open(path, encoding="utf-8") as file:
            stored = json.load(file)
    except (IOError, OSError, ValueError, RecursionError):
        return None, ""
    if not isinstance(stored, dict) or stored.get("version") != VERSION:
        return None, "%s is not of version %d; %s" % (path, VERSION, _AGAIN)
    here, there = tried_with(bundle, runner), stored.get("tried_with")
    other = [key for key in sorted(here) if not isinstance(there, dict) or there.get(key) != here[key]]
    if other:
        return None, "%s was tried with another %s; %s" % (path, ", ".join(other), _AGAIN)
    return stored["verdicts"], ""


def write_verdicts(bundle, runner, verdicts):
    """Keep them beside older ones that still hold; beside, then renamed.

    Args:
        verdicts: {"jpeg": verdict} or {"frames": {frame_key: verdict}}, or both.

    Raises:
        EngineError: the disk refuses.
    """
    before = read_verdicts(bundle, runner)[0] or {"jpeg": None, "frames": {}}
    kept = dict(before, **verdicts)
    kept["frames"] = dict(before["frames"], **verdicts.get("frames", {}))
    path = os.path.join(str(bundle), WORK, FILE)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".tmp", "w", encoding="utf-8") as file:
            record = {"version": VERSION, "tried_with": tried_with(bundle, runner), "verdicts": kept}
            file.write(json_text(record, indent=1))
        os.replace(path + ".tmp", path)
    except (IOError, OSError) as error:
        raise EngineError("%s cannot be written: %s" % (path, error.strerror))
