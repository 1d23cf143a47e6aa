"""What the board has: its name, its memory, its disk; and how much of it a build may plan with."""

import glob
import grp
import os
import platform
import shutil
from typing import NamedTuple

from edgedistill_device.board.telemetry import board_model, kibibytes_from_text, text_of
from edgedistill_device.errors import BuildError

# What a build needs before it holds a byte of the network. Logs of trtexec 8.0.1 on a Nano
# (NobuoTsukamoto/benchmarks) and wang-xinyu/tensorrtx issue 1160: CUDA 203 to 225 MiB, cuBLAS 156
# to 280, cuDNN 241 to 414, and a MobileNet's own tens of MiB.
BASE_MIB = 350
EXTERNAL_TACTICS_MIB = 700
WITH_LIBRARIES_MIB = BASE_MIB + EXTERNAL_TACTICS_MIB + 256  # with less, a build is without cuBLAS and cuDNN
# 1024 killed builds on a Nano where 256 did not (jkjung-avt/tensorrt_demos issues 293 and 344).
# With 16, a first convolution of 7x7 finds no kernel; 32 mended it (dusty-nv/jetson-inference issue 1499).
SMALLEST_WORKSPACE_MIB, LARGEST_WORKSPACE_MIB = 32, 512
BUILD_TIMEOUT_S = 3600  # a Nano takes 2 to 15 minutes for small networks
SHORT_SWAP_MIB = 1024  # below this much memory and swap together a build is at risk
MODEL_FILE, RELEASE_FILE = "proc/device-tree/model", "etc/nv_tegra_release"
MOUNTS = "-v /proc/device-tree:/proc/device-tree:ro -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro"
GROUPS_MEND = (
    "this user must be in the groups video and, on JetPack 6 and newer, render: sudo usermod -aG "
    "video,render $USER, then log in again"
)
_CONTAINER_GROUPS_MEND = (  # the host's group has another number, or none, in the image
    'the GPU\'s device file belongs to a group of the host: docker run --group-add "$(stat -c %g /dev/dri/renderD128)"'
)
SWAP_MEND = (
    "swap lets the rest of the system make room (it is no GPU memory): sudo fallocate -l 4G /swapfile; "
    "sudo chmod 600 /swapfile; sudo mkswap /swapfile; sudo swapon /swapfile"
)
_TEGRA_DEVICES = ("dev/nvmap", "dev/nvhost-ctrl")
_GPU_DEVICES = _TEGRA_DEVICES + ("dev/nvhost-*gpu", "dev/nvgpu/*/ctrl", "dev/dri/renderD*")
_CONTAINER_FILES = (".dockerenv", "run/.containerenv")

Attempt = NamedTuple("Attempt", [("workspace_mib", int), ("external_tactics", bool)])
# What `doctor` looked at. Nothing works without a required one; advice is "" when ok.
Check = NamedTuple(
    "Check",
    [("name", str), ("ok", bool), ("required", bool), ("found", str), ("advice", str)],
)


def board_name(root="/"):
    """`NVIDIA Jetson Nano Developer Kit`, as telemetry.board_model; elsewhere the processor's kind."""
    return board_model(root) or platform.machine()


def is_jetson(root="/"):
    """Whether this is a Jetson, also in a container that hides the files that say so."""
    return bool(text_of(os.path.join(root, RELEASE_FILE)) or _any_there(root, _TEGRA_DEVICES))


def hidden_identity(root="/"):
    """What a container hides of the board that it runs on, and how to make it visible; "" when the board is known.

    A container has no name of its board unless the device tree is mounted: /proc/device-tree leads to
    /sys/firmware, which Docker masks. The engine's sidecar holds the host's name.
    """
    if board_model(root):
        return ""
    contained = in_container(root)
    if not is_jetson(root) and not (contained and platform.machine() == "aarch64"):
        return ""
    missing = [name for name in (MODEL_FILE, RELEASE_FILE) if not text_of(os.path.join(root, name))]
    return "%s %s not there%s: docker run %s" % (
        " and ".join("/" + name for name in missing),
        "are" if len(missing) > 1 else "is",
        " in this container" if contained else "",
        MOUNTS,
    )


def in_container(root="/"):
    """Whether Docker or Podman started this."""
    return _any_there(root, _CONTAINER_FILES)


def groups_mend(root="/"):
    """What gives this user the GPU's device files."""
    return _CONTAINER_GROUPS_MEND if in_container(root) else GROUPS_MEND


def closed_devices(root="/"):
    """Device files of the GPU that this user may not open, each with its group's name."""
    closed = []
    for pattern in _GPU_DEVICES:
        for path in sorted(glob.glob(os.path.join(root, pattern))):
            if not os.access(path, os.R_OK | os.W_OK):
                closed.append("%s (group %s)" % (path, _group_of(path)))
    return closed


def _any_there(root, names):
    return any(os.path.exists(os.path.join(root, name)) for name in names)


def _group_of(path):
    number = os.stat(path).st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:  # a container's /etc/group is not the host's
        return str(number)


def memory_mib(root="/"):
    """{"total", "available", "swap_free"} of the system in MiB, shared by CPU and GPU on a Jetson; 0: not known."""
    kibibytes = kibibytes_from_text(text_of(os.path.join(root, "proc/meminfo")))
    names = {"total": "MemTotal", "available": "MemAvailable", "swap_free": "SwapFree"}
    return {key: kibibytes.get(name, 0) // 1024 for key, name in names.items()}


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
    """The attempts of a build, each after the one before ran out of memory.

    Half of what stays after the libraries becomes workspace, in powers of two; cuBLAS and cuDNN
    take part only where there is room, and never in a second attempt. Then W/2, W/4 and the smallest:
    each is minutes on a board, and fewer steps leave a network between two of them without an engine.

    Args:
        memory: of memory_mib.
        workspace_mib: for the first attempt, instead of what is planned here.
        budget_mib: what the process may take when it serves, where both come with the engine; None:
            no limit.

    Raises:
        BuildError: not even the smallest would fit.
    """
    if workspace_mib is not None and workspace_mib < SMALLEST_WORKSPACE_MIB:
        raise BuildError("--workspace-mib %d: expected at least %d" % (workspace_mib, SMALLEST_WORKSPACE_MIB))
    available = memory["available"]
    if available < BASE_MIB + SMALLEST_WORKSPACE_MIB:
        raise BuildError(
            "%d MiB of memory are available and a build needs %d; stop the desktop "
            "(sudo systemctl isolate multi-user.target) and other programs, then build again"
            % (available, BASE_MIB + SMALLEST_WORKSPACE_MIB)
        )
    available = min(available, budget_mib or available)
    external = available >= WITH_LIBRARIES_MIB
    room = (available - BASE_MIB - (EXTERNAL_TACTICS_MIB if external else 0)) // 2
    planned = LARGEST_WORKSPACE_MIB
    while planned > max(room, SMALLEST_WORKSPACE_MIB):
        planned //= 2
    plans = [Attempt(workspace_mib or planned, external)]
    for smaller in (
        plans[0].workspace_mib // 2,
        plans[0].workspace_mib // 4,
        SMALLEST_WORKSPACE_MIB,
    ):
        attempt = Attempt(max(SMALLEST_WORKSPACE_MIB, smaller), False)
        if attempt != plans[-1] and attempt.workspace_mib <= plans[-1].workspace_mib:
            plans.append(attempt)
    return plans


def with_more(failed, ran_out, memory, budget_mib=None):
    """The one attempt after a layer found no kernel: cuBLAS and cuDNN come back, and workspace with them.

    Args:
        failed: the Attempt in which it found none.
        ran_out: Attempts before it that ran out of memory; this one stays below them.
        memory, budget_mib: as for `attempts`.

    Returns:
        An Attempt that gives more than `failed`, or None: there is none.
    """
    tight = min([a.workspace_mib for a in ran_out if not a.external_tactics] or [0])
    if tight:  # without the libraries there was too little memory already
        between = Attempt((failed.workspace_mib + tight) // 2, False)
        return between if between.workspace_mib > failed.workspace_mib else None
    available = min(memory["available"], budget_mib or memory["available"])
    external = failed.external_tactics or budget_mib is None or budget_mib >= WITH_LIBRARIES_MIB
    room = available - BASE_MIB - (EXTERNAL_TACTICS_MIB if external else 0)
    below = min([a.workspace_mib for a in ran_out if a.external_tactics and external] or [room + 1])
    sizes = [failed.workspace_mib * factor for factor in (4, 2)] + [failed.workspace_mib]
    larger = next((s for s in sizes if s <= room and s < below), failed.workspace_mib)
    more = Attempt(larger, external)
    return more if more != failed else None


def memory_warnings(memory):
    """Lines on what may end a build early, with the remedy."""
    if memory["available"] + memory["swap_free"] >= SHORT_SWAP_MIB:
        return []
    return [
        "only %d MiB of memory and %d MiB of swap are free; %s" % (memory["available"], memory["swap_free"], SWAP_MEND)
    ]
