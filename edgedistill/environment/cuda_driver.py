"""How many GPUs NVIDIA's driver has and of which CUDA it is; and for which CUDA PyTorch is, without importing it."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple


class Driver(NamedTuple):
    """NVIDIA's driver of this computer."""

    devices: int
    cuda: tuple[int, int]
    """Major and minor version of the newest CUDA that it runs; (0, 0): unknown."""


def cuda_driver(load: Callable[[str], Any] = ctypes.CDLL) -> Driver | None:
    """Return the driver; None where there is none, or where it finds no device.

    Args:
        load: opens a shared library by its name.
    """
    count, version = ctypes.c_int(0), ctypes.c_int(0)
    try:
        library = load("libcuda.so.1")
    except OSError:
        return None
    if library.cuInit(0) != 0 or library.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value < 1:
        return None
    if library.cuDriverGetVersion(ctypes.byref(version)) != 0:
        version = ctypes.c_int(0)
    return Driver(count.value, (version.value // 1000, version.value % 1000 // 10))  # 12040 is 12.4


def cuda_of_pytorch() -> int | None:
    """Return the major version of the CUDA that the installed PyTorch was built for; 0: none, None: unknown.

    The version tells, as in 2.10.0+cu126 and 2.10.0+cpu; else NVIDIA's packages that it requires, whose names end in
    -cu12 or -cu13.
    """
    try:
        version, required = metadata.version("torch"), metadata.requires("torch") or []
    except metadata.PackageNotFoundError:
        return None
    local = version.partition("+")[2]
    if built := re.fullmatch(r"cu(\d+)\d", local):
        return int(built[1])
    if local == "cpu":
        return 0
    majors = [int(found[1]) for line in required if (found := re.match(r"nvidia-[a-z-]+-cu(\d+)\b", line))]
    return max(majors, default=None)
