"""Deployment to a board with TensorRT over a real sshd; the TensorRT is the fake of a release."""

import json

import pytest

import fakes
from board_behind_sshd import TestBoard, id_of, next_release, written_again
from edgedistill.deployment.board import checked_bench
from edgedistill.deployment.ssh import Connection
from edgedistill.errors import BoardError
from edgedistill.records.deployment import Receipt

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory, forked_python, server, keys):
    board = TestBoard(tmp_path_factory.mktemp("enrolled"), forked_python)
    board.enrol(server.config, keys, backend="tensorrt")
    return board


@pytest.fixture(scope="module")
def served(tmp_path_factory, server, enrolled, first):
    """A board with TensorRT 8.2 that serves the first bundle, what its deployment gave, and its receipt."""
    folder = tmp_path_factory.mktemp("served")
    board = board_with("8.2", folder, enrolled)
    return board, board.deploy(server.config, first, folder / "r.json"), folder / "r.json"


def board_with(release, folder, board, **does):
    """A copy of a board, with the fake of that TensorRT."""
    return board.copy(folder / "board", fakes.write_modules(folder / "fake", release, **does))


@pytest.mark.parametrize("release", ["8.2", "10.3"])
def test_an_engine_is_built_there_verified_timed_and_served(server, tmp_path, enrolled, served, first, release):
    board, found, receipt = served
    if release != "8.2":
        board, receipt = board_with(release, tmp_path, enrolled), tmp_path / "r.json"
        found = board.deploy(server.config, first, receipt)
    assert (found.backend, found.executed) == ("tensorrt", "fp16")
    assert found.build.tensorrt == fakes.RELEASES[release]
    assert found.bench.compute_ms.runs == 10
    assert board.current() == id_of(first)
    record = json.loads((board.root / "current" / "work" / "engine" / "engine.json").read_text())
    assert found.build.to_json() == {**record, "verb": "build"}  # nothing of it is lost
    assert written_again(receipt, Receipt) == receipt.read_bytes()
    with Connection("board", server.config) as machine:
        release = board.on(machine).release(id_of(first))
        raw = board.on(machine).bundle(release, "bench", "--runs", "10")
    assert json.dumps(checked_bench(raw, "board").to_json()) == json.dumps(raw)


def test_an_engine_that_was_cut_is_built_again_by_the_same_deployment(server, tmp_path, served, first):
    before, _, receipt = served
    board = board_with("8.2", tmp_path, before)
    receipt = board.write_receipt(tmp_path / "r.json", before, receipt)
    (engine,) = (board.root / "current" / "work" / "engine").glob("*.engine")
    engine.write_bytes(engine.read_bytes()[:-1])
    said = []
    assert board.deploy(server.config, first, receipt, said=said).activate.already
    assert any(
        "truncated or another file; run: python3 -m edgedistill_device build: what was done" in line for line in said
    )


def test_an_engine_that_gives_nan_is_not_served(server, tmp_path, served, keys, first):
    board = board_with("8.2", tmp_path, served[0], nan=True)
    second = next_release(first, tmp_path / "second", keys, serial=2)
    with pytest.raises(BoardError, match="NaN"):
        board.deploy(server.config, second, tmp_path / "r.json")
    assert board.current() == id_of(first)


def test_a_build_without_memory_says_so_and_a_rerun_completes(server, tmp_path, enrolled, first):
    board = board_with("8.2", tmp_path, enrolled, no_memory_above_mib=0)
    with pytest.raises(BoardError, match="memory"):
        board.deploy(server.config, first, tmp_path / "r.json")
    assert board.current() == ""
    fakes.write_modules(tmp_path / "fake", "8.2")
    board.deploy(server.config, first, tmp_path / "r.json")
    assert board.current() == id_of(first)
