"""Wrap TensorRT 8.2 to 11 in one set of functions; no other file depends on differences of releases.

Features are detected with hasattr, never from a version. The module (`trt`) is a parameter, so importing
this file does not need TensorRT. Sources of names and releases: the pybind sources of NVIDIA/TensorRT,
python/src at 8.2.1, 8.6.1, 10.3.0 and 11.0.
"""

import sys
from contextlib import contextmanager

import numpy as np

from edgedistill_device import imports
from edgedistill_device.engine.build_log import ERROR, WARNING, found_no_kernel, lacked_memory, memory_line
from edgedistill_device.errors import BackendError, BuildError, DeviceMemoryError, EngineError

MODULES = imports.TENSORRT_MODULES
EXTERNAL_TACTICS = ("CUBLAS", "CUBLAS_LT", "CUDNN")
# Not trt.nptype: in 8.2 to 8.5 it uses np.bool, which numpy 1.24 removed.
_NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "BOOL": np.bool_}
# What `build` sets where nothing else was measured to be faster. Timing iterations: as trtexec, TensorRT's own
# default is a single measurement. Optimization level: None is TensorRT's default, 3 of 0 to 5 (8.6 and newer).
BUILDER = {"timing_iterations": 8, "optimization_level": None}


def load(name="tensorrt"):
    """Import TensorRT's Python module, one of MODULES.

    Raises:
        BackendError: it or its libraries are missing, or it is older than 8.2.
    """
    if name not in MODULES:
        raise BackendError("expected a compiler of %s, got %r" % (", ".join(MODULES), name))
    return imports.tensorrt(name)


def make_log(trt, talk=None):
    """Make a logger that stores `errors` and `warnings`, lists of text, and writes both to `talk`."""
    severity = trt.ILogger.Severity
    grave = (severity.INTERNAL_ERROR, severity.ERROR)

    class Log(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)
            self.errors, self.warnings = [], []

        def log(self, level, message):
            if level not in grave and level != severity.WARNING:
                return
            text = " ".join(message.encode("ascii", "backslashreplace").decode("ascii").split())
            (self.errors if level in grave else self.warnings).append(text)
            (talk or sys.stderr).write("%s%s\n" % (ERROR if level in grave else WARNING, text))

    return Log()


@contextmanager
def _starting(trt, log):
    """Translate the TypeError about a null pointer that a constructor raises when CUDA does not start.

    Raises:
        DeviceMemoryError: memory is exhausted (CUDA error 2).
        BackendError: another reason, given by TensorRT's last line.
    """
    try:
        yield
    except TypeError as error:
        memory = memory_line([str(error)] + log.errors, log.warnings)
        if memory:
            raise DeviceMemoryError("TensorRT has no memory to start with: %s" % (_one_line(memory),))
        last_line = ([str(error)] + log.warnings + log.errors)[-1]
        raise BackendError("TensorRT %s does not start: %s" % (trt.__version__, _one_line(last_line)))


def make_builder(trt, log):
    """Make TensorRT's builder; raises as `_starting`."""
    with _starting(trt, log):
        return trt.Builder(log)


def features(trt, builder):
    """Return the features of this release and this GPU, JSON-serialisable.

    Returns:
        tensorrt (its version), fp16_flag, int8_flag (precision by builder flag: removed in 11),
        calibrator (accepts a calibration cache: removed in 11), fast_fp16, fast_int8 (GPU support
        as reported by the builder; None if the release does not report it).
    """
    return {
        "tensorrt": trt.__version__,
        "fp16_flag": hasattr(trt.BuilderFlag, "FP16"),
        "int8_flag": hasattr(trt.BuilderFlag, "INT8"),
        "calibrator": hasattr(trt, "IInt8EntropyCalibrator2"),
        "fast_fp16": getattr(builder, "platform_has_fast_fp16", None),
        "fast_int8": getattr(builder, "platform_has_fast_int8", None),
    }


def create_network(trt, builder):
    """Create an empty network: with explicit batch and strongly typed, where the release has these options."""
    flag, bits = trt.NetworkDefinitionCreationFlag, 0
    if hasattr(flag, "EXPLICIT_BATCH"):  # required in 8, without effect in 10, removed in 11
        bits |= 1 << int(flag.EXPLICIT_BATCH)
    if hasattr(flag, "STRONGLY_TYPED") and not hasattr(trt.BuilderFlag, "FP16"):
        bits |= 1 << int(flag.STRONGLY_TYPED)
    return builder.create_network(bits)


def parse(trt, network, log, path):
    """Read the ONNX file into the network; the returned parser must outlive it.

    Raises:
        BuildError: with the parser's first error.
    """
    parser = trt.OnnxParser(network, log)
    with open(path, "rb") as file:
        taken = parser.parse(file.read())
    if not taken or parser.num_errors:
        errors = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        raise BuildError(
            "TensorRT %s does not parse %s (%d errors): %s"
            % (trt.__version__, path, len(errors), _one_line(errors[0] if errors else "no reason given"))
        )
    return parser


def set_workspace(trt, config, size):
    """Set the maximum scratch memory of one layer, bytes."""
    if hasattr(config, "set_memory_pool_limit"):  # 8.4 and newer
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)
    else:
        config.max_workspace_size = size


def set_precision(trt, config, executed):
    """Set the builder flags that `executed` (fp32, fp16, int8) needs; INT8 allows FP16 for other layers.

    Returns:
        Names of the flags that were set; none where the ONNX file defines the precision (11).
    """
    wanted = {"fp32": (), "fp16": ("FP16",), "int8": ("FP16", "INT8")}[executed]
    names = [name for name in wanted if hasattr(trt.BuilderFlag, name)]
    for name in names:
        config.set_flag(getattr(trt.BuilderFlag, name))
    return names


def leave_out_external_tactics(trt, config):
    """Build without cuBLAS and cuDNN, which take about 400 to 700 MiB once loaded.

    Returns:
        Names of the remaining tactic sources. Source of the memory figures: logs of trtexec 8.0.1 on a Nano
        (NobuoTsukamoto/benchmarks) and wang-xinyu/tensorrtx issue 1160.
    """
    members = trt.TacticSource.__members__
    remaining = sorted(name for name in members if name not in EXTERNAL_TACTICS)
    config.set_tactic_sources(sum(1 << int(members[name]) for name in remaining))
    return remaining


def set_builder(config, timing_iterations, optimization_level):
    """Set BUILDER's settings.

    Args:
        timing_iterations: times that each kernel is timed, where the release has that setting; the mean decides.
        optimization_level: 0 to 5; None: as it is.

    Raises:
        BuildError: the release has no levels.
    """
    if hasattr(config, "avg_timing_iterations"):
        config.avg_timing_iterations = timing_iterations
    if optimization_level is None:
        return
    if not hasattr(config, "builder_optimization_level"):
        raise BuildError("this TensorRT has no optimization level")
    config.builder_optimization_level = optimization_level


def set_detailed(trt, config):
    """Store the layers' types in the engine, for `layers_text`; does not slow inference."""
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED


def set_timing_cache(config, content):
    """Give the builder its earlier timings; if it rejects them, start an empty cache.

    Args:
        content: bytes of `timing_cache_of`, or b"".

    Returns:
        Whether `content` is in use.
    """
    taken = bool(content)
    if content:
        cache = config.create_timing_cache(content)
        taken = cache is not None and config.set_timing_cache(cache, False)
    if not taken:
        config.set_timing_cache(config.create_timing_cache(b""), False)
    return taken


def timing_cache_of(config):
    """Return the builder's timings as bytes."""
    return bytes(memoryview(config.get_timing_cache().serialize()))


def set_calibration_cache(trt, config, text):
    """Set INT8 ranges from a calibration cache; `asked` of the result is true if it was rejected.

    The object must outlive the build of the engine.
    """

    class Ranges(trt.IInt8EntropyCalibrator2):
        def __init__(self):
            trt.IInt8EntropyCalibrator2.__init__(self)
            self.asked = False

        def get_batch_size(self):
            return 1

        def get_batch(self, names):
            self.asked = True  # returns None, which TensorRT reads as the end of the images

        def read_calibration_cache(self):
            return text.encode("utf-8")

        def write_calibration_cache(self, cache):
            pass  # the cache is the one that was given

    ranges = Ranges()
    config.int8_calibrator = ranges
    return ranges


def serialized_engine(builder, network, config, log):
    """Build the engine and return TensorRT's buffer.

    Raises:
        MemoryError: TensorRT reports exhausted memory.
        BuildError: TensorRT built no engine; the message holds the reason that it logged.
    """
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        memory = memory_line(log.errors, log.warnings)
        if memory:
            raise MemoryError(_one_line(memory))
        last = log.errors[-1] if log.errors else "no reason given"
        reason = found_no_kernel(log.errors) or last
        raise BuildError("TensorRT built no engine: %s" % (_one_line(reason),))
    return engine


def load_engine(trt, log, content):
    """Return (runtime, engine); the runtime must outlive the engine.

    Raises:
        DeviceMemoryError: memory is exhausted.
        BackendError: CUDA does not start.
        EngineError: TensorRT rejects the bytes.
    """
    with _starting(trt, log):
        runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        memory = lacked_memory(log.errors)
        if memory:
            raise DeviceMemoryError("TensorRT has no memory for this engine: %s" % _one_line(memory))
        reason = log.errors[-1] if log.errors else "no reason given"
        raise EngineError(
            "TensorRT %s cannot load this engine (%s); run: python3 -m edgedistill_device build"
            % (trt.__version__, _one_line(reason))
        )
    return runtime, engine


def layers_text(trt, engine):
    """Return the inspector's JSON text of all layers, or None if the release has no inspector."""
    if not hasattr(engine, "create_engine_inspector"):
        return None
    inspector = engine.create_engine_inspector()
    return inspector.get_engine_information(trt.LayerInformationFormat.JSON)


def tensors(trt, engine):
    """Return [(name, is_input, shape, numpy dtype)] in the engine's order."""
    if hasattr(engine, "num_io_tensors"):  # by name: 8.5 and newer
        names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        return [
            (
                name,
                engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
                tuple(engine.get_tensor_shape(name)),
                _numpy_type(engine.get_tensor_dtype(name)),
            )
            for name in names
        ]
    return [
        (
            engine.get_binding_name(number),
            engine.binding_is_input(number),
            tuple(engine.get_binding_shape(number)),
            _numpy_type(engine.get_binding_dtype(number)),
        )
        for number in range(engine.num_bindings)
    ]


def launcher(context, addresses, stream):
    """Return a function without arguments that queues one inference and returns false on failure.

    Args:
        addresses: [(tensor name, device address)], in the order of `tensors`.
        stream: CUDA stream handle, an integer.
    """
    if hasattr(context, "set_tensor_address"):
        for name, address in addresses:
            context.set_tensor_address(name, address)
        enqueue = context.execute_async_v3
        return lambda: enqueue(stream)
    bindings, enqueue = [address for _, address in addresses], context.execute_async_v2
    return lambda: enqueue(bindings, stream)


def profiled(trt, context, addresses, runs):
    """Return [[(layer, ms)]] for each run from TensorRT's profiler; the input is at its address.

    The profiler slows and serialises inference, so it is only used here. It uses execute_v2, not the
    call of `launcher`: the documentation of 8.2 supports the profiler for execute_v2 only.
    """

    class Times(trt.IProfiler):
        def __init__(self):
            trt.IProfiler.__init__(self)
            self.rows = []

        def report_layer_time(self, layer_name, ms):  # an exception here would end the process in 8.2
            self.rows.append((layer_name, ms))

    before, times, times_by_run = context.profiler, Times(), []
    context.profiler = times
    try:
        for _ in range(runs):
            times.rows = []
            if not context.execute_v2([address for _, address in addresses]):
                raise BackendError("TensorRT did not run with its profiler attached")
            times_by_run.append(times.rows)
    finally:
        context.profiler = before
    return times_by_run


def _numpy_type(dtype):
    if dtype.name not in _NUMPY:
        raise EngineError("the engine has a tensor of type %s, which is not handled" % (dtype.name,))
    return np.dtype(_NUMPY[dtype.name])


def _one_line(text):
    return " ".join(str(text).split())[:300]
