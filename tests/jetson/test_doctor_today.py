"""What breaks boards of today, each on a folder laid out like the board's /: doctor names it and what helps."""

import os
import sys

import pytest

import boards
import fakes
from bundles import sign
from edgedistill_device import doctor
from edgedistill_device.board import identity, power
from edgedistill_device.engine.runners.tensorrt_backend import cuda_check, tensorrt_check

SWAP = "sudo swapon /swapfile"
GROUP_ADD = 'docker run --group-add "$(stat -c %g /dev/dri/renderD128)"'


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """plant("tensorrt", text): a module that comes first, for this process."""

    def write(name, text):
        boards.write(tmp_path / "planted", name + ".py", text)
        monkeypatch.syspath_prepend(str(tmp_path / "planted"))
        monkeypatch.delitem(sys.modules, name, raising=False)

    yield write
    sys.modules.pop("tensorrt", None)


@pytest.mark.parametrize("library", ["libnvinfer.so.8", "libcudla.so.1"])
@pytest.mark.parametrize("contained", [True, False])
def test_a_container_whose_jetpack_libraries_are_missing(tmp_path, plant, library, contained):
    """In a container the image or its start is to blame, on the board itself a package."""
    plant("tensorrt", "raise ImportError('%s: cannot open shared object file: No such file')" % (library,))
    if contained:
        boards.write(tmp_path, ".dockerenv", "")
    row = tensorrt_check({}, True, (), str(tmp_path))
    assert not row.ok
    assert library in row.found
    assert row.advice == (
        "this container lacks %s: start it with docker run --runtime nvidia, from an image made for the board's "
        "JetPack" % (library,)
        if contained
        else "sudo apt install tensorrt python3-libnvinfer"
    )


def test_a_container_without_the_nvidia_runtime_has_no_driver(tmp_path, monkeypatch, cudart):
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setenv("FAKE_CUDA_ERROR", "35")  # cudaErrorInsufficientDriver
    boards.write(tmp_path, "run/.containerenv", "")
    row = cuda_check({}, True, str(tmp_path))
    assert "CUDA error 35" in row.found
    assert row.advice.startswith("this container lacks the board's CUDA driver: start it with docker run --runtime nv")


@pytest.mark.parametrize("contained", [True, False])
def test_cuda_801_is_a_matter_of_groups(tmp_path, monkeypatch, cudart, contained):
    """JetPack 6 and newer without the group render; a container has the host's number, and no such name."""
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setenv("FAKE_CUDA_ERROR", "801")
    if contained:
        boards.write(tmp_path, ".dockerenv", "")
    row = cuda_check({"cuda-cudart-12-6": "12.6.68-1"}, True, str(tmp_path))
    assert "cudaGetDeviceCount: CUDA error 801, operation not supported" in row.found
    assert (GROUP_ADD in row.advice) is contained
    assert ("sudo usermod -aG video,render $USER" in row.advice) is not contained


ZRAM = "/dev/zram0                              partition\t507408\t0\t5\n"
FILE = "/swapfile                               file\t\t4194300\t0\t-2\n"


@pytest.mark.parametrize(
    ("total_mib", "swap", "jetson", "warned"),
    [
        (3964, "", True, True),  # a Nano, or an Orin Nano 4GB
        (1979, "", True, True),
        (3964, ZRAM, True, False),
        (3964, FILE, True, False),
        (7620, "", True, False),
        (3964, "", False, False),  # nothing is built there
    ],
)
def test_swap_that_is_off_on_a_board_of_4_gb(tmp_path, total_mib, swap, jetson, warned):
    boards.memory(tmp_path, total_mib, 1800, swap)
    swaps = doctor.telemetry.text_of(str(tmp_path / "proc" / "swaps"))
    memory, row = doctor.memory_checks(identity.memory_mib(str(tmp_path)), swaps, jetson)
    assert (memory.ok, memory.found) == (True, "1800 MiB available")
    assert (row.ok, row.required) == (not warned, False)
    assert (SWAP in row.advice) is warned
    assert ("a board of %d MiB without swap" % (total_mib,) in row.advice) is warned


NANO, ORIN = "nvpmodel_nano.conf", "nvpmodel_orin_nano_super.conf"


@pytest.mark.parametrize(
    ("conf", "number", "assumed", "advice"),
    [
        (NANO, 1, "MAXN", "the bundle's budget of 12.5 ms assumes MAXN: sudo nvpmodel -m 0"),
        (NANO, 0, "MAXN", ""),
        (NANO, 1, None, "MAXN (0) is faster: sudo nvpmodel -m 0"),
        (ORIN, 0, "MAXN_SUPER", "the bundle's budget of 12.5 ms assumes MAXN_SUPER: sudo nvpmodel -m 2"),
        (ORIN, 1, "15W", "MAXN_SUPER (2) is faster: sudo nvpmodel -m 2"),  # faster than assumed, not the fastest
        (ORIN, 2, "MAXN_SUPER", ""),
        (
            NANO,
            0,
            "MAXN_SUPER",
            "the bundle's budget of 12.5 ms assumes MAXN_SUPER: this JetPack has no such mode: lower target.fps",
        ),
    ],
)
def test_a_power_mode_below_what_the_budget_assumed(tmp_path, conf, number, assumed, advice):
    boards.write(tmp_path, "etc/nvpmodel.conf", boards.sample(conf))
    boards.write(tmp_path, "var/lib/nvpmodel/status", "pmode:%04d" % (number,))
    row = power.mode_check(str(tmp_path), assumed and power.Assumed(assumed, 12.5))
    assert (row.ok, row.required, row.advice) == (not advice, False, advice)


@pytest.mark.parametrize(
    ("number", "assumed", "said"),
    [
        (1, "MAXN_SUPER", "power mode: 25W (1); the bundle's budget of 12.5 ms assumes MAXN_SUPER: sudo nvpmodel -m 2"),
        (1, "15W", None),
        (2, "MAXN_SUPER", None),
        (0, None, None),
    ],
)
def test_a_bench_says_when_the_board_is_slower_than_its_budget_assumes(tmp_path, number, assumed, said):
    boards.write(tmp_path, "etc/nvpmodel.conf", boards.sample(ORIN))
    boards.write(tmp_path, "var/lib/nvpmodel/status", "pmode:%04d" % (number,))
    found = power.slower_mode_warnings(str(tmp_path), assumed and power.Assumed(assumed, 12.5))
    assert found == ([said] if said else [])


def test_a_bench_s_report_has_that_line(tmp_path, bundle, monkeypatch):
    from edgedistill_device.benchmark.bench import bench
    from edgedistill_device.engine.runners import open_runner
    from edgedistill_device.engine.verify import golden_images
    from edgedistill_device.manifest import read_manifest

    monkeypatch.setattr("edgedistill_device.benchmark.bench.POWER_SECONDS", 0.0)
    sign(bundle, latency_budget_ms=40.0, provenance={power.POWER_MODE: "MAXN"})
    boards.nano(tmp_path / "root", mode=1)
    manifest = read_manifest(bundle)
    with open_runner("onnxruntime", bundle, manifest) as runner:
        report = bench(bundle, manifest, runner, golden_images(bundle), 10, root=str(tmp_path / "root"))
    assert "power mode: 5W (1); the bundle's budget of 40 ms assumes MAXN: sudo nvpmodel -m 0" in report["warnings"]


@pytest.mark.parametrize("place", [".", "current"])
def test_doctor_reads_the_bundle_that_is_served_or_lies_here(tmp_path, bundle, place):
    """ROOT's `current`, or the bundle's own folder. What is no manifest is another verb's matter."""
    if place == "current":
        os.symlink(bundle, str(tmp_path / "current"))
    folder = bundle if place == "." else str(tmp_path)
    assert doctor.assumed_of(folder) is None  # no budget
    sign(bundle, latency_budget_ms=40.0)
    assert doctor.assumed_of(folder) is None  # a target whose mode nobody measured
    sign(bundle, latency_budget_ms=40.0, provenance={power.POWER_MODE: "MAXN"})
    assert doctor.assumed_of(folder) == ("MAXN", 40.0)
    boards.nano(tmp_path / "root", mode=1)
    boards.memory(tmp_path / "root", 3964, 1800)
    boards.write(tmp_path / "root", "etc/nv_tegra_release", boards.sample("nv_tegra_release_nano.txt"))
    rows = {check.name: check for check in doctor.checks(folder, root=str(tmp_path / "root"))}
    assert rows["power mode"].advice == "the bundle's budget of 40 ms assumes MAXN: sudo nvpmodel -m 0"
    assert SWAP in rows["swap"].advice
    boards.write(bundle, "manifest.json", "no JSON")
    assert doctor.assumed_of(folder) is None


def test_a_build_warns_of_the_mode_that_its_budget_does_not_have(tmp_path, bundle, monkeypatch, use_in_children):
    from edgedistill_device.engine import build
    from edgedistill_device.manifest import read_manifest

    sign(bundle, latency_budget_ms=40.0, provenance={power.POWER_MODE: "MAXN"})
    boards.nano(tmp_path / "root", mode=1)
    use_in_children(fakes.TRIED[0])
    record = build.build(bundle, read_manifest(bundle), root=str(tmp_path / "root"))
    assert "power mode: 5W (1); the bundle's budget of 40 ms assumes MAXN: sudo nvpmodel -m 0" in record["warnings"]
