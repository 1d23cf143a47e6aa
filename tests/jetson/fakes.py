"""The one fake of TensorRT and pycuda, for the releases 8.2, 8.6, 10.3, 10.16, 11 and 11.4.

`write_modules(folder, "8.2")` makes a folder for PYTHONPATH with packages `tensorrt` and `pycuda`
that have the attributes of that release which the board's code may use, and no others: a name that
is absent there raises AttributeError, for reading and for setting. What is absent where: the pybind
sources of NVIDIA/TensorRT, python/src at 8.2.1, 8.6.1, 10.3.0 and 11.0, and the bindings of 10.16.1
and 11.4.0 (stubs/). An "engine" is a header and the ONNX file, rewritten to the precisions that the
builder was given, or that the file is typed in (fake_precision.py), which ONNX Runtime computes on the
"device's" memory (the process's own).
"""

import ctypes
import enum
import itertools
import os
import sys
import time
import weakref

from fake_builder import Builder, IBuilderConfig, INetworkDefinition, OnnxParser
from fake_cuda import MAPPED, Allocation, Attribute, Device, Event, Flags, Stream, pagelocked_empty
from fake_releases import BEHAVIOUR, CUDA, ONLY_IN, RELEASES, SM, TRIED
from fake_runtime import SPENT_MS, ICudaEngine, IExecutionContext, IProfiler, Runtime

__all__ = [
    "BEHAVIOUR",
    "CUDA",
    "ONLY_IN",
    "RELEASES",
    "SM",
    "SPENT_MS",
    "TRIED",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "INetworkDefinition",
    "World",
    "fill",
    "switching",
    "write_modules",
]

SECONDS = itertools.count(int(time.time()))  # no two the same


def write_modules(folder, release, **behaviour):
    """Packages `tensorrt` and `pycuda` of that release in `folder`; the folder, as text."""
    assert set(behaviour) <= set(BEHAVIOUR), behaviour
    for package, files in (("tensorrt", ("__init__",)), ("pycuda", ("__init__", "driver"))):
        os.makedirs(os.path.join(str(folder), package), exist_ok=True)
        for name in files:
            path = os.path.join(str(folder), package, name + ".py")
            with open(path, "w") as file:
                file.write(
                    "import sys\n"
                    "sys.path.append(%r)\n"
                    "import fakes\n"
                    "fakes.fill(globals(), %r, %r)\n" % (os.path.dirname(os.path.abspath(__file__)), release, behaviour)
                )
            # or what was compiled of another release, of the same size and in the same second, is taken for this one's
            os.utime(path, (next(SECONDS),) * 2)
    return str(folder)


def switching(tmp_path, monkeypatch):
    """Body of a fixture: gives switch("8.2", ...), that release for this process and its children.

    What was imported of them before is there again afterwards, and nothing of ours.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = _forgotten()

    def switch(release, **does):
        folder = write_modules(tmp_path / "fake", release, **does)
        monkeypatch.setenv("PYTHONPATH", folder)
        monkeypatch.setattr(sys, "path", [folder] + [p for p in sys.path if p != folder])
        monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the folder is written again
        _forgotten()

    yield switch
    _forgotten()
    sys.modules.update(before)


def _forgotten():
    names = [name for name in sys.modules if name.split(".")[0] in ("tensorrt", "pycuda")]
    return {name: sys.modules.pop(name) for name in names}


def fill(names, release, behaviour):
    """Make the module whose globals these are; called by what `write_modules` wrote."""
    world = World(release, dict(BEHAVIOUR, **behaviour))
    made = {"tensorrt": world.tensorrt, "pycuda.driver": world.driver, "pycuda": dict}
    if names["__name__"].startswith("pycuda") and world.does["no_pycuda"]:
        raise ImportError("No module named 'pycuda'")
    names.update(made[names["__name__"]]())


class World(object):
    """One release on one GPU, and what it is told to do."""

    def __init__(self, release, does):
        self.release, self.does = release, does
        self.version = RELEASES[release]
        self.engines = weakref.WeakSet()  # loaded now
        self.contexts = []  # CUDA contexts, the current one last
        self.can_map = False  # whether pycuda's context was made so
        self.sm = does["sm"] or SM[release]
        capable = self.sm >= 61 and self.sm != 62
        self.fast_int8 = capable if does["fast_int8"] is None else does["fast_int8"]

    @property
    def is_typed(self):
        """Whether it has no precision flags: what the file says of types holds."""
        return not self.has("BuilderFlag.FP16")

    def has(self, name):
        return self.release in ONLY_IN.get(name, RELEASES)

    def cudart(self):
        """The compiled fake_cudart.c that FAKE_CUDART names, or None."""
        path = os.environ.get("FAKE_CUDART")
        return ctypes.CDLL(path) if path else None

    def is_mapped(self, address):
        cudart = self.cudart()
        return address in MAPPED or bool(cudart and cudart.is_mapped(ctypes.c_void_p(address)))

    def enum(self, name, *members):
        kept = [m for m in members if self.has("%s.%s" % (name, m))]
        return enum.IntEnum(name, [(m, number) for number, m in enumerate(kept)])

    def only(self, full):
        """The class with this release's attributes; as in pybind11, no others can be set."""
        name = full.__name__
        gone = [n for n in vars(full) if n[0] != "_" and not self.has("%s.%s" % (name, n))]

        def refuse(this, key, value):
            if key[0] != "_" and not hasattr(type(this), key):
                raise AttributeError("%r object has no attribute %r" % (name, key))
            object.__setattr__(this, key, value)

        body = {n: v for n, v in vars(full).items() if n not in gone + ["__dict__", "__weakref__"]}
        return type(name, (object,), dict(body, __setattr__=refuse, world=self))

    def tensorrt(self):
        self.BuilderFlag = self.enum("BuilderFlag", "FP16", "INT8", "TF32")
        self.Flag = self.enum("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", "EXPLICIT_PRECISION", "STRONGLY_TYPED")
        self.Types = self.enum("DataType", "FLOAT", "HALF", "INT8", "INT32", "BOOL")
        self.Mode = self.enum("TensorIOMode", "NONE", "INPUT", "OUTPUT")
        self.Tactics = self.enum(
            "TacticSource", "CUBLAS", "CUBLAS_LT", "CUDNN", "EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"
        )
        self.ILogger = type(
            "ILogger",
            (object,),
            {
                "Severity": self.enum("Severity", "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"),
            },
        )
        found = {
            "__version__": self.version,
            "ILogger": self.ILogger,
            "BuilderFlag": self.BuilderFlag,
            "NetworkDefinitionCreationFlag": self.Flag,
            "MemoryPoolType": self.enum("MemoryPoolType", "WORKSPACE"),
            "TensorIOMode": self.Mode,
            "TacticSource": self.Tactics,
            "ProfilingVerbosity": self.enum("ProfilingVerbosity", "LAYER_NAMES_ONLY", "NONE", "DETAILED"),
            "LayerInformationFormat": self.enum("LayerInformationFormat", "ONELINE", "JSON"),
            "IInt8EntropyCalibrator2": type("IInt8EntropyCalibrator2", (object,), {}),
            "IProfiler": IProfiler,
            "DataType": self.Types,
            "Builder": self.only(Builder),
            "OnnxParser": self.only(OnnxParser),
            "Runtime": self.only(Runtime),
        }
        return {name: value for name, value in found.items() if self.has("module." + name)}

    def speak(self, log):
        for level, text in self.does["says"]:
            log.log(getattr(self.ILogger.Severity, level), text)
        if self.does["writes"]:
            os.write(2, self.does["writes"].encode())

    def give_up(self, log):
        """As pybind11 does with a constructor that gives a null pointer."""
        self.speak(log)
        raise TypeError("pybind11::init(): factory function returned nullptr")

    def driver(self):
        return {
            "Error": type("Error", (Exception,), {}),
            "MemoryError": type("MemoryError", (Exception,), {}),
            "init": lambda: None,
            "get_version": lambda: CUDA[self.release],
            "Device": type("Device", (Device,), {"world": self}),
            "Stream": Stream,
            "Event": Event,
            "mem_alloc": Allocation,
            "ctx_flags": Flags,
            "host_alloc_flags": Flags,
            "device_attribute": Attribute,
            "pagelocked_empty": pagelocked_empty(self),
            "memcpy_htod_async": lambda to, array, stream: (
                ctypes.memmove(int(to), array.ctypes.data, array.nbytes) and None
            ),
            "memcpy_dtoh_async": lambda array, source, stream: (
                ctypes.memmove(array.ctypes.data, int(source), array.nbytes) and None
            ),
        }
