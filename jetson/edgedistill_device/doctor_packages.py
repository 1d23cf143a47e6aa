"""The part of `doctor` that imports packages: whatever an import raises, or dies of, is an answer.

Only Python's own library is imported at the top, as in doctor.py.
"""

import re
import signal
import subprocess
import sys

from edgedistill_device import imports
from edgedistill_device.board import identity
from edgedistill_device.board.identity import Check

MODULES = ("numpy", "tensorrt", "cv2", "onnxruntime", "pycuda.driver")
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


def deadly_imports(names=MODULES):
    """{module: signal} of those whose import ends a process; they are blocked in this one.

    numpy 1.19.5 dies of an illegal instruction on Jetson boards (numpy issue 18131).
    """
    found, waiting = {}, list(names)
    while waiting:
        child = subprocess.Popen(
            [sys.executable, "-c", _TRY, ",".join(["@"] + sorted(found))] + waiting,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        said = child.communicate()[0].decode("ascii", "replace")
        tried = re.findall(r"^@import (\S+)$", said, re.MULTILINE)
        if child.returncode >= 0 or not tried:
            break
        found[tried[-1]] = signal.Signals(-child.returncode).name
        waiting = waiting[len(tried) :]
    for name in found:
        sys.modules[name] = None  # whatever imports it from here on fails and does not die
    return found


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
    found, why, mend = _imported("numpy", deadly, imports.NUMPY_MEND)
    if found:
        return Check("numpy", True, True, found, "")
    sys.modules["numpy"] = None
    return Check("numpy", False, True, why, mend)


def tensorrt_check(packages, required, deadly=()):
    """TensorRT's Python module; on a Jetson nothing runs without it."""
    libraries = version_of(packages, r"libnvinfer\d+$")
    version, why, mend = _imported("tensorrt", deadly, "")
    if version:
        found = version + (", libraries %s" % (libraries,) if libraries else "")
        if imports.tensorrt_is_too_old(version):
            found += ", expected %d.%d or newer" % imports.OLDEST_TENSORRT
            return Check("TensorRT", False, required, found, imports.TENSORRT_MEND)
        return Check("TensorRT", True, required, found, "")
    if mend:
        return Check("TensorRT", False, required, why, mend)
    if libraries and "python3-libnvinfer" in packages:
        return Check(
            "TensorRT",
            False,
            required,
            "libraries %s, but %s" % (libraries, why),
            "this Python (%s) does not see them: use /usr/bin/python3" % (sys.executable,),
        )
    return Check(
        "TensorRT",
        False,
        required,
        why,
        "sudo apt install tensorrt python3-libnvinfer"
        if required
        else "only --backend onnxruntime works on this computer",
    )


def cuda_check(packages, required, root="/"):
    """The GPU as this code reaches it: pycuda, or ctypes on libcudart."""
    toolkit = version_of(packages, r"cuda-(cudart|toolkit)-\d+-\d+$")
    try:
        from edgedistill_device.engine import cuda_memory

        facts = cuda_memory.find_device().facts()
    except Exception as error:  # numpy that is missing, a driver that fails: all the same to the reader
        closed = identity.closed_devices(root)
        found = imports.line_of(error) + ("; %s cannot be opened" % ", ".join(closed) if closed else "")
        if closed or "group" in found:
            advice = identity.GROUPS_MEND
        elif not required:
            advice = ""
        elif not toolkit:
            advice = "is JetPack's CUDA installed? sudo apt install nvidia-cuda"
        else:
            advice = "export LD_LIBRARY_PATH=/usr/local/cuda/lib64; " + identity.GROUPS_MEND
        return Check("CUDA", False, required, found, advice)
    return Check("CUDA", True, required, "%(cuda)s, sm_%(sm)d, memory by %(by)s" % facts, "")


def onnxruntime_check(required, deadly=()):
    """The stand-in: needed where there is no TensorRT and none is expected."""
    version, why, mend = _imported("onnxruntime", deadly, "python3 -m pip install onnxruntime")
    return Check("ONNX Runtime", bool(version), required, version or why, mend if required else "")


def opencv_checks(deadly=()):
    """OpenCV, and whether it has GStreamer: CSI cameras need it; nothing else does."""
    if "cv2" in deadly:
        why = "importing it dies of " + deadly["cv2"]
        return [Check("OpenCV", False, True, why, imports.OPENCV_MEND), Check("GStreamer", False, False, why, "")]
    try:
        cv2 = imports.opencv()
        said = imports.gstreamer_of(cv2)
    except Exception as error:  # OpenCV without getBuildInformation is no OpenCV
        why, mend = _why_and_mend(error, imports.OPENCV_MEND)
        return [Check("OpenCV", False, True, why, mend), Check("GStreamer", False, False, why, "")]
    has = said.startswith("YES")
    found = "%s, %s, GStreamer %s" % (cv2.__version__, imports.place_of(cv2), said)
    return [
        Check("OpenCV", True, True, found.encode("ascii", "backslashreplace").decode("ascii"), ""),
        Check(
            "GStreamer",
            has,
            False,
            "OpenCV was built with%s" % (" it: " + said if has else "out it"),
            ""
            if has
            else "needed for CSI cameras and --overlay rtp:// only; JetPack's OpenCV has it: "
            "python3 -m pip uninstall opencv-python; sudo apt install libopencv-python",
        ),
    ]


def version_of(packages, pattern):
    """Version of the first package of that name, without Debian's revision, or None."""
    names = sorted(name for name in packages if re.match(pattern, name))
    return packages[names[0]].split("-")[0] if names else None


def _imported(name, deadly, mend):
    """(version, None, "") or (None, why not, mend)."""
    if name in deadly:
        return None, "importing it dies of " + deadly[name], mend
    try:
        return str(imports.load(name, mend).__version__), None, ""
    except Exception as error:
        return (None,) + _why_and_mend(error, mend)


def _why_and_mend(error, mend):
    if isinstance(error, imports.PackageError):
        return error.why, error.mend
    return imports.line_of(error), mend
