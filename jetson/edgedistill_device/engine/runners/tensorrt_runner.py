"""TensorRT: the engine that `build` made on this board, and no other."""

import os

import numpy as np

from edgedistill_device.board.identity import board_name
from edgedistill_device.engine import cuda_memory, engine_file, trt_api
from edgedistill_device.engine.embedding_checks import output_width
from edgedistill_device.engine.execution import PLAIN, execution_of, possible, words_of
from edgedistill_device.engine.inference_queue import InferenceQueue
from edgedistill_device.engine.layer_times import kinds_from_text
from edgedistill_device.errors import BackendError, DeviceMemoryError, EngineError


class TensorRTRunner(object):
    """One engine, one input, one output, batch of one.

    Importing this needs no GPU; entering takes it, leaving gives it back, in the order buffers,
    context, engine, CUDA context.
    """

    backend, executed = "tensorrt", None
    engine_sha256 = None
    execution = PLAIN  # of the sidecar, as far as it is possible here
    engine_path = None  # for the board's own trtexec
    last_compute_ms = None
    provenance = "TensorRT"

    def __init__(self, folder, manifest, verified=False):
        self._folder, self._manifest, self._verified = folder, manifest, verified
        self._device = self._engine = self._context = self._runtime = None
        self._queues, self._bound = {}, None  # InferenceQueue by Execution, and the one that the context is set to

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
            self.execution = possible(execution_of(record), self._device)[0]
        except BaseException:  # a half-loaded engine must not keep the GPU
            self._close()
            raise
        self.executed, self.engine_sha256 = record["executed"], record["engine_sha256"]
        self.engine_path = os.path.join(engine_file.engine_folder(self._folder), record["engine"])
        how = words_of(self.execution)
        self.provenance = "measured: TensorRT %s on %s, memory by %s%s" % (
            trt.__version__,
            record["board"],
            self._device.by,
            ", with " + how if how else "",
        )
        return self

    def __exit__(self, *error):
        self._close()

    def infer(self, batch):
        """(1, 3, H, W) float32 in, (1, classes) float32 logits out, a fresh array each call.

        `last_compute_ms` is then what the GPU took between two CUDA events, copies left out.
        """
        try:
            return self.infer_as(self.execution, batch)
        except BackendError as error:
            if self._bound is not None or self.execution == PLAIN or isinstance(error, DeviceMemoryError):
                raise
            raise BackendError(
                "%s; how this board can run the engine says: python3 -m edgedistill_device bench --tune again"
                % (error,)
            )

    def infer_as(self, execution, batch):
        """The same by another Execution of this engine; each keeps its arrays until the runner is left.

        Args:
            execution: one that is execution.possible here.
        """
        if self._bound is None or self._bound.execution != execution:
            if execution not in self._queues:
                self._queues[execution] = InferenceQueue(self._device, self._context, self._tensors, execution)
            self._bound = None  # until it is bound
            self._queues[execution].bind()
            self._bound = self._queues[execution]
        logits = self._bound.infer(batch, *self._events)
        self.last_compute_ms = self._device.elapsed_ms(*self._events)
        return logits

    def profile(self, batch, runs):
        """[[(layer, type or None, ms)]], run by run; slower than `infer`, so after all that is timed."""
        self.infer(batch)
        queue, self._bound = self._bound, None
        profiled_runs = trt_api.profiled(self._trt, self._context, queue.addresses, runs)
        kinds = kinds_from_text(trt_api.layers_text(self._trt, self._engine))
        return [[(name, kinds.get(name), ms) for name, ms in run] for run in profiled_runs]

    def can(self, execution):
        """(what of an Execution is possible here, why not the rest or "")."""
        return possible(execution, self._device)

    def _load(self, trt, content):
        log = trt_api.make_log(trt)
        self._runtime, self._engine = trt_api.load_engine(trt, log, content)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise DeviceMemoryError("TensorRT has no memory for this engine's context; stop other programs")
        tensors = trt_api.tensors(trt, self._engine)
        expected = [
            (self._manifest.input_name, True, self._manifest.input_shape, np.float32),
            (self._manifest.output_name, False, (1, output_width(self._manifest)), np.float32),
        ]
        if sorted(tensors) != sorted(expected):
            raise EngineError("the engine has the tensors %s, the manifest says %s" % (tensors, expected))
        self._trt, self._tensors = trt, tensors
        self._events = self._device.event(), self._device.event()

    def _close(self):
        self._queues, self._bound, self._events = {}, None, None
        self._context = self._engine = self._runtime = None
        if self._device is not None:
            self._device.close()
            self._device = None
