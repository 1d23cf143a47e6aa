"""Releases whose engine was built on the board: which of them it serves."""

import os
import subprocess
import sys

import pytest

import fakes
from board_root import BoardRoot, current, refused
from edgedistill_device.errors import EngineError, VerifyError
from edgedistill_device.releases import store
from edgedistill_device.releases.incoming import accept
from edgedistill_device.releases.store import activate, rollback, status

pytestmark = pytest.mark.usefixtures("forked_children")


def run_in(folder, verb):
    subprocess.check_output([sys.executable, "-m", "edgedistill_device", verb], cwd=folder, stderr=subprocess.STDOUT)


def test_a_tensorrt_engine_is_served_only_after_it_was_verified(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", fakes.write_modules(tmp_path / "fake", "8.2", sm=53))
    board = BoardRoot(tmp_path, backend="tensorrt")
    release = board.send()
    accept(board.root, release)
    folder = board.path("releases", release)

    with pytest.raises(EngineError, match="no engine was built here"):
        activate(board.root, release)
    run_in(folder, "build")
    board.pretend_verified(release)  # a pass of the stand-in is none of the engine's
    with pytest.raises(VerifyError, match="this engine has not passed"):
        activate(board.root, release)
    assert current(board) is None
    run_in(folder, "verify")
    found = activate(board.root, release)
    assert found["health"]["executed"] == "fp16"
    assert found["health"]["provenance"].startswith("measured: TensorRT 8.2.1.8 on ")
    engine = next(n for n in os.listdir(os.path.join(folder, "work", "engine")) if n.endswith(".engine"))
    with open(os.path.join(folder, "work", "engine", engine), "ab") as file:
        file.write(b"x")
    with pytest.raises(EngineError, match="truncated or another file"):
        activate(board.root, release)
    assert current(board) == release


def test_after_an_update_of_tensorrt_no_engine_of_before_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", fakes.write_modules(tmp_path / "fake", "8.2", sm=53))
    monkeypatch.setattr(store, "ask_current", lambda *_: {})
    board, ids = BoardRoot(tmp_path, backend="tensorrt"), []
    for serial in (1, 2):
        ids.append(board.send(serial=serial))
        accept(board.root, ids[-1])
        for verb in ("build", "verify"):
            run_in(board.path("releases", ids[-1]), verb)
        activate(board.root, ids[-1])
    assert status(board.root, recover=True)["proven"] is True
    monkeypatch.setenv("PYTHONPATH", fakes.write_modules(tmp_path / "newer", "8.6", sm=53))
    another = "the engine was built for tensorrt 8.2.1.8, this is 8.6.2"
    found = status(board.root)
    assert found["proven"] is False
    assert [line.startswith("%s: %s" % (ids[1], another)) for line in found["problems"]] == [True]
    for verb, options in ((status, {"recover": True}), (activate, {"release": ids[1]})):
        refused(board, another, verb, **options)
    refused(board, "%s cannot be served: %s" % (ids[0], another), rollback)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    os.mkdir(str(tmp_path / "tensorrt"))
    (tmp_path / "tensorrt" / "__init__.py").write_text("import os\nos.abort()\n")
    refused(board, "tensorrt cannot be imported (it dies of SIGABRT)", rollback)
