"""Memory that may still be taken: of made-up systems and control groups, and of this computer."""

import resource
import subprocess
import sys

import pytest

from edgedistill.environment import control_groups, memory

GIB = 2**30


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A computer with 8 GiB available, and the control group /a/b of this process."""
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:    {8 * GIB // 1024} kB\n")
    (tmp_path / "cgroup").write_text("12:cpu:/x\n0::/a/b\n")
    (tmp_path / "groups" / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr(memory, "_SYSTEM", tmp_path / "meminfo")
    monkeypatch.setattr(control_groups, "_OF_PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "_GROUPS", tmp_path / "groups")
    return tmp_path


def limit(folder, most, current, inactive_file=0):
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{current}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive_file}\n")


def test_what_the_system_has(system):
    assert memory.available_memory_bytes() == 8 * GIB


@pytest.mark.parametrize("group", ["a", "a/b"])
@pytest.mark.parametrize(
    ("most", "current", "cached", "expected"),
    [
        (4 * GIB, GIB, 0, 3 * GIB),
        (4 * GIB, 3 * GIB, 2 * GIB, 3 * GIB),
        (GIB, 2 * GIB, 0, 0),
        ("max", GIB, 0, 8 * GIB),
        (64 * GIB, GIB, 0, 8 * GIB),
    ],
)
def test_a_control_group_leaves_less(system, group, most, current, cached, expected):
    limit(system / "groups" / group, most, current, cached)
    assert memory.available_memory_bytes() == expected


def test_a_system_that_does_not_tell(system):
    (system / "meminfo").write_text("MemTotal: 1 kB\n")
    assert memory.available_memory_bytes() is None
    (system / "meminfo").unlink()
    assert memory.available_memory_bytes() is None


def test_a_system_without_control_groups(system):
    (system / "cgroup").unlink()
    assert memory.available_memory_bytes() == 8 * GIB


def test_this_computer():
    before = memory.peak_memory_bytes()
    block = bytearray(before + GIB // 4)
    block[::4096] = b"x" * len(block[::4096])
    assert memory.peak_memory_bytes() >= len(block)
    del block
    assert GIB // 64 < memory.available_memory_bytes() < 2**50


def test_the_peak_of_a_process_is_not_that_of_the_one_that_started_it():
    code = "from edgedistill.environment.memory import peak_memory_bytes; print(peak_memory_bytes())"
    block = bytearray(300 * 2**20)
    block[:: 2**12] = b"1" * (len(block) >> 12)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 2**20 < int(done.stdout) < 200 * 2**20


def test_where_the_system_tells_no_peak_it_is_that_of_getrusage(tmp_path, monkeypatch):
    expected = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (tmp_path / "status").write_text("Name:\tpython\n")
    for name in ("absent", "status"):
        monkeypatch.setattr(memory, "_OWN", tmp_path / name)
        assert memory.peak_memory_bytes() >= 1024 * expected
