"""Check the installation: what is here, and what a missing part costs. Imports neither torch nor timm."""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib import metadata

from edgedistill.environment.cuda_driver import cuda_driver, cuda_of_pytorch
from edgedistill.environment.memory import available_memory_bytes
from edgedistill.environment.processors import usable_cores
from edgedistill.environment.requirements import EXTRAS, PACKAGES, Requirement
from edgedistill.environment.secret_values import child_environment
from edgedistill_device.imports import line_of

PYTHON_MINIMUM = "3.11"
FREE_DISK_GIB, FREE_MEMORY_GIB = 2.0, 4.0  # the quickstart: below 1 GiB of disk, 2.6 GiB of memory

HUB_SECONDS = 3.0
OTHER_PYTORCH = "`uv pip install --reinstall --torch-backend auto torch torchvision`"
_INSTALLED = ("extras", "programs")  # parts of which something is there or absent; others are facts of this computer
PROGRAMS = (
    ("openssl", ("openssl", "version"), "bundles cannot be signed", "apt-get install openssl"),
    ("ssh", ("ssh", "-V"), "no board can be reached", "apt-get install openssh-client"),
    ("sftp", None, "no bundle can be copied to a board", "apt-get install openssh-client"),
)
BOARD = (
    ("board", "a Jetson Nano, Xavier NX or Orin Nano", "connect one; nothing else needs it"),
    ("JetPack", "4.6.1 or newer on a Nano; 5.x or 6.x on the others", "flash it with NVIDIA's SDK Manager"),
    (
        "JetPack's TensorRT",
        "8.2.1 or newer (not 4.6's 8.0.1), with its Python bindings",
        "apt-get install python3-libnvinfer",
    ),
    ("JetPack's numpy", "1.13 or newer, for the system's python3", "apt-get install python3-numpy"),
    ("JetPack's cv2", "OpenCV 4.1.1 or newer, with GStreamer", "apt-get install libopencv-python"),
    ("its sftp server", "in sshd, the default", "apt-get install openssh-sftp-server"),
    ("its openssl", "1.1.1 or newer, the default", "apt-get install openssl"),
)


@dataclass(frozen=True)
class Check:
    """One part of the toolchain.

    Attributes:
        part: heading it stands under.
        name: what was looked for.
        ok: found and fit; None when it was not looked for.
        required: the exit code is 1 without it.
        found: version or amount, or what is wrong.
        cost: what does not work without it.
        cure: how to get it.
    """

    part: str
    name: str
    ok: bool | None
    required: bool
    found: str
    cost: str
    cure: str


def examine() -> list[Check]:
    """Look at this computer; nothing is changed, and nothing fetched: the model hub is asked whether it answers."""
    checks = [_python()]
    checks += [_package("packages", row, True) for row in PACKAGES]
    checks += [_two_opencvs(), _albumentations_update()]
    checks += [_package("extras", row, required=False) for row in EXTRAS]
    checks += [_program(*row) for row in PROGRAMS]
    checks += [_cuda(), _cores(), _memory(), _disk(), _hub()]
    checks += [Check("board", name, None, False, f"needed there: {what}", "", cure) for name, what, cure in BOARD]
    return checks


def text_from_checks(checks: list[Check]) -> str:
    """The checks as lines for a person, a verdict last."""
    width = max(len(check.name) for check in checks)
    lines, part = [], None
    for check in checks:
        if check.part != part:
            part = check.part
            note = ": none is connected, so nothing was looked at" if part == "board" else ""
            lines.append(f"{part}{note}")
        lacking = "MISSING" if check.required else "absent" if check.part in _INSTALLED else "note"
        mark = {True: "ok", False: lacking, None: "-"}[check.ok]
        lines.append(f"  {mark:<8}{check.name:<{width}}  {check.found}".rstrip())
        if check.ok is False:
            lines.append(f"  {'':<8}costs: {check.cost}; cure: {check.cure}")
    missing = [check.name for check in checks if check.required and not check.ok]
    if missing:
        return "\n".join([*lines, f"not ready: {', '.join(missing)}"])
    return "\n".join([*lines, "ready: all that is required is here"])


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check(
        "workstation",
        "Python",
        _release(version) >= _release(PYTHON_MINIMUM),
        True,
        version,
        "nothing works",
        f"install Python {PYTHON_MINIMUM} or newer",
    )


def _package(part: str, row: Requirement, required: bool) -> Check:
    name, module, lowest, cure = row.name, row.module, row.lowest, row.cure
    version = _version(name)
    if version is None:
        summary, ok = "not installed", False
    elif importlib.util.find_spec(module) is None:
        summary, ok = f"{version}, but its module {module} is gone", False
        cure = f"pip install --force-reinstall '{name}>={lowest}'"
    else:
        ok = _release(version) >= _release(lowest)
        summary = version if ok else f"{version}, expected {lowest} or newer"
    return Check(part, name, ok, required, summary, row.cost, cure)


def _two_opencvs() -> Check:
    """opencv-python and -headless own the same files: removing or mixing one empties `cv2`."""
    versions = {name: _version(name) for name in ("opencv-python", "opencv-python-headless")}
    ok, summary = True, "answers; both wheels are of one version"
    if len({version for version in versions.values() if version}) > 1:
        ok, summary = False, "two versions: " + ", ".join(f"{n} {v}" for n, v in versions.items())
    try:
        cv2 = importlib.import_module("cv2")
        cv2.getBuildInformation()
    except Exception as error:  # one built for another numpy raises many things
        ok, summary = False, f"cv2 does not answer: {line_of(error)}"
    wanted = versions["opencv-python"] or versions["opencv-python-headless"] or "5.0.0.93"
    return Check(
        "packages",
        "cv2",
        ok,
        True,
        summary,
        "no image can be read",
        f"pip install --force-reinstall opencv-python=={wanted} opencv-python-headless=={wanted}",
    )


def _albumentations_update() -> Check:
    off = os.environ.get("NO_ALBUMENTATIONS_UPDATE") == "1"
    return Check(
        "packages",
        "albumentations offline",
        off,
        False,
        "update check off" if off else "update check on",
        "scripts of yours that import albumentations ask the network for updates; edgedistill "
        "turns this off for itself",
        "export NO_ALBUMENTATIONS_UPDATE=1",
    )


def _program(name: str, command: tuple[str, ...] | None, cost: str, cure: str) -> Check:
    path, summary = shutil.which(name), "not on the PATH"
    ok = path is not None
    if path is not None:
        summary = path
        if command is not None:
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=10, check=False, env=child_environment()
                )
                ok = done.returncode == 0
                summary = (done.stdout + done.stderr).strip().partition("\n")[0]
            except (OSError, subprocess.TimeoutExpired) as error:
                ok, summary = False, f"{path} does not run: {error}"
    return Check("programs", name, ok, False, summary, cost, cure)


def _cuda() -> Check:
    """Asks the driver itself: importing torch for this takes seconds."""
    driver, built_for = cuda_driver(), cuda_of_pytorch()
    if driver is None:
        ok, summary, cure = False, "no CUDA device", "a computer with an NVIDIA GPU and its driver"
    else:
        major, minor = driver.cuda
        of_cuda = f", the driver is of CUDA {major}.{minor}" if major else ""
        ok, summary, cure = True, f"{driver.devices} CUDA device(s){of_cuda}", ""
        if built_for == 0:
            ok, summary, cure = False, f"{summary}, PyTorch of none", OTHER_PYTORCH
        elif major and built_for is not None and major < built_for:
            ok, summary, cure = False, f"{summary}, PyTorch of {built_for}", f"update the driver, or {OTHER_PYTORCH}"
    return Check("computer", "GPU", ok, False, summary, "training runs on the CPU, many times slower", cure)


def _cores() -> Check:
    cores = usable_cores()
    return Check(
        "computer",
        "CPU cores",
        cores >= 2,
        False,
        str(cores),
        "training takes about twice the time",
        "a computer with more cores",
    )


def _memory() -> Check:
    available = available_memory_bytes()
    if available is None:
        return Check("computer", "memory", None, False, "this system does not tell", "", "")
    free = available / 2**30
    return Check(
        "computer",
        "memory",
        free >= FREE_MEMORY_GIB,
        False,
        f"{_below(free):.1f} GiB available",
        f"with less than {FREE_MEMORY_GIB:.0f} GiB a training may be killed",
        "close programs, or lower distill.batch_size and teacher.batch_size",
    )


def _disk() -> Check:
    free = shutil.disk_usage(".").free / 2**30
    return Check(
        "computer",
        "disk",
        free >= FREE_DISK_GIB,
        False,
        f"{_below(free):.1f} GiB free here",
        f"with less than {FREE_DISK_GIB:.0f} GiB decoded images may not fit",
        "free some space, or put --run-dir on another disk",
    )


def _hub() -> Check:
    """Whether pretrained weights can be fetched: one request without content, HUB_SECONDS at most."""
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    answers: list[str] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=HUB_SECONDS):  # noqa: S310 - http alone, see below
                answers.append("")
        except urllib.error.HTTPError:  # it is there, and says no to this
            answers.append("")
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            if not isinstance(reason, TimeoutError):  # then there was no answer, as when the thread is still waiting
                answers.append(line_of(reason))

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        answers.append("HF_HUB_OFFLINE is set")
    elif not endpoint.startswith(("http://", "https://")):
        answers.append("HF_ENDPOINT is no address that begins with http")
    else:
        thread = threading.Thread(target=ask, daemon=True)  # the lookup of a name has no time limit of its own
        thread.start()
        thread.join(HUB_SECONDS)
    why = answers[0] if answers else f"no answer within {HUB_SECONDS:g} s"
    return Check(
        "computer",
        "model hub",
        not why,
        False,
        f"{endpoint} {f'cannot be reached: {why}' if why else 'answers'}",
        "weights that are not in the cache cannot be fetched; a file, a package and `scratch` work",
        "go online once, or name a file in `weights`",
    )


def _below(gib: float) -> float:
    """Rounded down, so that less than the limit never reads like the limit."""
    return math.floor(10 * gib) / 10


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _release(version: str) -> tuple[int, ...]:
    """(2, 10, 1) of "2.10.1rc1+cpu": compared as text, 2.10 would be older than 2.9."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in match.group().split(".")) if match else ()
