"""The fake's builder and parser: how a build ends, and what its precision does to the network."""

import json
import os
import resource
import signal
import time

from fake_precision import rewritten, scales_of
from fake_runtime import MAGIC, session


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

    def build_serialized_network(self, network, config):  # noqa: C901 - each way in which a board fails
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
            log.log(
                error,
                "2: [builder.cpp::buildSerializedNetwork::609] Error Code 2: Internal Error "
                "(Assertion enginePtr != nullptr failed. )",
            )
            return None
        if does["killed_above_mib"] is not None and workspace > does["killed_above_mib"] << 20:
            os.kill(os.getpid(), signal.SIGKILL)
        if does["no_memory_above_mib"] is not None and workspace > does["no_memory_above_mib"] << 20:
            log.log(error, "2: [virtualMemoryBuffer.cpp::resizePhysical::161] Error Code 2: OutOfMemory")
            return None
        if does["dies"]:
            os.abort()
        if does["hangs"]:
            time.sleep(600)
        has_qdq = b"QuantizeLinear" in network._onnx
        if has_qdq and not world.fast_int8:
            log.log(error, "Networks with QuantizeLayer/DequantizeLayer layers require hardware with Int8 support")
            return None
        names = [flag.name for flag in config._flags]
        scales = {}
        if not has_qdq and "INT8" in names:
            scales = self._scales(config)
            if scales is None:
                log.log(error, "Calibration failure occurred with no scaling factors detected.")
                return None
        onnx, layers, lacking = rewritten(network._onnx, "FP16" in names, scales if world.fast_int8 else {})
        for name in lacking:
            log.log(
                world.ILogger.Severity.WARNING,
                "Missing scale and zero-point for tensor %s, expect fall back to "
                "non-int8 implementation for any layer consuming or producing given tensor" % (name,),
            )
        header = {
            "version": world.version,
            "sm": world.sm,
            "layers": [vars(layer) for layer in layers],
            "detailed": config.profiling_verbosity.name == "DETAILED",
            "timed": config.avg_timing_iterations,
            "level": getattr(config, "builder_optimization_level", None),
        }
        if does["disk_full"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        config._cache += b"measured;"
        return MAGIC + json.dumps(header).encode() + b"\n" + onnx

    def _scales(self, config):
        """{tensor: scale}, or None. As TensorRT: a cache of another version is skipped, then images are asked for."""
        calibrator = config.int8_calibrator
        assert calibrator.get_batch_size() == 1
        cache = calibrator.read_calibration_cache()
        header = cache.split(b"\n")[0].decode()
        major, minor, patch = [int(part) for part in self.world.version.split(".")[:3]]
        number = (major * 10000 if major >= 10 else major * 1000) + minor * 100 + patch
        skipped = self.world.does["ignores_cache"]
        if header == "TRT-%d-EntropyCalibration2" % number and not skipped:
            return scales_of(cache)
        assert calibrator.get_batch(["image"]) is None, "images would be calibrated on: the fake takes none"
        return None


class INetworkDefinition(object):
    pass


class IBuilderConfig(object):
    avg_timing_iterations = 1
    builder_optimization_level = 3
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
            session(rewritten(content, False, {})[0] if self.world.is_typed else content)
        except Exception as error:
            assert onnxruntime  # its exception types differ between releases
            self._errors.append(str(error))
        self._network._onnx = bytes(content)
        return not self._errors
