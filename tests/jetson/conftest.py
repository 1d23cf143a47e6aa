"""Fixtures of the board's tests; they run on Python 3.6 too."""

import ctypes
import os
import subprocess
import sys

import pytest

import fakes
from board_root import BoardRoot
from bundles import SOURCES, make_bundle
from edgedistill_device.engine import build, cuda_memory
from edgedistill_device.releases import store
from edgedistill_device.releases.incoming import accept
from forked import ON_A_BOARD, forked
from optional_tools import needs

CUDART = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fake_cudart.c")
PLENTY = {"available": 4000, "swap_free": 4000}
PYTHON = sys.executable


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def forked_children(monkeypatch):
    """Processes that are started by sys.executable import numpy and the like no more."""
    monkeypatch.setattr(sys, "executable", forked(PYTHON, ON_A_BOARD, SOURCES))


@pytest.fixture
def fresh_children(monkeypatch):
    """Processes that are started by sys.executable begin as Python does, where others of the file are forked."""
    monkeypatch.setattr(sys, "executable", PYTHON)


@pytest.fixture
def use(tmp_path, monkeypatch):
    """use("8.2", sm=53): that TensorRT on that GPU, for this process and its children."""
    for switch in fakes.switching(tmp_path, monkeypatch):
        yield switch


@pytest.fixture
def use_in_children(tmp_path, monkeypatch):
    """The same for child processes alone, with plenty of memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "memory_mib", lambda: dict(PLENTY))
    return lambda release, **does: monkeypatch.setenv(
        "PYTHONPATH", fakes.write_modules(tmp_path / "fake", release, **does)
    )


@pytest.fixture(scope="session")
def cudart_path(tmp_path_factory):
    """A libcudart made by the C compiler, so that ctypes has a real library to call."""
    needs("cc", "gcc")
    path = str(tmp_path_factory.mktemp("cuda") / "libcudart.so")
    # symbolic: where torch is loaded, its own libcudart must not answer for this one
    subprocess.check_call(["cc", "-shared", "-fPIC", "-Wl,-Bsymbolic", "-o", path, CUDART])
    return path


@pytest.fixture
def cudart(cudart_path, monkeypatch):
    """That library for this process and its children, also for the fake TensorRT, whose work a graph records."""
    monkeypatch.setattr(cuda_memory, "LIBRARIES", (cudart_path,))
    monkeypatch.setenv("LD_LIBRARY_PATH", os.path.dirname(cudart_path))
    monkeypatch.setenv("FAKE_CUDART", cudart_path)
    return ctypes.CDLL(cudart_path)


@pytest.fixture
def board(tmp_path):
    """Its bundle is for taking in, not for running."""
    return BoardRoot(tmp_path).small()


@pytest.fixture
def able(tmp_path):
    """Its bundle runs."""
    return BoardRoot(tmp_path)


@pytest.fixture
def served(board, monkeypatch):
    """(board, [first, second]): both accepted and verified, both were current, second is."""
    monkeypatch.setattr(store, "ask_current", lambda *_: {})
    found = []
    for serial in (1, 2):
        found.append(board.send(serial=serial))
        accept(board.root, found[-1])
        board.pretend_verified(found[-1])
        store.activate(board.root, found[-1])
    monkeypatch.undo()
    store.status(board.root, recover=True)  # sweeps away the switch before
    return board, found
