"""TensorRT: the engine that `build` made on this board, and no other."""

import os

import numpy as np

from edgedistill_device.board.identity import board_name
from edgedistill_device.engine import cuda_memory, engine_file, trt_api
from edgedistill_device.engine.layer_times import kinds_from_text
from edgedistill_device.errors import BackendError, DeviceMemoryError, EngineError


class TensorRTRunner(object):
    """One engine, one input, one output, batch of one.

    Importing this needs no GPU; entering takes it, leaving gives it back, in the order buffers,
    context, engine, CUDA context.
    """

    backend, executed = "tensorrt", None
    engine_sha256 = None
    engine_path = None  # for the board's own trtexec
    last_compute_ms = None
    provenance = "TensorRT"

    def __init__(self, folder, manifest, verified=False):
        self._folder, self._manifest, self._verified = folder, manifest, verified
        self._device = self._engine = self._context = self._runtime = None

    def __enter__(self):
        read = engine_file.read_verified_engine if self._verified else engine_file.read_engine
        record, content = read(self._folder, self._manifest)
        engine_file.check_machine(record, board=board_name())
        trt = trt_api.load(record["compiler"])
        engine_file.check_machine(record, tensorrt=trt.__version__)
        self._device = cuda_memory.find_device()
        engine_file.check_machine(record, sm=self._device.facts()["sm"])
        try:
            self._device.open()
            self._load(trt, content)
        except BaseException:  # a half-loaded engine must not keep the GPU
            self._close()
            raise
        self.executed, self.engine_sha256 = record["executed"], record["engine_sha256"]
        self.engine_path = os.path.join(engine_file.engine_folder(self._folder), record["engine"])
        self.provenance = "measured: TensorRT %s on %s, memory by %s" % (
            trt.__version__,
            record["board"],
            self._device.by,
        )
        return self

    def __exit__(self, *error):
        self._close()

    def infer(self, batch):
        """(1, 3, H, W) float32 in, (1, classes) float32 logits out, a fresh array each call.

        `last_compute_ms` is then what the GPU took between two CUDA events, copies left out.
        """
        self._fill(batch)
        self._copy_in()
        start, end = self._events
        self._device.record(start)
        if not self._launch():
            raise BackendError("TensorRT did not start the inference; the lines above say why")
        self._device.record(end)
        self._copy_out()
        self._device.synchronize()
        self.last_compute_ms = self._device.elapsed_ms(start, end)
        return self._output.copy()

    def profile(self, batch, runs):
        """[[(layer, type or None, ms)]], run by run; slower than `infer`, so after all that is timed."""
        self.infer(batch)
        profiled_runs = trt_api.profiled(self._trt, self._context, self._addresses, runs)
        kinds = kinds_from_text(trt_api.layers_text(self._trt, self._engine))
        return [[(name, kinds.get(name), ms) for name, ms in run] for run in profiled_runs]

    def _fill(self, batch):
        if batch.shape != self._input.shape or batch.dtype != self._input.dtype:
            raise ValueError(
                "expected %s %s, got %s %s" % (self._input.dtype, self._input.shape, batch.dtype, batch.shape)
            )
        np.copyto(self._input, batch)

    def _load(self, trt, content):
        log = trt_api.make_log(trt)
        self._runtime, self._engine = trt_api.load_engine(trt, log, content)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise DeviceMemoryError("TensorRT has no memory for this engine's context; stop other programs")
        tensors = trt_api.tensors(trt, self._engine)
        expected = [
            (self._manifest.input_name, True, self._manifest.input_shape, np.float32),
            (self._manifest.output_name, False, (1, len(self._manifest.classes)), np.float32),
        ]
        if sorted(tensors) != sorted(expected):
            raise EngineError("the engine has the tensors %s, the manifest says %s" % (tensors, expected))
        device, addresses, self._trt = self._device, [], trt
        for name, is_input, shape, dtype in tensors:
            host = device.pinned(shape, dtype)
            address = device.allocate(host.nbytes)
            addresses.append((name, address))
            if is_input:
                self._input, self._copy_in = host, device.copy_in(address, host)
            else:
                self._output, self._copy_out = host, device.copy_out(host, address)
        self._events = device.event(), device.event()
        self._addresses = addresses
        self._launch = trt_api.launcher(self._context, addresses, device.stream)

    def _close(self):
        self._launch = self._copy_in = self._copy_out = self._events = None
        self._input = self._output = None
        self._context = self._engine = self._runtime = None
        if self._device is not None:
            self._device.close()
            self._device = None
