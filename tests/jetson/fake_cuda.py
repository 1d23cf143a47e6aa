"""The fake of pycuda.driver: memory of the device is memory of the process."""

import ctypes
import time

import numpy as np

MAPPED = set()  # addresses of the CPU's memory that the GPU was given, of all worlds of this process


class Flags(object):
    """ctx_flags and host_alloc_flags of pycuda.driver, those that are used."""

    SCHED_AUTO, MAP_HOST, DEVICEMAP = 0, 8, 2


class Attribute(object):
    """device_attribute."""

    INTEGRATED, CAN_MAP_HOST_MEMORY = 18, 19


class Device(object):
    def __init__(self, number):
        assert number == 0

    def compute_capability(self):
        return self.world.sm // 10, self.world.sm % 10

    def get_attribute(self, attribute):
        assert attribute in (Attribute.INTEGRATED, Attribute.CAN_MAP_HOST_MEMORY)
        return int(self.world.does["shares_memory"] or attribute == Attribute.CAN_MAP_HOST_MEMORY)

    def make_context(self, flags=0):
        self.world.can_map = bool(flags & Flags.MAP_HOST)
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


def pagelocked_empty(world):
    """pycuda's function of that name: `base` of the array is what knows its address on the device."""

    def empty(shape, dtype, order="C", mem_flags=0):
        assert order == "C"
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = (ctypes.c_char * size)()

        class PagelockedHostAllocation(type(memory)):
            def get_device_pointer(self):
                assert mem_flags & Flags.DEVICEMAP
                assert world.can_map, "CUDA before 11 maps nothing then"
                return ctypes.addressof(self)

            def __del__(self):
                MAPPED.discard(ctypes.addressof(self))

        memory = PagelockedHostAllocation()
        if mem_flags & Flags.DEVICEMAP:
            MAPPED.add(ctypes.addressof(memory))
        return np.ndarray(shape, dtype, buffer=memory)

    return empty
