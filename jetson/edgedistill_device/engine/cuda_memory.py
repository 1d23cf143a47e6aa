"""The GPU's memory and stream, by pycuda or, where it is missing or broken, by ctypes on libcudart.

JetPack brings libcudart and no pycuda, which must be compiled on the board; both do the same here.
"""

import ctypes
import re
from functools import partial

import numpy as np

from edgedistill_device import imports
from edgedistill_device.board.identity import groups_mend
from edgedistill_device.errors import BackendError, DeviceMemoryError

LIBRARIES = ("libcudart.so", "libcudart.so.10.2", "libcudart.so.11.0", "libcudart.so.12", "libcudart.so.13")
_COMPUTE_CAPABILITY = (75, 76)  # cudaDevAttrComputeCapabilityMajor, ...Minor
_SHARED_MEMORY = (18, 19)  # cudaDevAttrIntegrated, cudaDevAttrCanMapHostMemory
_TO_DEVICE, _TO_HOST = 1, 2  # cudaMemcpyKind
_MAPPED = 2  # cudaHostAllocMapped
_THREAD_LOCAL = 1  # cudaStreamCaptureModeThreadLocal, which trtexec takes
_NO_MEMORY = 2  # cudaErrorMemoryAllocation
# 801, cudaErrorNotSupported, is what JetPack 6 answers to who may not open /dev/dri/renderD128.
_NO_ACCESS = re.compile(r"CUDA error 801\b|not supported|not permitted", re.IGNORECASE)


def find_device():
    """The first CUDA device, not yet taken: `facts()` costs no memory, `open()` does.

    Raises:
        BackendError: no device, or nothing to reach it with.
    """
    try:
        device = PycudaDevice(imports.load("pycuda.driver", "libcudart does the same"))
        device.facts()
        return device
    except Exception as error:  # of a pycuda for another CUDA or numpy, or no driver to start
        why = "pycuda: " + (error.why if isinstance(error, imports.PackageError) else imports.line_of(error))
    try:
        return CudartDevice(_cudart())
    except BackendError as error:
        raise BackendError("%s (%s)%s" % (error, why, access_hint("%s %s" % (error, why))))


def access_hint(text):
    """`; this user must be in ...` where CUDA's words mean that the device files are not this user's."""
    return "; " + groups_mend() if _NO_ACCESS.search(text) else ""


class PycudaDevice(object):
    """See CudartDevice: the same methods by pycuda.

    All open devices of a process share one context, as with libcudart: whichever is used, the
    current context is the right one, and CUDA's own memory is taken once.
    """

    by = "pycuda"
    has_graphs = False  # pycuda has no stream capture (inducer/pycuda of March 2026)
    _context, _users = None, 0  # of the process

    def __init__(self, driver):
        self._driver, self._open = driver, False
        driver.init()
        self._device = driver.Device(0)

    def facts(self):
        major, minor = self._device.compute_capability()
        cuda = "%d.%d" % self._driver.get_version()[:2]
        return {"sm": 10 * major + minor, "cuda": cuda, "by": self.by}

    def shares_memory(self):
        attribute = self._driver.device_attribute
        asked = (attribute.INTEGRATED, attribute.CAN_MAP_HOST_MEMORY)
        return all(self._device.get_attribute(one) for one in asked)

    def open(self):
        if PycudaDevice._users == 0:
            flags = self._driver.ctx_flags.MAP_HOST  # needed for `mapped` before CUDA 11, always on since
            PycudaDevice._context = self._call(self._device.make_context, flags)
        PycudaDevice._users += 1
        self._open = True
        self._stream = self._call(self._driver.Stream)
        self.stream = self._stream.handle
        self._held = []

    def pinned(self, shape, dtype):
        return self._call(self._driver.pagelocked_empty, shape, dtype)

    def mapped(self, shape, dtype):
        flags = self._driver.host_alloc_flags.DEVICEMAP
        host = self._call(self._driver.pagelocked_empty, shape, dtype, "C", flags)
        return host, int(self._call(host.base.get_device_pointer))

    def allocate(self, size):
        self._held.append(self._call(self._driver.mem_alloc, size))
        return int(self._held[-1])

    def copy_in(self, address, host):
        return partial(self._call, self._driver.memcpy_htod_async, address, host, self._stream)

    def copy_out(self, host, address):
        return partial(self._call, self._driver.memcpy_dtoh_async, host, address, self._stream)

    def synchronize(self):
        self._call(self._stream.synchronize)

    def event(self):
        return self._driver.Event()

    def record(self, event):
        event.record(self._stream)

    def elapsed_ms(self, start, end):
        return start.time_till(end)

    def close(self):
        if not self._open:
            return
        self._stream, self._held, self._open = None, [], False
        PycudaDevice._users -= 1
        if PycudaDevice._users == 0:
            context, PycudaDevice._context = PycudaDevice._context, None
            context.pop()
            context.detach()

    def _call(self, function, *words):
        driver = self._driver
        try:
            return function(*words)
        except driver.MemoryError as error:
            raise DeviceMemoryError("no GPU memory: %s" % (error,))
        except driver.Error as error:
            raise BackendError("pycuda: %s%s" % (error, access_hint(str(error))))


class CudartDevice(object):
    """One device, one stream.

    `open` takes it and `close` gives everything back. `copy_in` and `copy_out` return functions
    without arguments, so that nothing is made per frame; `stream` is the handle for TensorRT.
    """

    by = "ctypes"
    has_graphs = True

    def __init__(self, library):
        self._library = library
        library.cudaGetErrorString.restype = ctypes.c_char_p
        count = ctypes.c_int()
        self._call("cudaGetDeviceCount", ctypes.byref(count))
        self._held, self._pinned, self._events, self._graphs, self.stream = [], [], [], [], None

    def facts(self):
        """{"sm": 53, "cuda": "10.2", "by": "ctypes"}"""
        capability, version = [self._attribute(one) for one in _COMPUTE_CAPABILITY], ctypes.c_int()
        self._call("cudaRuntimeGetVersion", ctypes.byref(version))
        cuda = "%d.%d" % (version.value // 1000, version.value % 1000 // 10)
        return {"sm": 10 * capability[0] + capability[1], "cuda": cuda, "by": self.by}

    def shares_memory(self):
        """Whether the GPU works in the CPU's memory, as on a Jetson, and may be given some of it."""
        return all(self._attribute(one) for one in _SHARED_MEMORY)

    def open(self):
        handle = ctypes.c_void_p()
        self._call("cudaStreamCreate", ctypes.byref(handle))
        self._stream, self.stream = handle, handle.value or 0

    def pinned(self, shape, dtype):
        """A page-locked array, which copies at full speed and without a copy of the copy."""
        return self._host(shape, dtype, 0)[0]

    def mapped(self, shape, dtype):
        """(a page-locked array, its address for the GPU), so that nothing is copied; see `shares_memory`."""
        host, pointer = self._host(shape, dtype, _MAPPED)
        address = ctypes.c_void_p()
        self._call("cudaHostGetDevicePointer", ctypes.byref(address), pointer, 0)
        return host, address.value

    def allocate(self, size):
        """Address of `size` bytes on the device."""
        pointer = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(size))
        self._held.append(pointer)
        return pointer.value

    def copy_in(self, address, host):
        return self._copy(address, host.ctypes.data, host.nbytes, _TO_DEVICE)

    def copy_out(self, host, address):
        return self._copy(host.ctypes.data, address, host.nbytes, _TO_HOST)

    def synchronize(self):
        self._call("cudaStreamSynchronize", self._stream)

    def captured(self, queue):
        """Record what `queue` puts on the stream as a CUDA graph; a function without arguments that queues all of it.

        Args:
            queue: as of trt_api.launcher; called once, and nothing of it runs. What it allocates or asks of the
                device at its first call has to be done before (NVIDIA/TensorRT issue 2603).

        Raises:
            BackendError: not everything that it does can be recorded.
        """
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cudaStreamBeginCapture", self._stream, _THREAD_LOCAL)
        try:
            queued = queue()
        finally:
            self._call("cudaStreamEndCapture", self._stream, ctypes.byref(graph))
        if not queued:
            raise BackendError("TensorRT did not queue the inference while it was recorded")
        self._graphs.append(("cudaGraphDestroy", graph))
        # CUDA 12 takes (.., flags), before it (.., error node, log, its size): zeros are right for both.
        words = (graph, ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_size_t(0))
        self._call("cudaGraphInstantiate", ctypes.byref(executable), *words)
        self._graphs.append(("cudaGraphExecDestroy", executable))
        return partial(self._call, "cudaGraphLaunch", executable, self._stream)

    def event(self):
        made = ctypes.c_void_p()
        self._call("cudaEventCreate", ctypes.byref(made))
        self._events.append(made)
        return made

    def record(self, event):
        self._call("cudaEventRecord", event, self._stream)

    def elapsed_ms(self, start, end):
        milliseconds = ctypes.c_float()
        self._call("cudaEventElapsedTime", ctypes.byref(milliseconds), start, end)
        return milliseconds.value

    def close(self):
        if self.stream is None:
            return
        self.stream = None
        for destroy, graph in reversed(self._graphs):
            self._call(destroy, graph)
        for event in self._events:
            self._call("cudaEventDestroy", event)
        self._call("cudaStreamDestroy", self._stream)
        for pointer in self._held:
            self._call("cudaFree", pointer)
        for pointer in self._pinned:
            self._call("cudaFreeHost", pointer)
        self._held, self._pinned, self._events, self._graphs = [], [], [], []

    def _attribute(self, number):
        value = ctypes.c_int()
        self._call("cudaDeviceGetAttribute", ctypes.byref(value), number, 0)
        return value.value

    def _host(self, shape, dtype, flags):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        pointer = ctypes.c_void_p()
        self._call("cudaHostAlloc", ctypes.byref(pointer), ctypes.c_size_t(size), flags)
        self._pinned.append(pointer)
        raw = (ctypes.c_byte * size).from_address(pointer.value)
        return np.frombuffer(raw, dtype=dtype).reshape(shape), pointer

    def _copy(self, to, source, size, kind):
        return partial(
            self._call,
            "cudaMemcpyAsync",
            ctypes.c_void_p(to),
            ctypes.c_void_p(source),
            ctypes.c_size_t(size),
            kind,
            self._stream,
        )

    def _call(self, name, *words):
        code = getattr(self._library, name)(*words)
        if code:
            message = self._library.cudaGetErrorString(code).decode("ascii", "replace")
            kind = DeviceMemoryError if code == _NO_MEMORY else BackendError
            raise kind("%s: CUDA error %d, %s" % (name, code, message))


def _cudart():
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise BackendError(
        "neither pycuda nor libcudart was found; add CUDA's library folder: "
        "export LD_LIBRARY_PATH=/usr/local/cuda/lib64"
    )
