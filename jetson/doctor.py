"""What this board lacks: every check that the other verbs rely on, each with what to do.

Only Python's own library is imported here, so that it also answers where numpy is missing or ends
the process: python3 -m jetson.doctor [ROOT]
"""

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys

from jetson import power, telemetry
from jetson.board import (
    BASE_MIB,
    SMALLEST_WORKSPACE_MIB,
    Check,
    board_name,
    memory_mib,
    memory_warnings,
)
from jetson.json_text import json_text
from jetson.sampler import said_by

OLDEST_PYTHON = (3, 6)
DISK_MIB = 512  # some bundles of tens of MiB, their engines, and a build
_DPKG = ["dpkg-query", "-W", "-f=${db:Status-Abbrev} ${Package} ${Version}\\n"]


def checks(folder=".", root="/"):
    """Everything that was looked at, in reading order.

    Args:
        folder: whose disk is looked at; the nearest one that exists counts.
        root: where /etc, /proc and /sys hang.
    """
    release = telemetry.text_of(os.path.join(root, "etc/nv_tegra_release"))
    packages = packages_from_text(said_by(_DPKG)) if root == "/" else {}
    board = board_name()
    jetson = bool(release)
    numpy = numpy_check()  # before anything that imports it
    tensorrt = tensorrt_check(packages, jetson)
    found = [
        jetpack_check(release, packages, board),
        tensorrt,
        cuda_check(packages, jetson),
        onnxruntime_check(required=not jetson and not tensorrt.ok),
        python_check(sys.version_info),
        numpy,
        _module("OpenCV", "cv2", "sudo apt install python3-opencv"),
        gstreamer_check(),
        openssl_check(said_by(["openssl", "version"])),
        disk_check(folder),
    ]
    found += memory_checks(
        memory_mib(), telemetry.text_of(os.path.join(root, "proc/swaps")), jetson
    )
    return found + power.checks(root, board)


def report(found):
    """JSON-able, as the contract has it: ok says that nothing required is missing."""
    rows = [dict(check._asdict()) for check in found]
    return {"verb": "doctor", "ok": all(check.ok or not check.required for check in found),
            "checks": rows}  # fmt: skip


def show(found):
    """A table for people, and the mends below."""
    for check in found:
        mark = "ok" if check.ok else "MISSING" if check.required else "note"
        print("%-8s %-14s %s" % (mark, check.name, check.found))
    for check in found:
        if check.advice:
            print("%s: %s" % (check.name, check.advice))


def packages_from_text(text):
    """{package: version} of the installed ones, from `dpkg -l` or dpkg-query in the same columns."""
    rows = [line.split() for line in text.splitlines()]
    return {row[1].split(":")[0]: row[2] for row in rows if len(row) > 2 and row[0] == "ii"}


def swaps_from_text(text):
    """(MiB on disk, MiB compressed in memory) of /proc/swaps."""
    disk = compressed = 0
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) >= 3 and re.match(r"[0-9]{1,15}\Z", words[2]):
            if words[0].startswith("/dev/zram"):
                compressed += int(words[2])
            else:
                disk += int(words[2])
    return disk // 1024, compressed // 1024


def jetpack_check(release, packages, board):
    """L4T from its own file, JetPack where a package says it (4.x boards are flashed without one)."""
    l4t = telemetry.l4t_release_from_text(release) or \
        packages.get("nvidia-l4t-core", "").split("-")[0]  # fmt: skip
    if not l4t:
        return Check("JetPack", True, False, "%s, not a Jetson" % (board,), "")
    named = packages.get("nvidia-jetpack") or packages.get("nvidia-tensorrt", "")
    jetpack = re.split(r"[-+]", named)[0]
    return Check("JetPack", True, False, "%s, L4T %s%s" % (
        board, l4t, ", JetPack " + jetpack if jetpack else ""), "")  # fmt: skip


def tensorrt_check(packages, required):
    """TensorRT's Python module; on a Jetson nothing runs without it."""
    libraries = _version_of(packages, r"libnvinfer\d+$")
    version, why = _imported("tensorrt")
    if version:
        found = version + (", libraries %s" % (libraries,) if libraries else "")
        return Check("TensorRT", True, required, found, "")
    if libraries and "python3-libnvinfer" in packages:
        return Check("TensorRT", False, required, "libraries %s, but %s" % (libraries, why),
                     "this Python (%s) does not see them: use /usr/bin/python3" % (sys.executable,))  # fmt: skip
    return Check(
        "TensorRT", False, required, why,
        "sudo apt install tensorrt python3-libnvinfer" if required else
        "only --backend onnxruntime works on this computer",
    )  # fmt: skip


def cuda_check(packages, required):
    """The GPU as this code reaches it: pycuda, or ctypes on libcudart."""
    toolkit = _version_of(packages, r"cuda-(cudart|toolkit)-\d+-\d+$")
    try:
        from jetson import cuda_memory

        facts = cuda_memory.find_device().facts()
    except (
        Exception
    ) as error:  # numpy that is missing, a driver that fails: all the same to the reader
        advice = "" if not required else (
            "is JetPack's CUDA installed? sudo apt install nvidia-cuda" if not toolkit else
            "export LD_LIBRARY_PATH=/usr/local/cuda/lib64, and try as a member of the group video")  # fmt: skip
        return Check("CUDA", False, required, _one_line(error), advice)
    return Check("CUDA", True, required, "%(cuda)s, sm_%(sm)d, memory by %(by)s" % facts, "")


def onnxruntime_check(required):
    """The stand-in: needed where there is no TensorRT and none is expected."""
    version, why = _imported("onnxruntime")
    advice = "python3 -m pip install onnxruntime" if required and not version else ""
    return Check("ONNX Runtime", bool(version), required, version or why, advice)


def python_check(version):
    """Of sys.version_info."""
    found = "%d.%d.%d" % tuple(version[:3])
    if tuple(version[:2]) >= OLDEST_PYTHON:
        return Check("Python", True, True, found, "")
    return Check("Python", False, True, found, "Python %d.%d or newer is needed" % OLDEST_PYTHON)


def numpy_check():
    """numpy 1.19.5 dies of an illegal instruction on Jetson boards (numpy issue 18131): ask a child."""
    ended = _signal_of([sys.executable, "-c", "import numpy"])
    if ended is None:
        return _module("numpy", "numpy", "sudo apt install python3-numpy")
    sys.modules["numpy"] = None  # whatever imports it from here on fails and does not die
    return Check("numpy", False, True, "importing it dies of " + ended,
                 "export OPENBLAS_CORETYPE=ARMV8 (numpy issue 18131), or use the system's: "
                 "python3 -m pip uninstall numpy; sudo apt install python3-numpy")  # fmt: skip


def gstreamer_check():
    """CSI cameras need an OpenCV with GStreamer; nothing else does."""
    try:
        import cv2

        built = re.search(r"GStreamer:\s+(.+)", cv2.getBuildInformation())
    except Exception as error:
        return Check("GStreamer", False, False, _one_line(error), "")
    said = built.group(1).strip() if built else "NO"
    if said.startswith("YES"):
        return Check("GStreamer", True, False, "OpenCV was built with it: " + said, "")
    return Check("GStreamer", False, False, "OpenCV was built without it",
                 "needed for CSI cameras and --overlay rtp:// only; JetPack's OpenCV has it: "
                 "python3 -m pip uninstall opencv-python")  # fmt: skip


def openssl_check(text):
    """Of what `openssl version` says: signatures are checked with it."""
    match = re.match(r"(?:OpenSSL|LibreSSL) \S+", text)
    if match:
        return Check("openssl", True, True, match.group(), "")
    return Check("openssl", False, True, "no openssl", "sudo apt install openssl")


def disk_check(folder):
    """Room where the releases lie."""
    place = os.path.abspath(folder)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free >> 20
    advice = (
        ""
        if free >= DISK_MIB
        else "expected %d MiB; remove something, or: python3 -m jetson prune" % DISK_MIB
    )
    return Check("disk", not advice, True, "%d MiB free at %s" % (free, place), advice)


def memory_checks(memory, swaps, required):
    """Memory that a build starts with, and swap that gives the rest of the system room meanwhile."""
    need = BASE_MIB + SMALLEST_WORKSPACE_MIB
    enough = memory["available"] >= need
    disk, compressed = swaps_from_text(swaps)
    lines = memory_warnings(memory)
    return [
        Check("memory", enough, required, "%d MiB available" % memory["available"], "" if enough else
              "a build needs %d MiB; stop the desktop: sudo systemctl isolate multi-user.target" % need),
        Check("swap", not lines, False, "%d MiB on disk, %d MiB zram" % (disk, compressed),
              "; ".join(lines)),
    ]  # fmt: skip


def _module(name, module, mend):
    version, why = _imported(module)
    return Check(name, bool(version), True, version or why, "" if version else mend)


def _imported(name):
    """(version, why not); whatever an import throws is the answer."""
    try:
        return str(importlib.import_module(name).__version__), None
    except Exception as error:
        return None, _one_line(error)


def _signal_of(command):
    """The name of the signal that a command dies of, or None."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    code = process.wait()
    return signal.Signals(-code).name if code < 0 else None


def _version_of(packages, pattern):
    """Version of the first package of that name, without Debian's revision."""
    names = sorted(name for name in packages if re.match(pattern, name))
    return packages[names[0]].split("-")[0] if names else None


def _one_line(error):
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return said.encode("ascii", "backslashreplace").decode("ascii")


def main(argv):
    """Without the other verbs, which import numpy."""
    found = checks(argv[0] if argv else ".")
    show(found)
    print(json_text(report(found)))


if __name__ == "__main__":
    main(sys.argv[1:])
