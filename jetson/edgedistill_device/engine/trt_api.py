"""TensorRT 8.2 to 11 behind one set of functions: the only file that knows what a release has.

What is there is asked with hasattr and never read from a version. The module (`trt`) is given, so
importing this needs no TensorRT. Names and releases: the pybind sources of NVIDIA/TensorRT,
python/src at 8.2.1, 8.6.1, 10.3.0 and 11.0.
"""

import sys
from contextlib import contextmanager

import numpy as np

from edgedistill_device import imports
from edgedistill_device.engine.build_log import ERROR, WARNING, found_no_kernel, lacked_memory, memory_line
from edgedistill_device.errors import BackendError, BuildError, DeviceMemoryError, EngineError

MODULES = ("tensorrt", "tensorrt_rtx")
EXTERNAL_TACTICS = ("CUBLAS", "CUBLAS_LT", "CUDNN")
# Not trt.nptype: that of 8.2 to 8.5 asks numpy for np.bool, which 1.24 took away.
_NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "BOOL": np.bool_}
TIMING_ITERATIONS = 8  # what trtexec takes; TensorRT's own default, 1, chooses by a single time


def load(name="tensorrt"):
    """TensorRT's Python module, one of MODULES.

    Raises:
        BackendError: it is not there, its libraries are not, or it is older than 8.2.
    """
    if name not in MODULES:
        raise BackendError("expected a compiler of %s, got %r" % (", ".join(MODULES), name))
    return imports.tensorrt(name)


def make_log(trt, talk=None):
    """A logger that keeps `errors` and `warnings`, lists of text, and shows both on `talk`."""
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
    """Around a constructor: where CUDA does not start, pybind11 gives a TypeError about a null pointer.

    Raises:
        DeviceMemoryError: for want of memory (CUDA error 2).
        BackendError: for another reason, which TensorRT's last line names.
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
    """TensorRT's builder; raises as `_starting`."""
    with _starting(trt, log):
        return trt.Builder(log)


def features(trt, builder):
    """What this release and this GPU take, JSON-able.

    Returns:
        tensorrt (its version), fp16_flag, int8_flag (precision by builder flag: gone in 11),
        calibrator (a calibration cache is taken: gone in 11), fast_fp16, fast_int8 (what the
        builder says of the GPU; None where it is no longer asked).
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
    """An empty network: explicit batch where that is a choice, typed by the file where that is."""
    flag, bits = trt.NetworkDefinitionCreationFlag, 0
    if hasattr(flag, "EXPLICIT_BATCH"):  # must be set in 8, has no effect in 10, is gone in 11
        bits |= 1 << int(flag.EXPLICIT_BATCH)
    if hasattr(flag, "STRONGLY_TYPED") and not hasattr(trt.BuilderFlag, "FP16"):
        bits |= 1 << int(flag.STRONGLY_TYPED)
    return builder.create_network(bits)


def parse(trt, network, log, path):
    """Read the ONNX file into the network; the returned parser must outlive it.

    Raises:
        BuildError: the parser's first complaint.
    """
    parser = trt.OnnxParser(network, log)
    with open(path, "rb") as file:
        taken = parser.parse(file.read())
    if not taken or parser.num_errors:
        complaints = [parser.get_error(number).desc() for number in range(parser.num_errors)]
        raise BuildError(
            "TensorRT %s does not parse %s (%d complaints): %s"
            % (trt.__version__, path, len(complaints), _one_line(complaints[0] if complaints else "no reason given"))
        )
    return parser


def set_workspace(trt, config, size):
    """Most bytes of scratch memory that one layer may use."""
    if hasattr(config, "set_memory_pool_limit"):  # 8.4 and newer
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)
    else:
        config.max_workspace_size = size


def set_precision(trt, config, executed):
    """Allow the builder what `executed` (fp32, fp16, int8) needs; INT8 allows FP16 for the rest.

    Returns:
        Names of the flags that were set; none where precision is the ONNX file's own (11).
    """
    wanted = {"fp32": (), "fp16": ("FP16",), "int8": ("FP16", "INT8")}[executed]
    names = [name for name in wanted if hasattr(trt.BuilderFlag, name)]
    for name in names:
        config.set_flag(getattr(trt.BuilderFlag, name))
    return names


def leave_out_external_tactics(trt, config):
    """Build without cuBLAS and cuDNN, which take some 400 to 700 MiB when they are loaded.

    Returns:
        Names of the sources that stay. Memory: logs of trtexec 8.0.1 on a Nano
        (NobuoTsukamoto/benchmarks) and wang-xinyu/tensorrtx issue 1160.
    """
    members = trt.TacticSource.__members__
    remaining = sorted(name for name in members if name not in EXTERNAL_TACTICS)
    config.set_tactic_sources(sum(1 << int(members[name]) for name in remaining))
    return remaining


def set_timing_iterations(config):
    """Time each kernel TIMING_ITERATIONS times and take the mean, where the release has that setting."""
    if hasattr(config, "avg_timing_iterations"):
        config.avg_timing_iterations = TIMING_ITERATIONS


def set_detailed(trt, config):
    """Let the engine know its layers' types, for `layers_text`; costs nothing when it runs."""
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED


def set_timing_cache(config, content):
    """Give the builder what it measured last time; a cache it does not take is begun anew.

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
    """What the builder measured, as bytes."""
    return bytes(memoryview(config.get_timing_cache().serialize()))


def set_calibration_cache(trt, config, text):
    """INT8 ranges from a calibration cache; `asked` of the result is true if it was not taken.

    The object must live until the engine is built.
    """

    class Ranges(trt.IInt8EntropyCalibrator2):
        def __init__(self):
            trt.IInt8EntropyCalibrator2.__init__(self)
            self.asked = False

        def get_batch_size(self):
            return 1

        def get_batch(self, names):
            self.asked = True  # and nothing is returned, which TensorRT reads as the images' end

        def read_calibration_cache(self):
            return text.encode("utf-8")

        def write_calibration_cache(self, cache):
            pass  # what it would write is what it was given

    ranges = Ranges()
    config.int8_calibrator = ranges
    return ranges


def serialized_engine(builder, network, config, log):
    """The engine, as TensorRT's buffer.

    Raises:
        MemoryError: TensorRT says that memory ran out.
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
    """(runtime, engine); the runtime must outlive the engine.

    Raises:
        DeviceMemoryError: they do not fit.
        BackendError: CUDA does not start.
        EngineError: TensorRT does not take these bytes.
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
    """The inspector's JSON text of all layers, or None where the release has no inspector."""
    if not hasattr(engine, "create_engine_inspector"):
        return None
    inspector = engine.create_engine_inspector()
    return inspector.get_engine_information(trt.LayerInformationFormat.JSON)


def tensors(trt, engine):
    """[(name, is_input, shape, numpy dtype)], in the engine's order."""
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
    """A function without arguments that queues one inference; it returns false on failure.

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
    """[[(layer, ms)]], run by run, from TensorRT's profiler; the input lies at its address.

    Attached it slows and serialises, so it is nowhere else. execute_v2 and not what `launcher`
    queues: the documentation of 8.2 knows the profiler for that one alone.
    """

    class Times(trt.IProfiler):
        def __init__(self):
            trt.IProfiler.__init__(self)
            self.rows = []

        def report_layer_time(self, layer_name, ms):  # what this raised would end 8.2's process
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
