"""The part of `doctor` that imports packages: whatever an import raises, or dies of, is an answer.

No package is imported at the top, as in doctor.py.
"""

import re
import signal
import subprocess
import sys

from edgedistill_device import imports
from edgedistill_device.board.identity import Check
from edgedistill_device.engine.runners import BACKENDS, DEFAULT, backend_named

# Says which one comes next, so that the last one said is the one that ended the process.
_TRY = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
for name in sys.argv[2:]:
    sys.__stdout__.write("\\n@import %s\\n" % name)
    sys.__stdout__.flush()
    try:
        __import__(name)
    except BaseException:
        pass
"""


def modules():
    """What doctor imports: numpy first, by which the others are judged."""
    names = ["numpy", "cv2"]
    for name in BACKENDS:
        names += [module for module in backend_named(name).packages if module not in names]
    return names


def deadly_imports(names=None):
    """{module: signal} of those whose import ends a process; they are blocked in this one.

    Args:
        names: None: of `modules`.

    numpy 1.19.5 dies of an illegal instruction on Jetson boards (numpy issue 18131).
    """
    signals, waiting = {}, list(names or modules())
    while waiting:
        child = subprocess.Popen(
            [sys.executable, "-c", _TRY, ",".join(["@"] + sorted(signals))] + waiting,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        output = child.communicate()[0].decode("ascii", "replace")
        tried = re.findall(r"^@import (\S+)$", output, re.MULTILINE)
        if child.returncode >= 0 or not tried:
            break
        signals[tried[-1]] = signal.Signals(-child.returncode).name
        waiting = waiting[len(tried) :]
    for name in signals:
        sys.modules[name] = None  # whatever imports it from here on fails and does not die
    return signals


def numpy_check(deadly):
    """What every verb but doctor needs; a broken one is blocked in this process."""
    if "numpy" in deadly:
        return Check(
            "numpy",
            False,
            True,
            "importing it dies of " + deadly["numpy"],
            "export OPENBLAS_CORETYPE=ARMV8 (numpy issue 18131), or use the system's: "
            "python3 -m pip uninstall numpy; " + imports.NUMPY_MEND,
        )
    version, why, mend = imports.version_of("numpy", deadly, imports.NUMPY_MEND)
    if version:
        return Check("numpy", True, True, "%s, %s" % (version, imports.place_of(sys.modules["numpy"])), "")
    sys.modules["numpy"] = None
    return Check("numpy", False, True, why, mend)


def backend_checks(packages, jetson, deadly, root="/"):
    """The rows of every backend: a Jetson needs the first one, another computer one of those that work."""
    checks, usable = [], False
    for name in BACKENDS:
        required = jetson if name == DEFAULT else not jetson and not usable
        rows = backend_named(name).checks(packages, required, deadly, root)
        usable = usable or any(check.ok for check in rows[:1])
        checks += rows
    return checks


def opencv_checks(deadly=()):
    """OpenCV, and whether it has GStreamer: CSI cameras need it; nothing else does."""
    if "cv2" in deadly:
        why = "importing it dies of " + deadly["cv2"]
        return [Check("OpenCV", False, True, why, imports.OPENCV_MEND), Check("GStreamer", False, False, why, "")]
    try:
        cv2 = imports.opencv()
        gstreamer = imports.gstreamer_of(cv2)
    except Exception as error:  # OpenCV without getBuildInformation is no OpenCV
        why, mend = imports.why_and_mend(error, imports.OPENCV_MEND)
        return [Check("OpenCV", False, True, why, mend), Check("GStreamer", False, False, why, "")]
    has = gstreamer.startswith("YES")
    summary = "%s, %s, GStreamer %s" % (cv2.__version__, imports.place_of(cv2), gstreamer)
    return [
        Check("OpenCV", True, True, summary.encode("ascii", "backslashreplace").decode("ascii"), ""),
        Check(
            "GStreamer",
            has,
            False,
            "OpenCV was built with%s" % (" it: " + gstreamer if has else "out it"),
            ""
            if has
            else "needed for CSI cameras and --overlay rtp:// only; JetPack's OpenCV has it: "
            "python3 -m pip uninstall opencv-python; sudo apt install libopencv-python",
        ),
    ]
