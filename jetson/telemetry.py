"""What the machine says of itself: pure parsers of text, and the few files they read."""

import platform
import re


def kibibytes_from_text(text):
    """{name: KiB} of /proc/meminfo or /proc/self/status; lines of other shapes are left out."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"^(\w+):\s+(\d+) kB$", line)
        if match:
            found[match.group(1)] = int(match.group(2))
    return found


def cpu_model_from_text(text):
    """The CPU's name from /proc/cpuinfo (`model name` or, on Arm, `Model`), or None."""
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else None


def l4t_release_from_text(text):
    """`32.7.1` from /etc/nv_tegra_release (`# R32 (release), REVISION: 7.1, ...`), or None."""
    match = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return "%s.%s" % match.groups() if match else None


def memory():
    """MiB: available in the system, and this process's peak resident set. None when unknown."""
    system = kibibytes_from_text(_text_of("/proc/meminfo"))
    process = kibibytes_from_text(_text_of("/proc/self/status"))
    return {
        "available_mib": _mib(system.get("MemAvailable")),
        "nvmap_mib": _mib(system.get("NvMapMemUsed")),
        "process_peak_mib": _mib(process.get("VmHWM")),
    }


def machine():
    """What ran: JSON-able, without host names."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "cpu": cpu_model_from_text(_text_of("/proc/cpuinfo")),
        "l4t": l4t_release_from_text(_text_of("/etc/nv_tegra_release")),
    }


def _mib(kibibytes):
    return None if kibibytes is None else round(kibibytes / 1024.0, 1)


def _text_of(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (IOError, OSError):
        return ""
