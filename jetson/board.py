"""What the board has: its name, its memory, its disk; and how much of it a build may plan with."""

import os
import platform
import shutil
from typing import NamedTuple

from jetson.errors import BuildError
from jetson.telemetry import kibibytes_from_text

# What a build needs before it holds a byte of the network. Logs of trtexec 8.0.1 on a Nano
# (NobuoTsukamoto/benchmarks) and wang-xinyu/tensorrtx issue 1160: CUDA 203 to 225 MiB, cuBLAS 156
# to 280, cuDNN 241 to 414, and a MobileNet's own tens of MiB.
BASE_MIB = 350
EXTERNAL_TACTICS_MIB = 700
# 1024 killed builds on a Nano where 256 did not (jkjung-avt/tensorrt_demos issues 293 and 344).
SMALLEST_WORKSPACE_MIB, LARGEST_WORKSPACE_MIB = 16, 512
BUILD_TIMEOUT_S = 3600  # a Nano takes 2 to 15 minutes for small networks
SHORT_SWAP_MIB = 1024  # below this much memory and swap together a build is at risk

Attempt = NamedTuple("Attempt", [("workspace_mib", int), ("external_tactics", bool)])
# What `doctor` looked at. Nothing works without a required one; advice is "" when ok.
Check = NamedTuple(
    "Check",
    [("name", str), ("ok", bool), ("required", bool), ("found", str), ("advice", str)],
)


def board_name():
    """`NVIDIA Jetson Nano Developer Kit`, from the device tree; elsewhere the processor's kind."""
    try:
        with open("/proc/device-tree/model", encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n ") or platform.machine()
    except (IOError, OSError):
        return platform.machine()


def memory_mib():
    """{"available", "swap_free"} of the system in MiB, shared by CPU and GPU on a Jetson."""
    with open("/proc/meminfo", encoding="ascii", errors="replace") as file:
        found = kibibytes_from_text(file.read())
    return {"available": found.get("MemAvailable", 0) // 1024,
            "swap_free": found.get("SwapFree", 0) // 1024}  # fmt: skip


def check_disk(folder, model_bytes):
    """Refuse a build whose engine would not fit.

    Raises:
        BuildError: less than three times the model and 64 MiB are free.
    """
    free, need = shutil.disk_usage(folder).free, 3 * model_bytes + (64 << 20)
    if free < need:
        raise BuildError(
            "%s: %d MiB of disk are free and a build needs %d; remove something and build again"
            % (os.path.abspath(folder), free >> 20, -(-need >> 20))  # rounded up, so that the two differ
        )


def attempts(memory, workspace_mib=None, budget_mib=None):
    """What to try, each after the one before ran out of memory.

    Half of what stays after the libraries becomes workspace, in powers of two; cuBLAS and cuDNN
    take part only where there is room, and never in a second attempt.

    Args:
        memory: of memory_mib.
        workspace_mib: for the first attempt, instead of what is planned here.
        budget_mib: what the process may take when it serves, where both come with the engine; None:
            no limit.

    Raises:
        BuildError: not even the smallest would fit.
    """
    if workspace_mib is not None and workspace_mib < SMALLEST_WORKSPACE_MIB:
        raise BuildError(
            "--workspace-mib %d: expected at least %d" % (workspace_mib, SMALLEST_WORKSPACE_MIB)
        )
    available = memory["available"]
    if available < BASE_MIB + SMALLEST_WORKSPACE_MIB:
        raise BuildError(
            "%d MiB of memory are available and a build needs %d; stop the desktop "
            "(sudo systemctl isolate multi-user.target) and other programs, then build again"
            % (available, BASE_MIB + SMALLEST_WORKSPACE_MIB)
        )
    available = min(available, budget_mib or available)
    external = available >= BASE_MIB + EXTERNAL_TACTICS_MIB + 256
    room = (available - BASE_MIB - (EXTERNAL_TACTICS_MIB if external else 0)) // 2
    planned = LARGEST_WORKSPACE_MIB
    while planned > max(room, SMALLEST_WORKSPACE_MIB):
        planned //= 2
    found = [Attempt(workspace_mib or planned, external)]
    for divisor in (4, 16):
        smaller = max(SMALLEST_WORKSPACE_MIB, found[0].workspace_mib // divisor)
        if Attempt(smaller, False) != found[-1] and smaller <= found[-1].workspace_mib:
            found.append(Attempt(smaller, False))
    return found


def memory_warnings(memory):
    """Lines on what may end a build early, with the mend."""
    if memory["available"] + memory["swap_free"] >= SHORT_SWAP_MIB:
        return []
    return [
        "only %d MiB of memory and %d MiB of swap are free; a swap file lets the rest of the system "
        "make room (it is no GPU memory): sudo fallocate -l 4G /swapfile; sudo chmod 600 /swapfile; "
        "sudo mkswap /swapfile; sudo swapon /swapfile" % (memory["available"], memory["swap_free"])
    ]
