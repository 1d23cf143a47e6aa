"""The fake's runtime, engine and context: ONNX Runtime computes on the "device's" memory, the process's own."""

import ctypes
import json
import os
import signal

import numpy as np

MAGIC = b"fake engine\n"
SPENT_MS = [0.0]  # simulated time of all inferences: a clock that no other program disturbs


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
        context._runs, context._recorded = 0, []
        return context

    def create_engine_inspector(self):
        """Layers as the inspector of 8.2 writes them; names alone without detail."""
        layers = []
        for layer in self._header["layers"]:
            word = (
                "Float"
                if self.world.does["float_layers"]
                else {"int8": "Int8", "fp16": "Half", "fp32": "Float"}[layer["precision"]]
            )
            outputs = [
                {
                    "Name": layer["name"],
                    "Format/Datatype": "Row major linear %s format" % {"Half": "FP16", "Float": "FP32"}.get(word, word),
                }
            ]
            found = {"Name": layer["name"], "LayerType": layer["kind"], "Outputs": outputs}
            if layer["kind"] == "CaskConvolution":
                found.update(Outputs=[], Weights={"Type": word, "Count": 6})
            layers.append(found)
        if not self._header["detailed"]:
            layers = [layer["Name"] for layer in layers]
        return type(
            "EngineInspector",
            (object,),
            {
                "get_engine_information": lambda this, form: (
                    json.dumps({"Layers": layers}) if form.name == "JSON" else ""
                ),
            },
        )()


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
        if self._profiler is not None:
            layers = self._engine._header["layers"]
            for number, layer in enumerate(layers):  # 1 ms in all, each longer than the one before
                self._profiler.report_layer_time(layer["name"], (2 * number + 1.0) / len(layers) ** 2)
        return done

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle):
        return self._queue(stream_handle, [self._addresses[t.name] for t, _ in self._engine._tensors])

    def execute_async_v2(self, bindings, stream_handle):
        return self._queue(stream_handle, list(bindings))

    def _queue(self, stream, addresses):
        """Run it; or leave it to the graph, where the stream is captured by fake_cudart.c, the only one that can."""
        cudart, does = self.world.cudart(), self.world.does
        if cudart is None or not cudart.capturing(ctypes.c_void_p(stream)):
            return self._run(addresses)
        if does["dies_in_capture"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        if self._runs == 0 or does["no_capture"]:  # NVIDIA/TensorRT issue 2603: the first run asks the device
            return False
        work = ctypes.CFUNCTYPE(None)(lambda: self._run(addresses, by_graph=True) and None)
        self._recorded.append(work)  # which must outlive the graph
        cudart.record(work)
        return True

    def _run(self, addresses, by_graph=False):
        tensors, does, header = self._engine._tensors, self.world.does, self._engine._header
        mapped = self.world.is_mapped(addresses[-1])
        self._runs += 1
        SPENT_MS[0] += 1.0 + does["level_ms"].get(header["level"], 0.0) + does["timed_ms"].get(header["timed"], 0.0)
        SPENT_MS[0] += (0.0 if by_graph else does["queue_ms"]) + does["mapped_ms" if mapped else "copy_ms"]
        views = [
            np.frombuffer((ctypes.c_byte * (4 * int(np.prod(t.shape)))).from_address(address), np.float32).reshape(
                t.shape
            )
            for (t, _), address in zip(tensors, addresses)
        ]
        feeds = {t.name: view for (t, is_input), view in zip(tensors, views) if is_input}
        views[-1][...] = self._engine._session.run(None, feeds)[0]
        views[-1][...] += (does["graph_adds"] if by_graph else 0.0) + (does["mapped_adds"] if mapped else 0.0)
        if does["wavers"]:
            views[-1][...] += 1e-6 * (self._runs % 3)
        if does["nan"]:
            views[-1][...] = np.nan
        return True


def session(onnx):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
