"""What the board's code calls of CUDA against NVIDIA's own header and library, and of pycuda against its source.

CUDA 13's header comes with PyTorch and TensorRT for RTX; prototypes of 11.8 and 12.6 are in tests/jetson/stubs. CUDA
10.2, JetPack 4's, is on no package index: that its functions are 11.8's was not seen in a header of NVIDIA's own.
"""

import ast
import ctypes
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fakes
from edgedistill_device.engine import cuda_memory
from optional_tools import lacking, needs

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "jetson" / "edgedistill_device" / "engine" / "cuda_memory.py"
FAKE = ROOT / "tests" / "jetson" / "fake_cudart.c"
STUBS = ROOT / "tests" / "jetson" / "stubs"
_SPEC = importlib.util.spec_from_file_location("make_cuda_stubs", STUBS / "make_cuda_stubs.py")
make_cuda_stubs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make_cuda_stubs)
# What the compiler needs of the compiler's own part of CUDA, a package that is not installed here.
HOST_DEFINES = """
#define __host__
#define __device__
#define __device_builtin__
#define __cudart_builtin__
#define __device_builtin_surface_type__
#define __device_builtin_texture_type__
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __align__(n)
#define CUDARTAPI
#define CUDARTAPI_CDECL
#define CUDA_CB
"""


@pytest.fixture(scope="module")
def cuda():
    """The folder of NVIDIA's wheel, with include/ and lib/."""
    found = [Path(folder) / "nvidia" / "cu13" for folder in sys.path]
    folder = next((folder for folder in found if (folder / "include" / "cuda_runtime_api.h").is_file()), None)
    return folder or lacking("CUDA's header", "make install")


def declarations(header):
    """{function: [the C type of each argument]} of a header, those that are called."""
    lines = make_cuda_stubs.prototypes(header.read_text(encoding="utf-8"))
    return {name: line.split("(", 1)[1].removesuffix(");").split(", ") for name, line in lines.items()}


def kind(word):
    """The ctypes of an argument such as `enum cudaMemcpyKind kind`."""
    if "*" in word or re.match(r"cuda(Stream|Event|Graph|GraphExec)_t\b", word):
        return ctypes.c_void_p
    plain = {"size_t": ctypes.c_size_t, "unsigned int": ctypes.c_uint, "unsigned long long": ctypes.c_ulonglong}
    return next((plain[name] for name in plain if word.startswith(name)), ctypes.c_int)


def test_the_fakes_functions_have_nvidias_types(cuda, tmp_path):
    """And the compiler does find one that has not: the graph's of CUDA 10 in CUDA 13."""
    needs("cc", "gcc")
    (tmp_path / "crt").mkdir()
    (tmp_path / "crt" / "host_defines.h").write_text(HOST_DEFINES)
    command = ["cc", "-fsyntax-only", "-DREAL_HEADER", f"-I{tmp_path}", f"-I{cuda / 'include'}", str(FAKE)]
    done = subprocess.run([*command, "-DCUDART_MAJOR=13"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*command, "-DCUDART_MAJOR=10"], capture_output=True, text=True)
    assert "conflicting types for" in done.stderr
    assert "cudaGraphInstantiate" in done.stderr


def test_nvidias_library_has_every_function_that_is_called(cuda):
    library = ctypes.CDLL(str(next((cuda / "lib").glob("libcudart.so.*"))))
    assert len(make_cuda_stubs.called()) >= 20
    assert {name for name in make_cuda_stubs.called() if not hasattr(library, name)} == set()


@pytest.fixture(scope="module", params=["cudart_11_8.h", "cudart_12_6.h", "13"])
def declared(request, cuda):
    header = cuda / "include" / "cuda_runtime_api.h" if request.param == "13" else STUBS / request.param
    return declarations(header)


def test_every_call_has_the_arguments_that_each_release_declares(declared, tmp_path):
    """A whole life of a device: ctypes itself compares each argument with the declared type."""
    needs("cc", "gcc")
    path = tmp_path / "libcudart.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-Wl,-Bsymbolic", "-o", path, FAKE], check=True)
    library = ctypes.CDLL(str(path))
    assert make_cuda_stubs.called() - set(declared) == set()
    for name, words in declared.items():
        types = [kind(word) for word in words]
        if name == "cudaGraphInstantiate" and len(words) == 3:  # CUDA 12: the third is a number, and is given as a 0
            types = [*types[:2], ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        getattr(library, name).argtypes = types
    device = cuda_memory.CudartDevice(library)
    assert device.facts()["sm"] == 72
    assert device.shares_memory() is True
    device.open()
    host, address = device.pinned((2, 3), np.float32), device.allocate(24)
    mapped, there = device.mapped((2, 3), np.float32)
    host[...] = 7
    device.copy_in(address, host)()
    device.copy_out(mapped, address)()
    start, end = device.event(), device.event()
    device.record(start)
    device.captured(lambda: library.record(WORK) or True)()
    device.record(end)
    device.synchronize()
    assert device.elapsed_ms(start, end) == 1.5
    assert (mapped == 7).all()
    assert there == mapped.ctypes.data
    assert DONE == [1]
    DONE.clear()
    device.close()
    assert library.held_now() == 0


DONE: list[int] = []
WORK = ctypes.CFUNCTYPE(None)(lambda: DONE.append(1))


def test_an_argument_of_another_type_is_found(declared):
    """The check above can fail: a size where a pointer is declared."""
    function = ctypes.CDLL(None).memcpy
    function.argtypes = [kind(word) for word in declared["cudaMemcpyAsync"]]
    with pytest.raises(ctypes.ArgumentError):
        function(1.5, None, 0, 1, None)


def names_of_pycuda():
    """{class, or "driver": its names} that pycuda's wrapper defines, of those that are used here: stubs/pycuda.txt."""
    lines = (STUBS / "pycuda.txt").read_text(encoding="utf-8").splitlines()
    return {line.split(":")[0]: set(line.split(":")[1].split()) for line in lines if not line.startswith("#")}


def used_of_pycuda():
    """{variable of PycudaDevice: attributes that are asked of it}."""
    tree = ast.parse(SOURCE.read_text())
    device = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "PycudaDevice")
    found: dict[str, set[str]] = {}
    for node in ast.walk(device):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value).removeprefix("self._")
            found.setdefault(owner, set()).add(node.attr)
    return found


def test_what_is_asked_of_pycuda_is_in_its_source_and_the_fake_has_no_more():
    known, used = names_of_pycuda(), used_of_pycuda()
    owners = {
        "driver": "driver",
        "device": "Device",
        "stream": "Stream",
        "attribute": "device_attribute",
        "driver.ctx_flags": "ctx_flags",
        "driver.host_alloc_flags": "host_alloc_flags",
        "context": "Context",
        "event": "Event",
        "start": "Event",
        "host.base": "HostPointer",
    }
    for variable, owner in owners.items():
        assert used[variable], variable
        assert used[variable] <= known[owner], (variable, used[variable] - known[owner])
    module = fakes.World("10.3", dict(fakes.BEHAVIOUR)).driver()
    assert set(module) <= known["driver"]
    assert {name for name in vars(module["Device"]) if name[0] != "_"} <= known["Device"] | {"world"}
    empty = module["pagelocked_empty"]
    assert list(empty.__code__.co_varnames[: empty.__code__.co_argcount]) == ["shape", "dtype", "order", "mem_flags"]
