"""The fake of pycuda.driver: memory of the device is memory of the process."""

import ctypes
import time


class Device(object):
    def __init__(self, number):
        assert number == 0

    def compute_capability(self):
        return self.world.sm // 10, self.world.sm % 10

    def make_context(self):
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
