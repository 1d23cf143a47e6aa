"""The one fake of TensorRT and pycuda, for the releases 8.2, 8.6, 10.3 and 11.

`write_modules(folder, "8.2")` makes a folder for PYTHONPATH with packages `tensorrt` and `pycuda`
that have the attributes of that release which the board's code may use, and no others: a name that
is absent there raises AttributeError, for reading and for setting. What is absent where: the pybind
sources of NVIDIA/TensorRT, python/src at 8.2.1, 8.6.1, 10.3.0 and 11.0. An "engine" is a header and
the ONNX file, which ONNX Runtime computes on the "device's" memory (the process's own).
"""

import ctypes
import enum
import json
import os
import resource
import signal
import sys
import time
import weakref

import numpy as np

RELEASES = {"8.2": "8.2.1.8", "8.6": "8.6.2", "10.3": "10.3.0", "11": "11.0.0"}
SM = {"8.2": 72, "8.6": 87, "10.3": 87, "11": 89}  # of the GPU beside it, unless told otherwise
CUDA = {"8.2": (10, 2, 0), "8.6": (12, 2, 0), "10.3": (12, 6, 0), "11": (13, 0, 0)}
MAGIC = b"fake engine\n"
BEHAVIOUR = {
    "sm": None,  # compute capability of the GPU
    "fast_int8": None,  # what platform_has_fast_int8 says; None: what the sm has
    "no_memory_above_mib": None,  # the build says "out of memory" with more workspace
    "killed_above_mib": None,  # the build is killed by SIGKILL with more workspace
    "dies": False,  # the build aborts
    "crashes_above_mib": None,  # the build dies of SIGSEGV with more workspace
    "says": (),  # [level, text]: lines of its log, before it ends as told
    "writes": None,  # what a library below it writes to stderr, past the log
    "no_engine_above_mib": None,  # the build gives None with more workspace
    "no_kernel_below_mib": None,  # a layer finds no kernel with less workspace,
    "no_kernel_without_libraries": False,  # or without cuBLAS and cuDNN
    "no_builder": False,  # the builder's constructor gives up
    "no_runtime": False,  # the runtime's
    "hangs": False,  # the build does not end
    "ignores_cache": False,  # the calibration cache is skipped whatever its header
    "disk_full": False,  # nothing can be written once the engine is built
    "parser_error": None,  # what the parser complains of
    "nan": False,  # the engine gives NaN
    "float_layers": False,  # the builder chooses FP32 for every layer
    "engines_that_fit": None,  # how many can be loaded before memory runs out
    "no_profile": False,  # nothing runs with a profiler attached
    "no_pycuda": False,
}

# What each release has of the names that differ; what is in none of them is in all.
ONLY_IN = {
    "module.MemoryPoolType": ("8.6", "10.3", "11"),
    "module.TensorIOMode": ("8.6", "10.3", "11"),
    "module.IInt8EntropyCalibrator2": ("8.2", "8.6", "10.3"),
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": ("8.2", "8.6", "10.3"),
    "NetworkDefinitionCreationFlag.EXPLICIT_PRECISION": ("8.2", "8.6"),
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": ("10.3", "11"),
    "BuilderFlag.FP16": ("8.2", "8.6", "10.3"),
    "BuilderFlag.INT8": ("8.2", "8.6", "10.3"),
    "TacticSource.CUBLAS": ("8.2", "8.6", "10.3"),
    "TacticSource.CUBLAS_LT": ("8.2", "8.6", "10.3"),
    "TacticSource.CUDNN": ("8.2", "8.6", "10.3"),
    "TacticSource.EDGE_MASK_CONVOLUTIONS": ("8.6", "10.3", "11"),
    "TacticSource.JIT_CONVOLUTIONS": ("8.6", "10.3", "11"),
    "Builder.platform_has_fast_fp16": ("8.2", "8.6", "10.3"),
    "Builder.platform_has_fast_int8": ("8.2", "8.6", "10.3"),
    "IBuilderConfig.max_workspace_size": ("8.2", "8.6"),
    "IBuilderConfig.set_memory_pool_limit": ("8.6", "10.3", "11"),
    "IBuilderConfig.int8_calibrator": ("8.2", "8.6", "10.3"),
    "ICudaEngine.num_bindings": ("8.2", "8.6"),
    "ICudaEngine.get_binding_name": ("8.2", "8.6"),
    "ICudaEngine.get_binding_shape": ("8.2", "8.6"),
    "ICudaEngine.get_binding_dtype": ("8.2", "8.6"),
    "ICudaEngine.binding_is_input": ("8.2", "8.6"),
    "ICudaEngine.num_io_tensors": ("8.6", "10.3", "11"),
    "ICudaEngine.get_tensor_name": ("8.6", "10.3", "11"),
    "ICudaEngine.get_tensor_mode": ("8.6", "10.3", "11"),
    "ICudaEngine.get_tensor_shape": ("8.6", "10.3", "11"),
    "ICudaEngine.get_tensor_dtype": ("8.6", "10.3", "11"),
    "IExecutionContext.execute_async_v2": ("8.2", "8.6"),
    "IExecutionContext.execute_async_v3": ("8.6", "10.3", "11"),
    "IExecutionContext.set_tensor_address": ("8.6", "10.3", "11"),
}


def write_modules(folder, release, **behaviour):
    """Packages `tensorrt` and `pycuda` of that release in `folder`; the folder, as text."""
    assert set(behaviour) <= set(BEHAVIOUR), behaviour
    for package, files in (("tensorrt", ("__init__",)), ("pycuda", ("__init__", "driver"))):
        os.makedirs(os.path.join(str(folder), package), exist_ok=True)
        for name in files:
            with open(os.path.join(str(folder), package, name + ".py"), "w") as file:
                file.write(
                    "import sys\n"
                    "sys.path.append(%r)\n"
                    "import fakes\n"
                    "fakes.fill(globals(), %r, %r)\n"
                    % (os.path.dirname(os.path.abspath(__file__)), release, behaviour)
                )
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
        self.sm = does["sm"] or SM[release]
        capable = self.sm >= 61 and self.sm != 62
        self.fast_int8 = capable if does["fast_int8"] is None else does["fast_int8"]

    def has(self, name):
        return self.release in ONLY_IN.get(name, RELEASES)

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
        self.Flag = self.enum("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH",
                              "EXPLICIT_PRECISION", "STRONGLY_TYPED")  # fmt: skip
        self.Types = self.enum("DataType", "FLOAT", "HALF", "INT8", "INT32", "BOOL")
        self.Mode = self.enum("TensorIOMode", "NONE", "INPUT", "OUTPUT")
        self.Tactics = self.enum("TacticSource", "CUBLAS", "CUBLAS_LT", "CUDNN",
                                 "EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")  # fmt: skip
        self.ILogger = type("ILogger", (object,), {
            "Severity": self.enum("Severity", "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"),
        })  # fmt: skip
        found = {
            "__version__": self.version,
            "ILogger": self.ILogger,
            "BuilderFlag": self.BuilderFlag,
            "NetworkDefinitionCreationFlag": self.Flag,
            "MemoryPoolType": self.enum("MemoryPoolType", "WORKSPACE"),
            "TensorIOMode": self.Mode,
            "TacticSource": self.Tactics,
            "ProfilingVerbosity": self.enum(
                "ProfilingVerbosity", "LAYER_NAMES_ONLY", "NONE", "DETAILED"
            ),
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
            "pagelocked_empty": np.empty,
            "memcpy_htod_async": lambda to, array, stream: ctypes.memmove(
                int(to), array.ctypes.data, array.nbytes) and None,
            "memcpy_dtoh_async": lambda array, source, stream: ctypes.memmove(
                array.ctypes.data, int(source), array.nbytes) and None,
        }  # fmt: skip


class Builder(object):
    def __init__(self, log):
        self._log = log
        if self.world.does["no_builder"]:
            self.world.give_up(log)

    @property
    def platform_has_fast_fp16(self):
        return True

    @property
    def platform_has_fast_int8(self):
        return self.world.fast_int8

    def create_network(self, flags=0):
        world = self.world
        if hasattr(world.Flag, "EXPLICIT_BATCH") and world.release.startswith("8"):
            assert flags == 1 << int(world.Flag.EXPLICIT_BATCH), "the parser needs explicit batch"
        network = world.only(INetworkDefinition)()
        network._onnx = None
        return network

    def create_builder_config(self):
        config = self.world.only(IBuilderConfig)()
        config._flags, config._workspace, config._sources, config._cache = [], None, None, None
        return config

    def build_serialized_network(self, network, config):
        world, does, log = self.world, self.world.does, self._log
        error = world.ILogger.Severity.ERROR
        workspace = getattr(config, "max_workspace_size", None) or config._workspace
        assert workspace, "no workspace was set"
        world.speak(log)
        if does["crashes_above_mib"] is not None and workspace > does["crashes_above_mib"] << 20:
            os.kill(os.getpid(), signal.SIGSEGV)
        if does["no_engine_above_mib"] is not None and workspace > does["no_engine_above_mib"] << 20:
            return None
        too_little = does["no_kernel_below_mib"] is not None and workspace < does["no_kernel_below_mib"] << 20
        if too_little or (does["no_kernel_without_libraries"] and config._sources is not None):
            log.log(error, "10: Could not find any implementation for node conv1/7x7_s2 + conv1/relu_7x7.")
            log.log(error, "2: [builder.cpp::buildSerializedNetwork::609] Error Code 2: Internal Error "
                           "(Assertion enginePtr != nullptr failed. )")  # fmt: skip
            return None
        if does["killed_above_mib"] is not None and workspace > does["killed_above_mib"] << 20:
            os.kill(os.getpid(), signal.SIGKILL)
        if (
            does["no_memory_above_mib"] is not None
            and workspace > does["no_memory_above_mib"] << 20
        ):
            log.log(
                error, "2: [virtualMemoryBuffer.cpp::resizePhysical::161] Error Code 2: OutOfMemory"
            )
            return None
        if does["dies"]:
            os.abort()
        if does["hangs"]:
            time.sleep(600)
        has_qdq = b"QuantizeLinear" in network._onnx
        if has_qdq and not world.fast_int8:
            log.log(error, "Networks with QuantizeLayer/DequantizeLayer layers require hardware "
                           "with Int8 support")  # fmt: skip
            return None
        names = [flag.name for flag in config._flags]
        precision = "fp16" if "FP16" in names else "fp32"
        if has_qdq:
            precision = "int8"
        elif "INT8" in names:
            if not self._calibrated(config):
                log.log(error, "Calibration failure occurred with no scaling factors detected.")
                return None
            precision = "int8" if world.fast_int8 else precision
        header = {"version": world.version, "sm": world.sm, "precision": precision,
                  "detailed": config.profiling_verbosity.name == "DETAILED",
                  "timed": config.avg_timing_iterations}  # fmt: skip
        if does["disk_full"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        config._cache += b"measured;"
        return MAGIC + json.dumps(header).encode() + b"\n" + network._onnx

    def _calibrated(self, config):
        """As TensorRT: a cache of another version is skipped, then images are asked for."""
        calibrator = config.int8_calibrator
        assert calibrator.get_batch_size() == 1
        header = calibrator.read_calibration_cache().split(b"\n")[0].decode()
        major, minor, patch = [int(part) for part in self.world.version.split(".")[:3]]
        number = (major * 10000 if major >= 10 else major * 1000) + minor * 100 + patch
        skipped = self.world.does["ignores_cache"]
        if header == "TRT-%d-EntropyCalibration2" % number and not skipped:
            return True
        return calibrator.get_batch(["image"]) is not None


class INetworkDefinition(object):
    pass


class IBuilderConfig(object):
    avg_timing_iterations = 1
    max_workspace_size = 0
    int8_calibrator = None
    profiling_verbosity = None

    def set_memory_pool_limit(self, pool, size):
        assert pool.name == "WORKSPACE"
        self._workspace = size

    def set_flag(self, flag):
        self._flags.append(flag)

    def set_tactic_sources(self, bits):
        self._sources = bits
        return True

    def create_timing_cache(self, content):
        return content

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache and not cache.startswith(self.world.version.encode()):
            return False
        self._cache = bytes(cache) or self.world.version.encode() + b":"
        return True

    def get_timing_cache(self):
        return type("ITimingCache", (object,), {"serialize": lambda this: self._cache})()


class OnnxParser(object):
    def __init__(self, network, log):
        self._network, self._errors = network, []

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, number):
        said = self._errors[number]
        return type("ParserError", (object,), {"desc": lambda this: said})()

    def parse(self, content):
        import onnxruntime

        if self.world.does["parser_error"]:
            self._errors.append(self.world.does["parser_error"])
        try:
            session(content)
        except Exception as error:
            assert onnxruntime  # its exception types differ between releases
            self._errors.append(str(error))
        self._network._onnx = bytes(content)
        return not self._errors


class Runtime(object):
    def __init__(self, log):
        self._log = log
        if self.world.does["no_runtime"]:
            self.world.give_up(log)

    def deserialize_cuda_engine(self, content):
        error = self.world.ILogger.Severity.ERROR
        head, _, onnx = content[len(MAGIC) :].partition(b"\n")
        if not content.startswith(MAGIC) or not onnx:
            self._log.log(error, "1: [stdArchiveReader.cpp] Serialization assertion failed")
            return None
        header = json.loads(head.decode())
        if header["version"] != self.world.version or header["sm"] != self.world.sm:
            self._log.log(error, "6: The engine plan file is not compatible with this version")
            return None
        if len(self.world.engines) == self.world.does["engines_that_fit"]:
            self._log.log(error, "1: [defaultAllocator.cpp] Cuda Runtime (out of memory)")
            return None
        engine = self.world.only(ICudaEngine)()
        self.world.engines.add(engine)
        engine._header, engine._session = header, session(onnx)
        engine._tensors = [(t, True) for t in engine._session.get_inputs()]
        engine._tensors += [(t, False) for t in engine._session.get_outputs()]
        return engine


class ICudaEngine(object):
    @property
    def num_bindings(self):
        return len(self._tensors)

    @property
    def num_io_tensors(self):
        return len(self._tensors)

    def get_binding_name(self, number):
        return self._tensors[number][0].name

    def get_binding_shape(self, number):
        return tuple(self._tensors[number][0].shape)

    def get_binding_dtype(self, number):
        return self.world.Types.FLOAT

    def binding_is_input(self, number):
        return self._tensors[number][1]

    def get_tensor_name(self, number):
        return self._tensors[number][0].name

    def _named(self, name):
        return next(pair for pair in self._tensors if pair[0].name == name)

    def get_tensor_mode(self, name):
        return self.world.Mode.INPUT if self._named(name)[1] else self.world.Mode.OUTPUT

    def get_tensor_shape(self, name):
        return tuple(self._named(name)[0].shape)

    def get_tensor_dtype(self, name):
        self._named(name)
        return self.world.Types.FLOAT

    def create_execution_context(self):
        context = self.world.only(IExecutionContext)()
        context._engine, context._addresses = self, {}
        return context

    def create_engine_inspector(self):
        """Layers as the inspector of 8.2 writes them; names alone without detail."""
        word = "Float" if self.world.does["float_layers"] else {
            "int8": "Int8", "fp16": "Half", "fp32": "Float"}[self._header["precision"]]  # fmt: skip
        layers = [
            {"Name": "pool", "LayerType": "Reduce", "Outputs": [
                {"Name": "pooled", "Format/Datatype": "Row major linear %s format" % {
                    "Half": "FP16", "Float": "FP32"}.get(word, word)}]},
            {"Name": "gemm", "LayerType": "CaskConvolution", "Outputs": [],
             "Weights": {"Type": word, "Count": 6}},
        ]  # fmt: skip
        if not self._header["detailed"]:
            layers = [layer["Name"] for layer in layers]
        return type("EngineInspector", (object,), {
            "get_engine_information": lambda this, form: json.dumps({"Layers": layers})
            if form.name == "JSON" else "",
        })()  # fmt: skip


class IProfiler(object):
    def __init__(self):
        self._made = True  # pybind11 takes no object whose base was not made

    def report_layer_time(self, layer_name, ms):
        raise NotImplementedError("pure virtual")


class IExecutionContext(object):
    _profiler = None

    @property
    def profiler(self):
        return self._profiler

    @profiler.setter
    def profiler(self, value):
        assert value is None or (isinstance(value, IProfiler) and value._made)
        self._profiler = value

    def execute_v2(self, bindings):
        if self.world.does["no_profile"] and self._profiler is not None:
            return False
        done = self._run(bindings)
        for name, ms in (("pool", 0.25), ("gemm", 0.75)) if self._profiler is not None else ():
            self._profiler.report_layer_time(name, ms)
        return done

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle):
        return self._run([self._addresses[t.name] for t, _ in self._engine._tensors])

    def execute_async_v2(self, bindings, stream_handle):
        return self._run(bindings)

    def _run(self, addresses):
        tensors = self._engine._tensors
        views = [
            np.frombuffer((ctypes.c_byte * (4 * int(np.prod(t.shape)))).from_address(address),
                          np.float32).reshape(t.shape)
            for (t, _), address in zip(tensors, addresses)
        ]  # fmt: skip
        feeds = {t.name: view for (t, is_input), view in zip(tensors, views) if is_input}
        views[-1][...] = self._engine._session.run(None, feeds)[0]
        if self.world.does["nan"]:
            views[-1][...] = np.nan
        return True


class Device(object):
    def __init__(self, number):
        assert number == 0

    def compute_capability(self):
        return self.world.sm // 10, self.world.sm % 10

    def make_context(self):
        context, contexts = type("Context", (object,), {"detach": lambda this: None})(), self.world.contexts
        context.pop = contexts.pop
        contexts.append(context)
        return context


class Stream(object):
    handle = 7

    def synchronize(self):
        pass


class Event(object):
    def record(self, stream):
        self._at = time.perf_counter()

    def time_till(self, other):
        return (other._at - self._at) * 1e3


class Allocation(object):
    def __init__(self, size):
        self._memory = ctypes.create_string_buffer(size)

    def __int__(self):
        return ctypes.addressof(self._memory)


def session(onnx):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
