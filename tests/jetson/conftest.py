"""Fixtures of the board's tests; they run on Python 3.6 too."""

import pytest

import fakes
from board_root import BoardRoot
from bundles import make_bundle
from edgedistill_device.engine import build
from edgedistill_device.releases import store
from edgedistill_device.releases.incoming import accept

PLENTY = {"available": 4000, "swap_free": 4000}


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle")


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
