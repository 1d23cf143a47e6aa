import os
import sys

import pytest

from board_behind_sshd import make_keys, signed
from bundles import SOURCES
from forked import ON_A_BOARD, forked
from sshd import Sshd, need_sshd


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One sshd for all tests that do not break it."""
    need_sshd()
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="session")
def board_python():
    """The Nano's Python 3.6 with ONNX Runtime, made by tests/device_test.sh; else this one."""
    return os.environ.get("EDGEDISTILL_PYTHON36") or sys.executable


@pytest.fixture(scope="session")
def forked_python(board_python):
    """It too, without importing numpy anew each time: for what is not about how a process starts or is killed."""
    return forked(board_python, ON_A_BOARD, SOURCES)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def first(tmp_path_factory, keys):
    """A bundle of four images, signed by those."""
    return signed(tmp_path_factory.mktemp("first") / "bundle", keys)
