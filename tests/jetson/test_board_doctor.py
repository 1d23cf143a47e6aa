"""doctor: text of real boards in, checks with advice out; and the verb on this computer."""

import json
import os
import subprocess
import sys

import pytest

import boards
import fakes
from bundles import ROOT
from edgedistill_device import doctor, imports
from edgedistill_device.board import identity
from edgedistill_device.engine.runners.tensorrt_backend import tensorrt_check
from optional_tools import needs


def test_packages_of_two_boards():
    nano = doctor.packages_from_text(boards.sample("dpkg_nano_jp4.txt"))
    assert nano["libnvinfer8"] == "8.2.1-1+cuda10.2"
    assert nano["libnvidia-container0"] == "0.10.0+jetpack"  # without its architecture
    assert nano["nvidia-l4t-core"] == "32.7.4-20230608212426"
    assert doctor.packages_from_text("rc  old  1.0  arm64\nDesired=Unknown/Install\n") == {}


def test_packages_of_this_computer():
    """The same by dpkg's own status file, read another way."""
    needs("dpkg-query", "dpkg")
    found = doctor.packages_from_text(doctor.output_of(doctor._DPKG))
    with open("/var/lib/dpkg/status", encoding="utf-8", errors="replace") as file:
        blocks = file.read().split("\n\n")
    for name in ("dpkg", "bash", "libc-bin"):
        (block,) = [b for b in blocks if b.startswith("Package: %s\n" % name)]
        version = [line for line in block.splitlines() if line.startswith("Version: ")][0]
        assert found[name] == version[len("Version: ") :]


@pytest.mark.parametrize(
    ("release", "packages", "expected"),
    [
        (
            "nv_tegra_release_nano.txt",
            "dpkg_nano_jp4.txt",
            "Board, L4T 32.7.6; JetPack 4.6.6 brings TensorRT 8.2.1, CUDA 10.2, Python 3.6",
        ),
        (
            "nv_tegra_release_orin.txt",
            "dpkg_orin_jp6.txt",
            "Board, L4T 36.4.3, JetPack 6.2.1; JetPack 6.2 brings TensorRT 10.3.0, CUDA 12.6, Python 3.10",
        ),
        (None, "dpkg_nano_jp4.txt", "Board, L4T 32.7.4; JetPack 4.6.4 brings TensorRT 8.2.1, CUDA 10.2, Python 3.6"),
        (None, None, "Board, not a Jetson"),
    ],
)
def test_which_jetpack(release, packages, expected):
    text = boards.sample(release) if release else ""
    known = doctor.packages_from_text(boards.sample(packages)) if packages else {}
    assert doctor.jetpack_check(text, known, "Board").found == expected
    assert (
        doctor.jetpack_check("", {"nvidia-l4t-core": "36.4.3-2025", "nvidia-jetpack": "6.2+b77"}, "Board").found
        == "Board, L4T 36.4.3, JetPack 6.2; JetPack 6.2 brings TensorRT 10.3.0, CUDA 12.6, Python 3.10"
    )


def test_swap_on_disk_is_told_from_zram():
    text = boards.sample("swaps_linux.txt")
    assert doctor.swaps_from_text(text) == (0, 4 * 1499588 // 1024)
    file = text + "/swapfile                               file\t\t4194300\t0\t\t-2\n"
    assert doctor.swaps_from_text(file) == (4095, 4 * 1499588 // 1024)
    assert doctor.swaps_from_text("") == (0, 0)


def test_memory_and_swap_say_what_a_build_would():
    memory, swap = doctor.memory_checks({"available": 300, "swap_free": 0, "total": 7620}, "", True)
    assert (memory.ok, memory.required, swap.ok) == (False, True, False)
    assert "a build needs 382 MiB; stop the desktop" in memory.advice
    assert "sudo fallocate -l 4G /swapfile" in swap.advice
    assert all(
        c.ok and not c.advice
        for c in doctor.memory_checks({"available": 3000, "swap_free": 0, "total": 7620}, "", True)
    )


def test_versions():
    assert doctor.python_check((3, 6, 9, "final", 0)).ok
    assert not doctor.python_check((3, 5, 2)).ok
    assert doctor.openssl_check("OpenSSL 1.1.1  11 Sep 2018\n").found == "OpenSSL 1.1.1"
    assert doctor.openssl_check("").required


def test_a_python_that_does_not_see_tensorrt(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    nano = doctor.packages_from_text(boards.sample("dpkg_nano_jp4.txt"))
    row = tensorrt_check(nano, True)
    assert row.found.startswith("libraries 8.2.1, but ")
    assert row.advice.endswith("use /usr/bin/python3")
    assert "python3-libnvinfer" in tensorrt_check({}, True).advice
    assert tensorrt_check({}, False).advice.startswith("only --backend onnxruntime")


def test_no_room_on_the_disk(tmp_path, monkeypatch):
    row = doctor.disk_check(str(tmp_path / "not" / "there" / "yet"))
    assert row.ok
    assert row.found.endswith("MiB free at %s" % (tmp_path,))
    monkeypatch.setattr(doctor, "DISK_MIB", 1 << 40)
    assert "python3 -m edgedistill_device prune" in doctor.disk_check(str(tmp_path)).advice


def last_line(words, **changes):
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", LC_ALL="C", **changes)
    process = subprocess.Popen(
        [sys.executable] + words,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    out, error = process.communicate()
    return process.returncode, out.strip().splitlines()[-1:], error.strip().splitlines()


def test_the_verb_on_this_computer_with_a_board_beside_it(tmp_path):
    folder = fakes.write_modules(tmp_path / "fake", "8.2", sm=53)
    code, out, error = last_line(["-m", "edgedistill_device", "doctor", "--root", str(tmp_path)], PYTHONPATH=folder)
    assert (code, error) == (0, [])
    report = json.loads(out[0])
    assert set(report) == {"verb", "ok", "checks"}
    assert (report["verb"], report["ok"]) == ("doctor", True)
    for row in report["checks"]:
        assert set(row) == {"name", "ok", "required", "found", "advice"}
        assert row["found"]
        assert not (row["ok"] and row["advice"])
    rows = {row["name"]: row for row in report["checks"]}
    assert rows["TensorRT"]["found"].startswith("8.2.1.8")
    assert rows["CUDA"]["found"] == "10.2, sm_53, memory by pycuda"
    assert set(rows) == {
        "JetPack",
        "TensorRT",
        "CUDA",
        "ONNX Runtime",
        "Python",
        "numpy",
        "OpenCV",
        "GStreamer",
        "openssl",
        "disk",
        "memory",
        "swap",
        "power mode",
        "clocks",
        "power supply",
    }


def test_without_numpy_one_verb_still_answers(tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError('no numpy here')\n")
    code, out, error = last_line(["-m", "edgedistill_device", "bench"], PYTHONPATH=str(tmp_path))
    assert (code, out) == (1, [])
    assert error == [
        "edgedistill_device: no numpy here; on the board: sudo apt install python3-numpy; "
        "python3 -m edgedistill_device.doctor says more"
    ]
    for words in (["edgedistill_device.doctor"], ["edgedistill_device", "doctor", "--root", str(tmp_path)]):
        code, out, error = last_line(["-m"] + words, PYTHONPATH=str(tmp_path))
        assert code == 0
        report = json.loads(out[0])
        assert report["ok"] is False
        (row,) = [row for row in report["checks"] if row["name"] == "numpy"]
        assert row == {
            "name": "numpy",
            "ok": False,
            "required": True,
            "found": "no numpy here",
            "advice": "sudo apt install python3-numpy",
        }


def test_a_numpy_that_ends_the_process_is_said(tmp_path):
    (tmp_path / "numpy.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    code, out, error = last_line(["-m", "edgedistill_device.doctor", str(tmp_path)], PYTHONPATH=str(tmp_path))
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out[0])["checks"]}
    assert rows["numpy"]["found"] == "importing it dies of SIGILL"
    assert rows["numpy"]["advice"].startswith("export OPENBLAS_CORETYPE=ARMV8")
    assert not rows["OpenCV"]["ok"]


def test_only_what_is_required_makes_it_not_ok():
    note = identity.Check("a", False, False, "b", "c")
    assert doctor.report([note])["ok"] is True
    assert doctor.report([note, note._replace(required=True)])["ok"] is False


def test_a_tensorrt_that_wants_the_dla_compiler_of_an_older_jetpack(tmp_path, monkeypatch):
    said = "libnvdla_compiler.so: cannot open shared object file: No such file or directory"
    (tmp_path / "needs_nvdla.py").write_text("raise ImportError(%r)" % (said,))
    monkeypatch.syspath_prepend(str(tmp_path))
    version, why, mend = imports.version_of("needs_nvdla", {}, "the usual mend")
    assert (version, why) == (None, said)
    assert "take an image made for JetPack 7.2" in mend
