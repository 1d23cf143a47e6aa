"""`deploy` says what is served only when the board says so too, and heals a board whose links were moved by hand."""

import shutil
import stat
import subprocess

import pytest

from board_behind_sshd import TestBoard, id_of, next_release, signed
from edgedistill.deployment.ssh import Connection
from edgedistill.errors import BoardError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, keys):
    folder = tmp_path_factory.mktemp("bundles")
    old = signed(folder / "old", keys)
    return old, next_release(old, folder / "new", keys, serial=2)


@pytest.fixture(scope="module")
def served(server, tmp_path_factory, forked_python, keys, bundles):
    folder = tmp_path_factory.mktemp("served")
    board = TestBoard(folder, forked_python)
    board.enrol(server.config, keys)
    for number, bundle in enumerate(bundles):
        board.deploy(server.config, bundle, folder / f"{number}.json")
    return board


@pytest.fixture
def board(served, tmp_path):
    return served.copy(tmp_path / "board")


@pytest.fixture
def receipt(served, board, tmp_path):
    """Of the deployment that made the second release what is served."""
    return board.write_receipt(tmp_path / "1.json", served, served.folder / "1.json")


def by_hand(board, old):
    (board.root / "current").unlink()
    (board.root / "current").symlink_to(f"releases/{old}")


def foreign(board, old):
    code = board.root / "foreign" / "edgedistill_device"
    code.mkdir(parents=True)
    for name in ("__init__.py", "__main__.py"):
        (code / name).write_text(f"open({str(board.folder / 'ran')!r}, 'w').close()\nprint('{{\"verb\": \"health\"}}')")
    (board.root / "current").unlink()
    (board.root / "current").symlink_to("foreign")


def removed(board, old):
    (board.root / "current").unlink()


def folder(board, old):
    (board.root / "current").unlink()
    shutil.copytree(board.root / "releases" / old, board.root / "current")


@pytest.mark.parametrize("harm", [by_hand, foreign, removed, folder])
def test_a_deployment_serves_what_it_says(server, board, bundles, receipt, harm):
    old, new = map(id_of, bundles)
    harm(board, old)
    with Connection("board", server.config) as machine:
        found = board.on(machine).status()
    assert (found.current, found.proven) == (new, False)
    board.deploy(server.config, bundles[1], receipt)
    assert board.current() == new
    assert board.served_equals(bundles[1])
    assert not (board.folder / "ran").exists()


def test_what_was_activated_and_is_not_served_is_an_error(server, board, bundles, receipt):
    """Something on the board moves the link as soon as `activate` has ended."""
    old, new = map(id_of, bundles)
    move = f"ln -sfn releases/{old} {board.root}/current"
    board.fault("activate", f'{board._interpreter} "$@"; code=$?; {move}; exit $code')
    words = f"{new} was activated, and now the board says that it serves {new}, not proven: .*leads to releases/{old}"
    with pytest.raises(BoardError, match=words):
        board.deploy(server.config, bundles[1], receipt)
    board.deploy(server.config, bundles[1], receipt)
    assert board.current() == new


def test_a_release_with_planted_code_is_mended_before_any_of_it_runs(server, tmp_path, board, bundles):
    release = board.root / "releases" / id_of(bundles[1])
    for name in ("edgedistill_device/__pycache__", "golden/work"):
        (release / name).mkdir()
        (release / name / "x.pyc").write_bytes(b"x")
    board.deploy(server.config, bundles[1], tmp_path / "1.json")
    assert board.current() == release.name
    assert not list(release.rglob("__pycache__"))
    assert not (release / "golden" / "work").exists()


def loose(board):
    """What others than its owner may write."""
    command = ["find", str(board.root), "-perm", "/022", "!", "-type", "l"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_enrolling_keeps_others_out_and_mends_what_was_damaged(server, tmp_path, board, keys, bundles):
    """An older board too, whose login let others write."""
    for name in (".", "trusted.d", "trusted.d/ours.pem", "releases", "state.json", "agents"):
        path = board.root / name
        path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o022)
    (board.root / "state.json").write_text("")
    (board.root / "board.json").write_text("")
    with pytest.raises(BoardError, match="edgedistill enrol"):
        board.deploy(server.config, bundles[1], tmp_path / "1.json")
    board.enrol(server.config, keys)
    assert loose(board) == ""
    board.deploy(server.config, bundles[1], tmp_path / "1.json")
    with pytest.raises(BoardError, match="serial 1, and 2 of the same key"):
        board.deploy(server.config, bundles[0], tmp_path / "0.json")


def test_a_folder_that_was_open_to_all_is_closed_by_enrolling(server, tmp_path, forked_python, keys):
    board = TestBoard(tmp_path / "open", forked_python)
    (board.root / "trusted.d").mkdir()
    for path in (board.root, board.root / "trusted.d"):
        path.chmod(0o777)
    board.enrol(server.config, keys)
    assert loose(board) == ""
