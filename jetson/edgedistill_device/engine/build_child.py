"""Build in a process that may be killed: python3 -m edgedistill_device.engine.build_child SPEC.json

The result is written to `result.json` in the spec's stage folder. The exit code is 0, 1 with the error
in that file, OUT_OF_MEMORY if TensorRT reports it, or NO_DISK if nothing could be written. A killed
process writes nothing.
"""

import ctypes
import json
import os
import signal
import sys
import time
import traceback

from edgedistill_calibration.cache import text_from_amax
from edgedistill_device.board import telemetry
from edgedistill_device.engine import cuda_memory, precision, trt_api
from edgedistill_device.errors import BackendError, BuildError, DeviceMemoryError, JetsonError
from edgedistill_device.json_text import json_text
from edgedistill_device.manifest import sha256_of

OUT_OF_MEMORY, NO_DISK = 3, 4  # exit codes
RESULT, ENGINE, TIMING_CACHE = "result.json", "model.engine", "timing.cache"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(argv):
    be_killed_first()
    with open(argv[0], encoding="utf-8") as file:
        spec = json.load(file)
    try:
        result, code = build_engine(spec), 0
    except (MemoryError, DeviceMemoryError) as error:
        result, code = {"error": "out of memory: %s" % (error,)}, OUT_OF_MEMORY
    except (JetsonError, IOError, OSError) as error:
        result, code = {"error": str(error)}, 1
    except Exception as error:  # the exceptions of TensorRT through pybind are not documented
        traceback.print_exc()
        message = " ".join(str(error).split())[:300]
        result, code = {"error": "%s: %s" % (type(error).__name__, message)}, 1
    path = os.path.join(spec["stage"], RESULT)
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(json_text(result))
    except (IOError, OSError):
        return NO_DISK
    return code


def build_engine(spec):
    """Make one attempt.

    Args:
        spec: bundle, stage and cache_folder (paths), compiler (module name), board, requested,
            target_sm and target_tensorrt (of the manifest), workspace_mib, external_tactics, clocks
            (of power.timing_conditions), builder (as trt_api.BUILDER).

    Returns:
        The sidecar's record of the build, JSON-serialisable. The engine is in the stage folder.
    """
    trt = trt_api.load(spec["compiler"])
    log = trt_api.make_log(trt)
    here = _device(spec)
    builder = trt_api.make_builder(trt, log)
    features = trt_api.features(trt, builder)
    choice = precision.choose(spec["requested"], here["sm"], features, os.listdir(spec["bundle"]))
    for reason in choice.reasons:
        _say(reason)
    onnx = os.path.join(spec["bundle"], choice.onnx)
    network = trt_api.create_network(trt, builder)
    parser = trt_api.parse(trt, network, log, onnx)
    config = builder.create_builder_config()
    flags, sources = _configure(trt, config, spec, choice)
    cache_path = _timing_cache_path(spec, here, features["tensorrt"])
    cached = trt_api.set_timing_cache(config, _bytes_of(cache_path))
    ranges = None
    if choice.int8_by == "calibration cache":
        ranges = trt_api.set_calibration_cache(
            trt, config, _calibration(os.path.join(spec["bundle"], precision.AMAX), features["tensorrt"])
        )
    _say("TensorRT %s builds %s as %s" % (features["tensorrt"], choice.onnx, choice.executed))
    started = time.monotonic()
    try:
        engine = trt_api.serialized_engine(builder, network, config, log)
    finally:
        if ranges is not None and ranges.asked:  # more specific than TensorRT's error
            raise BuildError(
                "TensorRT %s did not take the calibration cache made from calibration.json; bundle "
                'again with target.precision = "fp16"' % (features["tensorrt"],)
            )
    seconds = time.monotonic() - started
    _keep(os.path.join(spec["stage"], ENGINE), engine)
    _keep(os.path.join(spec["stage"], TIMING_CACHE), trt_api.timing_cache_of(config))
    del engine, parser, network, config, builder
    layers = _layers(trt, log, spec["stage"]) if here["by"] else None
    choice = precision.answered(choice, layers)
    return {
        "onnx": choice.onnx,
        "onnx_sha256": sha256_of(onnx),
        "compiler": spec["compiler"],
        "tensorrt": features["tensorrt"],
        "cuda": here["cuda"],
        "sm": here["sm"],
        "requested": spec["requested"],
        "executed": choice.executed,
        "reasons": list(choice.reasons),
        "int8_by": choice.int8_by,
        "flags": flags,
        "workspace_mib": spec["workspace_mib"],
        "tactic_sources": sources,
        "layers": layers,
        "builder": spec["builder"] if spec["builder"] != trt_api.BUILDER else None,
        "build_seconds": round(seconds, 3),
        "timing_cache": cache_path,
        "timing_cache_used": cached,
        "warnings": _release_warnings(spec, features["tensorrt"]),
        "process_peak_mib": telemetry.memory()["process_peak_mib"],
    }


def _configure(trt, config, spec, choice):
    trt_api.set_workspace(trt, config, spec["workspace_mib"] << 20)
    trt_api.set_detailed(trt, config)
    trt_api.set_builder(config, **spec["builder"])
    flags = trt_api.set_precision(trt, config, choice.executed)
    sources = None  # TensorRT's default
    if not spec["external_tactics"]:
        sources = trt_api.leave_out_external_tactics(trt, config)
    return flags, sources


def _device(spec):
    """Return sm, cuda and by; TensorRT for RTX compiles for the manifest's board without a GPU."""
    try:
        here = cuda_memory.find_device().facts()
    except BackendError:
        if spec["compiler"] == "tensorrt":
            raise
        return {"sm": spec["target_sm"], "cuda": None, "by": None}
    if spec["target_sm"] and here["sm"] != spec["target_sm"]:
        raise BuildError(
            "this bundle is for sm_%d and this GPU is sm_%d; bundle again with this board as "
            "target.device" % (spec["target_sm"], here["sm"])
        )
    return here


def _release_warnings(spec, version):
    """Warn if this is not the release, like 8.2, that the ONNX file was checked for."""
    expected = spec["target_tensorrt"]
    if not expected or version.split(".")[:2] == expected.split("."):
        return []
    return ["the ONNX file was checked for TensorRT %s, this is %s" % (expected, version)]


def _calibration(path, version):
    with open(path, encoding="utf-8") as file:
        return text_from_amax(json.load(file), version)


def _layers(trt, log, stage):
    """Check that the engine loads, and count the precisions of its layers."""
    with open(os.path.join(stage, ENGINE), "rb") as file:
        runtime, engine = trt_api.load_engine(trt, log, file.read())
    counts = precision.layer_counts(trt_api.layers_text(trt, engine))
    del engine, runtime
    return counts


def _timing_cache_path(spec, here, version):
    """Name the cache after all that a kernel's time depends on and that TensorRT does not check."""
    if spec["cache_folder"] is None:
        return None
    words = "%s-sm%d-%s-%s-cuda%s-%s-avg%d" % (
        spec["board"],
        here["sm"],
        spec["compiler"],
        version,
        here["cuda"],
        spec["clocks"],
        spec["builder"]["timing_iterations"],
    )
    name = "".join(c if c.isalnum() or c in ".-_" else "_" for c in words)
    return os.path.join(spec["cache_folder"], name + ".cache")


def _bytes_of(path):
    if path is None:
        return b""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (IOError, OSError):  # there is no cache yet
        return b""


def _keep(path, content):
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _say(text):
    sys.stderr.write("build: %s\n" % (text,))
    sys.stderr.flush()


def be_killed_first():
    """Make the kernel's OOM killer choose this process before the one that started it."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except (IOError, OSError):
        pass  # a container may forbid it; then the kernel chooses
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # no orphan that holds the board's memory


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
