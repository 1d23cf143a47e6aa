"""What this board lacks: every check that the other verbs rely on, each with what to do.

Only Python's own library is imported here, so that it also answers where numpy is missing or ends
the process: python3 -m edgedistill_device.doctor [ROOT]
"""

import os
import re
import shutil
import sys

from edgedistill_device.board import jetpacks, power, telemetry
from edgedistill_device.board.identity import (
    BASE_MIB,
    SMALLEST_WORKSPACE_MIB,
    SWAP_MEND,
    Check,
    board_name,
    hidden_identity,
    is_jetson,
    memory_mib,
    memory_warnings,
)
from edgedistill_device.board.sampler import output_of
from edgedistill_device.doctor_packages import backend_checks, deadly_imports, numpy_check, opencv_checks
from edgedistill_device.errors import ManifestError
from edgedistill_device.json_text import json_text
from edgedistill_device.manifest import MAX_BYTES, NAME, manifest_from_bytes

OLDEST_PYTHON = (3, 6)
SMALL_BOARD_MIB = 4096  # what boards of 4 GB show of it is less: 3956 to 3965 MiB on a Nano
DISK_MIB = 512  # some bundles of tens of MiB, their engines, and a build
_DPKG = ["dpkg-query", "-W", "-f=${db:Status-Abbrev} ${Package} ${Version}\\n"]


def checks(folder=".", root="/"):
    """Everything that was looked at, in reading order.

    Args:
        folder: whose disk is looked at; the nearest one that exists counts.
        root: where /etc, /proc and /sys hang.
    """
    release = telemetry.text_of(os.path.join(root, "etc/nv_tegra_release"))
    packages = packages_from_text(output_of(_DPKG)) if root == "/" else {}
    board, hidden = board_name(root), hidden_identity(root)
    jetson = is_jetson(root) or bool(hidden) or "nvidia-l4t-core" in packages
    deadly = deadly_imports()  # before anything is imported
    numpy = numpy_check(deadly)  # first: the others are judged by it
    rows = [jetpack_check(release, packages, board, hidden)]
    rows += backend_checks(packages, jetson, deadly, root)
    rows += [python_check(sys.version_info), numpy]
    rows += opencv_checks(deadly) + [
        openssl_check(output_of(["openssl", "version"])),
        disk_check(folder),
    ]
    rows += memory_checks(memory_mib(root), telemetry.text_of(os.path.join(root, "proc/swaps")), jetson)
    return rows + power.checks(root, board, assumed_of(folder))


def report(checks):
    """JSON-able, as the contract has it: ok says that nothing required is missing."""
    rows = [dict(check._asdict()) for check in checks]
    return {"verb": "doctor", "ok": all(check.ok or not check.required for check in checks), "checks": rows}


def show(checks):
    """A table for people, and the mends below."""
    for check in checks:
        mark = "ok" if check.ok else "MISSING" if check.required else "note"
        print("%-8s %-14s %s" % (mark, check.name, check.found))
    for check in checks:
        if check.advice:
            print("%s: %s" % (check.name, check.advice))


def packages_from_text(text):
    """{package: version} of the installed ones, from `dpkg -l` or dpkg-query in the same columns.

    The first letter is what was asked for (`h`: held, as NVIDIA's packages often are), the second what is:
    installed, or installed with a trigger to come; an `R` says that it should be installed again.
    """
    rows = [line.split() for line in text.splitlines()]
    return {
        fields[1].split(":")[0]: fields[2]
        for fields in rows
        if len(fields) > 2 and re.match(r"[uihrp][iWt]R?\Z", fields[0])
    }


def swaps_from_text(text):
    """(MiB on disk, MiB compressed in memory) of /proc/swaps."""
    disk = compressed = 0
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) >= 3 and re.match(r"[0-9]{1,15}\Z", words[2]):
            if words[0].startswith("/dev/zram"):
                compressed += int(words[2])
            else:
                disk += int(words[2])
    return disk // 1024, compressed // 1024


def jetpack_check(release, packages, board, hidden=""):
    """L4T from its own file, JetPack where a package says it (4.x boards are flashed without one).

    `hidden`: what a container does not show, see board.hidden_identity.
    """
    l4t = telemetry.l4t_release_from_text(release) or packages.get("nvidia-l4t-core", "").split("-")[0]
    if hidden:
        summary = "%s%s, the board's name is not known" % (board, ", L4T " + l4t if l4t else "")
        return Check("JetPack", False, False, summary, hidden)
    if not l4t:
        return Check("JetPack", True, False, "%s, not a Jetson" % (board,), "")
    named = packages.get("nvidia-jetpack") or packages.get("nvidia-tensorrt", "")
    jetpack, row = re.split(r"[-+]", named)[0], jetpacks.of_l4t(l4t)
    said = "; " + jetpacks.described(row) if row else ""
    jetpack = ", JetPack " + jetpack if jetpack else ""
    return Check("JetPack", True, False, "%s, L4T %s%s%s" % (board, l4t, jetpack, said), "")


def python_check(version):
    """Of sys.version_info."""
    running = "%d.%d.%d" % tuple(version[:3])
    if tuple(version[:2]) >= OLDEST_PYTHON:
        return Check("Python", True, True, running, "")
    return Check("Python", False, True, running, "Python %d.%d or newer is needed" % OLDEST_PYTHON)


def openssl_check(text):
    """Of what `openssl version` says: signatures are checked with it."""
    match = re.match(r"(?:OpenSSL|LibreSSL) \S+", text)
    if match:
        return Check("openssl", True, True, match.group(), "")
    return Check("openssl", False, True, "no openssl", "sudo apt install openssl")


def disk_check(folder):
    """Room where the releases lie."""
    place = os.path.abspath(folder)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free >> 20
    advice = (
        ""
        if free >= DISK_MIB
        else "expected %d MiB; remove something, or: python3 -m edgedistill_device prune" % DISK_MIB
    )
    return Check("disk", not advice, True, "%d MiB free at %s" % (free, place), advice)


def assumed_of(folder):
    """power.Assumed of the bundle in `folder`, or of the release that ROOT `folder` serves; None without any."""
    for name in (NAME, os.path.join("current", NAME)):
        try:
            with open(os.path.join(folder, name), "rb") as file:
                return power.assumed_by(manifest_from_bytes(file.read(MAX_BYTES)))
        except (IOError, OSError, ManifestError):  # other verbs say what is wrong with it
            continue
    return None


def memory_checks(memory, swaps, required):
    """Memory that a build starts with, and swap that gives the rest of the system room meanwhile.

    Args:
        memory: of identity.memory_mib.
        swaps: text of /proc/swaps.
        required: builds run here.
    """
    need = BASE_MIB + SMALLEST_WORKSPACE_MIB
    enough = memory["available"] >= need
    disk, compressed = swaps_from_text(swaps)
    lines = memory_warnings(memory)
    if not lines and required and 0 < memory["total"] <= SMALL_BOARD_MIB and not disk and not compressed:
        lines = [
            "a board of %d MiB without swap kills programs when a build or an update needs more; %s"
            % (memory["total"], SWAP_MEND)
        ]
    return [
        Check(
            "memory",
            enough,
            required,
            "%d MiB available" % memory["available"],
            "" if enough else "a build needs %d MiB; stop the desktop: sudo systemctl isolate multi-user.target" % need,
        ),
        Check("swap", not lines, False, "%d MiB on disk, %d MiB zram" % (disk, compressed), "; ".join(lines)),
    ]


def main(argv):
    """Without the other verbs, which import numpy."""
    rows = checks(argv[0] if argv else ".")
    show(rows)
    print(json_text(report(rows)))


if __name__ == "__main__":
    main(sys.argv[1:])
