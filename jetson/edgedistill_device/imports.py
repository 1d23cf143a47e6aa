"""Packages that the board brings: each is imported here, and one that is absent, broken or too old is one line.

A native module that was built for another numpy raises ImportError, AttributeError, RuntimeError or
SystemError, depending on both versions, and lets numpy write up to 60 lines to stderr.
"""

import contextlib
import importlib
import io
import re
import sys

from edgedistill_device.errors import BackendError

OLDEST_OPENCV = 4  # JetPack 4 brings 4.1.1. Ubuntu 18.04's own 3.2 has no GStreamer and opens no camera by API
TENSORRT_MODULES = ("tensorrt", "tensorrt_rtx")
OLDEST_TENSORRT = (8, 2)  # 8.0 has no ProfilingVerbosity.DETAILED and no engine inspector
TENSORRT_MEND = "JetPack 4.6.1 (L4T 32.7.1) and newer bring TensorRT 8.2.1: flash one of them"
NUMPY_MEND = "sudo apt install python3-numpy"
OPENCV_MEND = "install JetPack's own: sudo apt install libopencv-python"
# blakeblackshear/frigate#23582: absent from an AGX Orin with L4T R39.2 and from the image, so TensorRT is not imported.
NVDLA_MEND = (
    "L4T R39 (JetPack 7.2) has no libnvdla_compiler.so any more, and this TensorRT is of an older JetPack: in a "
    "container take an image made for JetPack 7.2"
)


_NUMPY_REFUSED = re.compile(r"\S+ failed to import|module compiled against API version.*|_ARRAY_API not found")


class PackageError(BackendError):
    """Why a package is of no use (`why`) and what helps (`mend`)."""

    def __init__(self, text, why, mend):
        self.why, self.mend = why, mend
        BackendError.__init__(self, "%s; %s" % (text % (why,), mend))


def load(name, mend):
    """The imported module.

    Args:
        name: with dots, as for `import`.
        mend: what to do where another numpy is not the cause.

    Raises:
        PackageError: its import raised something, whatever that was.
    """
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            module = importlib.import_module(name)
        broken = _NUMPY_REFUSED.search(stderr.getvalue())
        if broken:  # seen with Python 3.6 and ONNX Runtime 1.10: said, and not raised
            sys.modules.pop(name, None)
            raise ImportError(broken.group())
    except (Exception, SystemExit) as error:
        why, mend = _cause(error, stderr.getvalue(), mend)
        raise PackageError("the Python module " + name + " cannot be imported (%s)", why, mend)
    sys.stderr.write(stderr.getvalue())
    return module


def version_of(name, deadly, mend):
    """What doctor says of a package: (its version, None, ""), or (None, why not, what helps).

    Args:
        name: of the module.
        deadly: {module: signal} of those whose import ends a process.
        mend: as for `load`.
    """
    if name in deadly:
        return None, "importing it dies of " + deadly[name], mend
    try:
        return str(load(name, mend).__version__), None, ""
    except Exception as error:
        return (None,) + why_and_mend(error, mend)


def why_and_mend(error, mend):
    """(why a package is of no use, what helps); `mend`: where the error does not say."""
    if isinstance(error, PackageError):
        return error.why, error.mend
    return line_of(error), mend


def opencv():
    """cv2, of OpenCV 4 or newer.

    Raises:
        PackageError: absent, broken or older.
    """
    cv2 = sys.modules.get("cv2") or load("cv2", OPENCV_MEND)
    version = str(getattr(cv2, "__version__", "of no version"))  # pip can leave an empty folder
    number = re.match(r"\d+", version)
    if number is None or int(number.group()) < OLDEST_OPENCV:
        raise PackageError(
            "%s",
            "OpenCV %s at %s: expected %d or newer" % (version, place_of(cv2), OLDEST_OPENCV),
            "sudo apt remove python3-opencv; " + OPENCV_MEND,
        )
    return cv2


def tensorrt(name="tensorrt"):
    """TensorRT's module, or `tensorrt_rtx`, whose versions are its own.

    Raises:
        PackageError: absent, broken or older than OLDEST_TENSORRT.
    """
    trt = load(name, "on JetPack use the system's python3 and: sudo apt install python3-libnvinfer")
    version = str(getattr(trt, "__version__", ""))
    if name == "tensorrt" and tensorrt_is_too_old(version):
        raise PackageError("%s", "TensorRT %s: expected %d.%d or newer" % ((version,) + OLDEST_TENSORRT), TENSORRT_MEND)
    return trt


def tensorrt_is_too_old(version):
    """`8.0.1.6` is."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return bool(numbers) and tuple(int(n) for n in numbers.groups()) < OLDEST_TENSORRT


def gstreamer_of(cv2):
    """`YES (1.14.5)` or `NO`: whether OpenCV was built with GStreamer, in its own words."""
    built = re.search(r"GStreamer:\s+(.+)", cv2.getBuildInformation())
    return built.group(1).strip() if built else "NO"


def place_of(module):
    """Where it was imported from, for messages."""
    places = [getattr(module, "__file__", None)] + list(getattr(module, "__path__", ()))
    return next((str(place) for place in places if place), "an unknown place")


def line_of(error):
    """An exception as one line of ASCII; numpy's page of advice is cut down to its cause."""
    text = str(error)
    original = re.search(r"Original error was:\s*(.+)", text)
    line = " ".join((original.group(1) if original else text).split())[:200]
    if not line or not isinstance(error, (ImportError, OSError, BackendError)):
        line = type(error).__name__ + (": " + line if line else "")
    return line.encode("ascii", "backslashreplace").decode("ascii")


def _cause(error, stderr_text, mend):
    """(why, mend)."""
    words = " ".join([str(error), str(error.__cause__), stderr_text])
    if mend == NUMPY_MEND and ("Original error was" in words or not isinstance(error, ImportError)):
        return line_of(error), "python3 -m pip uninstall numpy; " + mend  # there, and broken
    if "libnvdla_compiler.so" in words:
        return line_of(error), NVDLA_MEND
    numpy = sys.modules.get("numpy")
    if numpy is None or not re.search(r"numpy|_ARRAY_API|multiarray", words):
        return line_of(error), mend
    version = str(getattr(numpy, "__version__", "of no version"))
    why = "it was built for another numpy than the %s at %s: %s" % (version, place_of(numpy), line_of(error))
    return why, mend_of_another_numpy(sys.version_info)


def mend_of_another_numpy(python):
    """What helps where a package was built for another numpy.

    Below Python 3.7 the newest numpy of pip is 1.19.5, which dies of an illegal instruction on a Nano (numpy#18131).

    Args:
        python: version as in `sys.version_info`.
    """
    if tuple(python[:2]) < (3, 7):
        return "python3 -m pip uninstall numpy; sudo apt-get install --reinstall python3-numpy"
    return "python3 -m pip install --upgrade 'numpy<2'"
