"""A file that is written in pieces is whole or as it was; a lock is waited for."""

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from edgedistill.core.files import locked, remove, sha256_of, sha256_of_bytes, whole_file, write_bytes
from edgedistill.errors import RunFolderError


def test_a_write_that_fails_half_way_leaves_the_previous_file(tmp_path):
    write_bytes(tmp_path / "f", b"before")
    with pytest.raises(TypeError), whole_file(tmp_path / "f") as file:
        file.writelines([b"after", "no bytes"])
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("f", b"before")]
    with whole_file(tmp_path / "f") as file:
        file.writelines([b"af", b"ter"])
        assert (tmp_path / "f").read_bytes() == b"before"
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("f", b"after")]


def test_a_file_and_its_bytes_have_one_hash(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "f") == sha256_of_bytes(b"abc") == expected


def test_what_a_kill_left_beside_a_file_goes_with_it(tmp_path):
    path = tmp_path / "checkpoint.pt"
    child = os.fork()
    if child == 0:
        with whole_file(path) as file:
            file.write(b"cut")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)  # another child of this process may have ended meanwhile
    assert [place.name for place in tmp_path.iterdir()] == ["checkpoint.pt.tmp"]
    remove(path)
    assert list(tmp_path.iterdir()) == []
    write_bytes(path, b"whole")
    remove(path)
    remove(path)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    path, order, inside = tmp_path / "f", [], threading.Event()
    path.touch()

    def second():
        inside.wait()
        with locked(path):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with locked(path):
        inside.set()
        thread.join(timeout=0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_who_does_not_wait_is_told_whose_the_lock_is(tmp_path):
    path = tmp_path / "lock"
    with locked(path, make=True, wait=False) as first:
        with locked(path, make=True, wait=False) as second:
            assert (first, second) == (True, False)
        with locked(path, wait=False) as still:
            assert not still, "closing another descriptor frees nothing"
    with locked(path, wait=False) as after:
        assert after


def test_a_lock_goes_with_a_killed_process(tmp_path):
    path = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from edgedistill.core.files import locked\n"
        "with locked(Path(sys.argv[1]), make=True): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with locked(path, wait=False) as ours:
            assert not ours
        holder.kill()
    with locked(path, wait=False) as ours:
        assert ours


def test_a_disk_without_locks_is_named_in_one_line(tmp_path, monkeypatch):
    def refused(handle, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("edgedistill.core.files.fcntl.flock", refused)
    with pytest.raises(RunFolderError, match=r"cannot lock .*/lock: No locks available$"):
        locked(tmp_path / "lock", make=True).__enter__()
    write_bytes(tmp_path / "file", b"whole")  # without its lock
    assert (tmp_path / "file").read_bytes() == b"whole"
    with pytest.raises(RunFolderError, match="cannot lock .*missing: No such file"):
        locked(tmp_path / "missing").__enter__()
