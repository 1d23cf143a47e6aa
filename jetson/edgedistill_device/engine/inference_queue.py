"""The arrays of an engine's input and output, and what queues one inference of them."""

import numpy as np

from edgedistill_device.engine import trt_api
from edgedistill_device.errors import BackendError


class InferenceQueue(object):
    """Input and output arrays of an engine, and what queues one inference of them by one Execution.

    A context may have several; the one that was bound last is the one that may be used.
    """

    def __init__(self, device, context, tensors, execution):
        """
        Args:
            device: open, of cuda_memory.
            context: TensorRT's execution context.
            tensors: of trt_api.tensors, one input and one output.
            execution: one that is `possible`.
        """
        self._device, self._context, self.execution = device, context, execution
        self._copy_in = self._copy_out = self._graph = self._launch = None
        self.addresses = []  # as trt_api.launcher takes them
        for name, is_input, shape, dtype in tensors:
            if execution.mapped_memory:
                host, address = device.mapped(shape, dtype)
            else:
                host = device.pinned(shape, dtype)
                address = device.allocate(host.nbytes)
            self.addresses.append((name, address))
            if is_input:
                self._input = host
            else:
                self._output = host
            if is_input and not execution.mapped_memory:
                self._copy_in = device.copy_in(address, host)
            elif not execution.mapped_memory:
                self._copy_out = device.copy_out(host, address)

    def bind(self):
        """Point the context to these arrays, before the first inference and after another queue's.

        Raises:
            BackendError: the inference cannot be recorded as a graph.
        """
        self._launch = trt_api.launcher(self._context, self.addresses, self._device.stream)
        if self.execution.cuda_graph:
            if self._graph is None:
                self._input[...] = 0
                self._queue()  # what the context does once has to be done before it is recorded
                self._device.synchronize()
                self._graph = self._device.captured(self._launch)
            self._launch = self._replay

    def infer(self, batch, start, end):
        """See TensorRTRunner.infer; events `start` and `end` stand around the kernels."""
        if batch.shape != self._input.shape or batch.dtype != self._input.dtype:
            raise ValueError(
                "expected %s %s, got %s %s" % (self._input.dtype, self._input.shape, batch.dtype, batch.shape)
            )
        np.copyto(self._input, batch)
        if self._copy_in is not None:
            self._copy_in()
        self._device.record(start)
        self._queue()
        self._device.record(end)
        if self._copy_out is not None:
            self._copy_out()
        self._device.synchronize()
        return self._output.copy()

    def _queue(self):
        if not self._launch():
            raise BackendError("TensorRT did not start the inference; the lines above say why")

    def _replay(self):
        self._graph()
        return True
