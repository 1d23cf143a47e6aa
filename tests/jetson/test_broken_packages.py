"""Packages that are absent, broken or too old, planted for a child process: one line with what helps."""

import json
import os
import subprocess
import sys

import pytest

import fakes
from bundles import ROOT, SOURCES, make_bundle, pretend_verified
from edgedistill_device import imports
from forked import forked

pytestmark = pytest.mark.slow

WHOLE = ("numpy", "argparse", "ctypes", "json", "subprocess", "zipfile")  # what is imported as it is

NUMPY_2 = "AttributeError: _ARRAY_API not found\n"  # numpy 2 writes pages around it, to stderr
BREAKS = {
    "absent": "raise ImportError('No module named this')",
    "another numpy": "import sys; sys.stderr.write('A module\\n' * 20 + %r); "
    "raise ImportError('numpy.core.multiarray failed to import')" % NUMPY_2,
    "another numpy, as an attribute": "raise AttributeError('_ARRAY_API not found')",
    "another numpy, at run time": "raise RuntimeError('module compiled against API version 0xe but this "
    "version of numpy is 0xb')",
    "another numpy, of the system": "raise SystemError('<built-in>') from ImportError('numpy.core.multiarray "
    "failed to import')",
    "another numpy, only said": "import sys; sys.stderr.write('ImportError: numpy.core.multiarray failed to "
    "import\\n'); __version__ = '9.9'",
    "a library": "raise OSError('libnvinfer.so.8: cannot open shared object file')",
    "something": "raise ValueError('over\\ntwo lines')",
    "nothing said": "raise RuntimeError",
    "an exit": "raise SystemExit(3)",
    "syntax": "this is no Python",
}
FEW = ("absent", "another numpy", "something")
OTHER_NUMPY = (
    "python3 -m pip uninstall numpy; sudo apt-get install --reinstall python3-numpy"
    if sys.version_info < (3, 7)
    else "python3 -m pip install --upgrade 'numpy<2'"
)


@pytest.fixture(autouse=True)
def forked_children(monkeypatch):
    """Processes that are started by sys.executable have numpy; OpenCV and the others they find for themselves."""
    monkeypatch.setattr(sys, "executable", forked(sys.executable, WHOLE, SOURCES))


@pytest.fixture
def bundle(tmp_path):
    return pretend_verified(make_bundle(tmp_path / "bundle"))


def plant(folder, module, text):
    """A package whose import runs `text`; the folder, for PYTHONPATH."""
    package = os.path.join(str(folder), *module.split("."))
    os.makedirs(package)
    with open(os.path.join(package, "__init__.py"), "w") as file:
        file.write(text + "\n")
    return str(folder)


def jetson(folder, path, *words, **changes):
    """(code, stdout's lines, stderr's lines) of the verb as the board runs it."""
    environment = dict(os.environ, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1", LC_ALL="C", **changes)
    process = subprocess.Popen(
        [sys.executable, "-m", "edgedistill_device"] + list(words),
        cwd=str(folder),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    out, error = process.communicate()
    assert "Traceback" not in error
    return process.returncode, out.splitlines(), error.splitlines()


def rows_of_doctor(path):
    code, out, error = jetson(ROOT, path, "doctor", "--root", path)
    assert (code, error) == (0, [])
    return {row["name"]: row for row in json.loads(out[-1])["checks"]}


@pytest.mark.parametrize(
    ("module", "row", "mend", "how"),
    [("cv2", "OpenCV", "sudo apt install libopencv-python", how) for how in sorted(BREAKS)]
    + [("onnxruntime", "ONNX Runtime", "python3 -m pip install onnxruntime", how) for how in FEW],
)
def test_a_broken_package_is_one_line_and_what_helps(tmp_path, bundle, module, row, mend, how):
    path = plant(tmp_path / "fake", module, BREAKS[how])
    code, out, error = jetson(bundle, path, "classify", "--backend", "onnxruntime", "golden/images")
    assert code == 1
    assert len(error) == 1, error
    assert error[0].startswith("edgedistill_device classify: the Python module %s cannot be imported (" % module)
    mend = OTHER_NUMPY if "numpy" in how else mend
    assert mend in error[0]
    if "numpy" in how:
        assert "it was built for another numpy than the " in error[0]
    if how in FEW:
        found = rows_of_doctor(path)[row]
        assert not found["ok"]
        assert mend in found["advice"]
        assert found["found"] in error[0]


@pytest.mark.parametrize("how", FEW)
def test_a_broken_numpy_is_one_line(tmp_path, bundle, fresh_children, how):
    path = plant(tmp_path / "fake", "numpy", BREAKS[how])
    code, out, error = jetson(bundle, path, "classify", "--backend", "onnxruntime", "golden/images")
    assert (code, len(error)) == (1, 1), error
    assert "sudo apt install python3-numpy; python3 -m edgedistill_device.doctor says more" in error[0]
    row = rows_of_doctor(path)["numpy"]
    assert not row["ok"]
    assert row["advice"].endswith("sudo apt install python3-numpy")


def test_numpys_page_of_advice_is_cut_to_its_cause(tmp_path, bundle, fresh_children):
    page = "\\n\\nIMPORTANT: PLEASE READ THIS\\n\\nOriginal error was: libcblas.so.3: cannot open\\n"
    path = plant(tmp_path / "fake", "numpy", "raise ImportError('%s')" % page)
    _, _, error = jetson(bundle, path, "verify")
    assert error == [
        "edgedistill_device: libcblas.so.3: cannot open; on the board: python3 -m pip uninstall numpy; sudo "
        "apt install python3-numpy; python3 -m edgedistill_device.doctor says more"
    ]


@pytest.mark.parametrize("how", FEW)
def test_a_broken_tensorrt_is_one_line(tmp_path, bundle, how):
    path = fakes.write_modules(tmp_path / "fake", "8.2", sm=72)
    with open(os.path.join(path, "tensorrt", "__init__.py"), "w") as file:
        file.write(BREAKS[how] + "\n")
    code, out, error = jetson(bundle, path, "build", XDG_CACHE_HOME=str(tmp_path))
    assert code == 1
    assert error[-1].startswith("edgedistill_device build: the Python module tensorrt cannot be imported (")
    assert all(line.startswith("build: ") for line in error[:-1])
    row = rows_of_doctor(path)["TensorRT"]
    assert not row["ok"]
    if "numpy" in how:
        assert OTHER_NUMPY in error[-1]
        assert OTHER_NUMPY in row["advice"]


def test_no_python_3_6_is_told_to_take_numpy_from_pip():
    """The newest numpy that pip has for it ends Python with an illegal instruction on a Nano."""
    for minor in range(6, 15):
        mend = imports.mend_of_another_numpy((3, minor, 9, "final", 0))
        assert ("pip install" in mend) == (minor > 6), minor
        assert ("apt-get install --reinstall python3-numpy" in mend) == (minor == 6), minor


@pytest.mark.parametrize("how", sorted(BREAKS) + ["at init", "without a device", "half"])
def test_any_broken_pycuda_gives_way_to_ctypes(tmp_path, how, cudart_path):
    text = {
        "at init": "class Error(Exception): pass\ndef init(): raise Error('cuInit failed')",
        "without a device": "class Error(Exception): pass\ndef init(): pass\ndef Device(n): raise RuntimeError('none')",
        "half": "x = 1",
    }.get(how) or BREAKS[how]
    path = plant(tmp_path / "fake", "pycuda.driver", text)
    code = (
        "from edgedistill_device.engine import cuda_memory\ncuda_memory.LIBRARIES = (%r,)\n"
        "print(cuda_memory.find_device().facts()['by'])"
    )
    for name, said in ((cudart_path, "ctypes"), ("libnone.so", "neither pycuda nor libcudart was found")):
        process = subprocess.Popen(
            [sys.executable, "-c", code % (name,)],
            cwd=ROOT,
            env=dict(os.environ, PYTHONPATH=path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        out, error = process.communicate()
        lines = (out + error).splitlines()
        assert said in lines[-1]
        assert name != cudart_path or lines == ["ctypes"]
    assert "(pycuda: " in lines[-1]


@pytest.mark.parametrize("module", ["cv2", "pycuda.driver"])
def test_a_package_that_ends_the_process_is_said_by_doctor(tmp_path, module):
    path = plant(tmp_path / "fake", module, "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    rows = rows_of_doctor(path)
    assert rows["numpy"]["ok"]
    assert module != "cv2" or rows["OpenCV"]["found"] == "importing it dies of SIGILL"


OLD_OPENCV = """
__version__ = %r
CAP_V4L2 = 200
class VideoCapture:
    def __init__(self, *words):
        raise TypeError("an integer is required (got type str)")
def getBuildInformation():
    return "    GStreamer:                   NO"
"""


@pytest.mark.parametrize("version", ["3.2.0", None])
def test_an_opencv_below_4_is_refused_wherever_it_is_used(tmp_path, bundle, version):
    path = plant(tmp_path / "fake", "cv2", OLD_OPENCV % (version,) if version else "")
    line = "OpenCV %s at %s" % (version or "of no version", path)
    for source in ("csi://0", "golden/images", "rtsp://host/video") if version else ("csi://0",):
        code, out, error = jetson(bundle, path, "classify", "--backend", "onnxruntime", source)
        assert (code, len(error)) == (1, 1), error
        assert line in error[0]
        assert (
            "expected 4 or newer; sudo apt remove python3-opencv; install JetPack's own: sudo apt install "
            "libopencv-python" in error[0]
        )
    rows = rows_of_doctor(path)
    assert line in rows["OpenCV"]["found"]
    assert "libopencv-python" in rows["OpenCV"]["advice"]
    assert not rows["GStreamer"]["ok"]


def test_doctor_names_opencvs_version_place_and_gstreamer(tmp_path):
    text = "__version__ = '4.1.1'\ndef getBuildInformation():\n    return '  GStreamer:      YES (1.14.5)\\n'"
    path = plant(tmp_path / "fake", "cv2", text)
    rows = rows_of_doctor(path)
    place = os.path.join(path, "cv2", "__init__.py")
    assert rows["OpenCV"]["found"] == "4.1.1, %s, GStreamer YES (1.14.5)" % (place,)
    assert rows["GStreamer"]["found"] == "OpenCV was built with it: YES (1.14.5)"


@pytest.mark.parametrize("version", ["8.0.1.6", "7.1.3.0"])
def test_a_tensorrt_before_8_2_is_refused(tmp_path, bundle, version):
    path = fakes.write_modules(tmp_path / "fake", "8.2", sm=72)
    with open(os.path.join(path, "tensorrt", "__init__.py"), "a") as file:
        file.write("__version__ = %r\ndel ProfilingVerbosity\n" % (version,))
    code, out, error = jetson(bundle, path, "build", XDG_CACHE_HOME=str(tmp_path))
    assert code == 1
    assert error[-1] == (
        "edgedistill_device build: TensorRT %s: expected 8.2 or newer; JetPack 4.6.1 (L4T 32.7.1) and newer bring "
        "TensorRT 8.2.1: flash one of them" % (version,)
    )
    row = rows_of_doctor(path)["TensorRT"]
    assert (row["ok"], row["advice"]) == (False, error[-1].split("newer; ", 1)[1])
    assert row["found"] == version + ", expected 8.2 or newer"
