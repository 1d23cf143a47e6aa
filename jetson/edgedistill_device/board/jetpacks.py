"""Which JetPack brings which TensorRT, CUDA and Python to which board: one table for doctor, check, targets and docs.

Each row names what was read for it. None: no source was found, so nothing is said. No board was asked.
"""

from typing import NamedTuple, Optional, Tuple

_ORIN = ("orin-nano", "orin-nx", "agx-orin")
_FOUR = ("jetson-nano", "tx2", "xavier-nx", "agx-xavier")
_FIVE = ("xavier-nx", "agx-xavier") + _ORIN

JetPack = NamedTuple(
    "JetPack",
    [
        ("name", str),
        ("l4t", Optional[str]),  # as /etc/nv_tegra_release has it, without ".0" at the end
        ("tensorrt", Optional[str]),
        ("cuda", Optional[str]),
        ("python", Optional[str]),  # of its Ubuntu
        ("boards", Tuple[str, ...]),  # how the names of their targets begin
        ("source", str),
    ],
)
_GIST = "Tiryoh's gist of JetPack 4; Python of Ubuntu 18.04"
_STATS = "L4T: rbonghi/jetson_stats; TensorRT: dusty-nv/jetson-containers; "

JETPACKS = (
    JetPack("4.5.1", "32.5.1", "7.1.3", "10.2", "3.6", _FOUR, _GIST),
    JetPack("4.6", "32.6.1", "8.0.1", "10.2", "3.6", _FOUR, _GIST),
    JetPack("4.6.1", "32.7.1", "8.2.1", "10.2", "3.6", _FOUR, _GIST),
    JetPack("4.6.2", "32.7.2", "8.2.1", "10.2", "3.6", _FOUR, _GIST),
    JetPack("4.6.3", "32.7.3", "8.2.1", "10.2", "3.6", _FOUR, "rbonghi/jetson_stats: security updates of 4.6.2"),
    JetPack("4.6.4", "32.7.4", "8.2.1", "10.2", "3.6", _FOUR, "dusty-nv/jetson-containers; as 4.6.3"),
    JetPack("4.6.5", "32.7.5", "8.2.1", "10.2", "3.6", _FOUR, "dusty-nv/jetson-containers; as 4.6.3"),
    JetPack("4.6.6", "32.7.6", "8.2.1", "10.2", "3.6", _FOUR, "dusty-nv/jetson-containers#1179; as 4.6.3"),
    JetPack("5.1", "35.2.1", "8.5.2", None, "3.8", _FIVE, _STATS + "Python of Ubuntu 20.04"),
    JetPack("5.1.1", "35.3.1", "8.5.2", "11.4", "3.8", _FIVE, _STATS + "CUDA: edgehook/Jetson-AI-task"),
    JetPack("5.1.2", "35.4.1", "8.5.2", "11.4", "3.8", _FIVE, _STATS + "CUDA: edgehook/Jetson-AI-task"),
    JetPack("5.1.5", "35.6.2", "8.5.2", None, "3.8", _FIVE, "dusty-nv/jetson-containers#1179 and its TensorRT of 5.1"),
    JetPack("6.0", "36.3", "8.6.2", None, "3.10", _ORIN, _STATS + "Python of Ubuntu 22.04"),
    JetPack("6.1", "36.4", "10.3.0", "12.6", "3.10", _ORIN, "PyTorch's guide to JetPack 6.1"),
    JetPack("6.2", "36.4.3", "10.3.0", "12.6", "3.10", _ORIN, "pytorch/TensorRT#3453"),
    JetPack(
        "7.0", "38.2", None, "13.0", "3.12", ("thor",), "NVIDIA's JetPack 7.0 archive; autowarefoundation/spconv_cpp#7"
    ),
    JetPack("7.1", "38.4", None, "13.0", "3.12", ("thor",), "NVIDIA's JetPack 7.1 archive"),
    JetPack("7.2", "39.2", "10.16.2", "13.2", "3.12", _ORIN + ("thor",), "OE4T/meta-tegra#2224, #2281"),
    JetPack("7.2.1", "39.2.1", "10.16.2", "13.2", "3.12", _ORIN + ("thor",), "OE4T/meta-tegra#2339; as 7.2"),
    JetPack(
        "7.2.2", None, "11.4.1", None, "3.12", ("agx-orin", "thor"), "NVIDIA's TensorRT 11.4.1: 10.x to 11.x, Jetson"
    ),
)


def of_l4t(l4t):
    """The row of a release such as 36.4.3, or None."""
    plain = l4t[:-2] if l4t.count(".") == 2 and l4t.endswith(".0") else l4t
    return next((row for row in JETPACKS if row.l4t == plain), None)


def of_board(target):
    """Rows of a target's board, the oldest first."""
    return [row for row in JETPACKS if any(target == name or target.startswith(name + "-") for name in row.boards)]


def release_of(row):
    """`8.2` of a row with TensorRT 8.2.1; "" where none is known."""
    return ".".join((row.tensorrt or "").split(".")[:2])


def tensorrt_of_board(target):
    """Releases like 8.2 that a target's board can have, the oldest first."""
    found = []
    for row in of_board(target):
        release = release_of(row)
        if release and release not in found:
            found.append(release)
    return found


def described(row):
    """`JetPack 4.6.1 brings TensorRT 8.2.1, CUDA 10.2, Python 3.6`."""
    brought = [("TensorRT", row.tensorrt), ("CUDA", row.cuda), ("Python", row.python)]
    return "JetPack %s brings %s" % (row.name, ", ".join("%s %s" % pair for pair in brought if pair[1]))
