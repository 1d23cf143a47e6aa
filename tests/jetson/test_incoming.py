"""The board's side of flashing: what is let in, and what is sent again."""

import json
import os
import re
import shutil
from collections import namedtuple

import pytest

from board_root import current, refused, snapshot
from bundles import WEIGHT
from edgedistill_device.__main__ import main
from edgedistill_device.errors import ReleaseError
from edgedistill_device.releases.incoming import RESERVE_BYTES, accept, want
from edgedistill_device.releases.root import ids_in, locked
from edgedistill_device.releases.store import prune, status
from keys import new_key
from tiny_onnx import model_bytes


def unsigned(board, folder):
    os.remove(os.path.join(folder, "manifest.json.sig"))


def tampered(board, folder):
    with open(os.path.join(folder, "manifest.json"), "ab") as file:
        file.write(b" ")


def link(board, folder):
    path = os.path.join(folder, "golden", "labels.json")
    os.remove(path)
    os.symlink(os.path.join(board.bundle, "golden", "labels.json"), path)


def linked_folder(board, folder):
    shutil.rmtree(os.path.join(folder, "golden"))
    os.symlink(os.path.join(board.bundle, "golden"), os.path.join(folder, "golden"))


def second_name(board, folder):
    os.link(os.path.join(folder, "model.onnx"), board.path("model.onnx"))


def fifo(board, folder):
    os.mkfifo(os.path.join(folder, "pipe"))


def not_enrolled(board, folder):
    os.remove(board.path("board.json"))


REFUSED = [
    (unsigned, "is not signed"),
    (tampered, "matches none of the keys"),
    (link, "golden/labels.json is a link or no plain file"),
    (linked_folder, "golden is a link or no plain file"),
    (second_name, "model.onnx is a link or no plain file"),
    (fifo, "pipe is a link or no plain file"),
    (not_enrolled, "has no board.json; on the workstation: edgedistill enrol"),
]


@pytest.mark.parametrize(("harm", "words"), REFUSED, ids=[r[0].__name__ for r in REFUSED])
def test_what_must_not_come_in_is_refused_and_nothing_changes(board, harm, words):
    release = board.send()
    harm(board, board.path("incoming", release))
    for verb in (want, accept):
        refused(board, words, verb, release)


def test_another_boards_bundle_and_another_name_are_refused(board, tmp_path):
    release = board.send(target="orin-nano-8gb")
    other = "0" * 16
    shutil.copytree(board.path("incoming", release), board.path("incoming", other))
    for verb in (want, accept):
        refused(board, "is for orin-nano-8gb and this board is local", verb, release)
        refused(board, "holds the bundle " + release, verb, other)
        refused(board, "is not there; copy the bundle first", verb, "1" * 16)
        for name in ("../../etc", "A" * 16, "0" * 16 + "\n", "0" * 15):
            refused(board, "is not the id of a release", verb, name)
    stranger = board.send(private=new_key(tmp_path, "theirs")[0], serial=5)
    refused(board, "matches none of the keys", accept, stranger)


def test_an_older_bundle_needs_to_be_asked_for(board):
    new, old = board.send(serial=9), board.send(serial=8)
    accept(board.root, new)
    for verb in (want, accept):
        refused(board, "has serial 8, and 9 of the same key", verb, old)
    assert accept(board.root, old, allow_downgrade=True)["already"] is False
    assert status(board.root)["highest_serial"] == {board.key_id: 9}
    refused(board, "needs --allow-downgrade", accept, old)


def test_the_state_that_was_damaged_is_not_taken_for_a_new_one(board):
    release = board.send()
    with open(board.path("state.json"), "w") as file:
        file.write("{")
    refused(board, "state.json is not of version 1", accept, release)
    os.remove(board.path("state.json"))
    os.mkdir(board.path("state.json"))  # there, and not to be read
    refused(board, "state.json: Is a directory", accept, release)


def test_nothing_comes_in_beside_what_was_signed(able):
    """Compiled code that Python would prefer to ours, and the proof of an engine nobody verified."""
    release = able.send()
    folder = able.path("incoming", release)
    for name in (
        "edgedistill_device/__pycache__/bench.cpython-36.pyc",
        "work/engine/verified.json",
        "extra.py",
    ):
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        with open(os.path.join(folder, name), "w") as file:
            file.write("x")
    accept(able.root, release)
    there = snapshot(able.path("releases", release))
    assert not [name for name in there if re.search("pycache|work|extra", name)]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("work/engine/verified.json", "work/ belongs to the board, refused"),
        ("edgedistill_device/__pycache__/bench.cpython-36.pyc", "only sources are taken, refused"),
    ],
)
def test_a_bundle_does_not_bring_what_the_board_makes_itself(board, name, line):
    """Signed or not: the proof of an engine, and compiled code that Python would prefer to ours."""
    path = os.path.join(board.bundle, "manifest.json")
    with open(path) as file:
        manifest = json.load(file)
    manifest["files"][name] = manifest["files"]["model.onnx"]
    with open(path, "w") as file:
        json.dump(manifest, file)
    release = board.send_as_it_is()
    for verb in (want, accept):
        refused(board, "the bundle brings %s; %s" % (name, line), verb, release)


def test_what_others_could_write_in_a_copy_they_cannot_in_the_release(board):
    release = board.send()
    folder = board.path("incoming", release)
    for name in ("golden", "model.onnx", "golden/labels.json"):
        os.chmod(os.path.join(folder, name), 0o777)
    accept(board.root, release)
    modes = {}
    for place, folders, names in os.walk(board.path("releases", release)):
        modes.update({name: os.lstat(os.path.join(place, name)).st_mode for name in folders + names})
    assert len(modes) > 3
    assert not [name for name, mode in modes.items() if mode & 0o022]


def test_a_copy_goes_on_where_it_stopped_and_a_wrong_byte_is_sent_again(board):
    release = board.send()
    model = board.path("incoming", release, "model.onnx")
    with open(model, "rb+") as file:
        size = len(file.read())
        file.truncate(10)
    assert want(board.root, release)["files"] == [{"name": "model.onnx", "bytes": size, "have": 10}]
    with pytest.raises(ReleaseError, match="model.onnx: 10 of %d bytes have come" % size):
        accept(board.root, release)
    with open(model, "ab") as file:
        file.write(b"x" * (size - 10))
    assert want(board.root, release)["files"] == []  # `accept` reads them all, once
    with pytest.raises(ReleaseError, match="it was removed, copy it again"):
        accept(board.root, release)
    assert want(board.root, release)["files"] == [{"name": "model.onnx", "bytes": size, "have": 0}]
    with open(model, "wb") as file:
        file.write(b"x" * (size + 1))  # too long is nothing to go on from
    assert want(board.root, release)["files"][0]["have"] == 0
    shutil.copy(os.path.join(board.bundle, "model.onnx"), model)
    assert accept(board.root, release)["already"] is False


def test_only_what_no_release_has_is_sent(board):
    accept(board.root, board.send(serial=1))
    again = board.send(serial=2, files={"model.onnx": model_bytes(WEIGHT, [0.5, 0.5], 24)})
    folder = board.path("incoming", again)
    for name in os.listdir(folder):
        if not name.startswith("manifest.json"):
            path = os.path.join(folder, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    assert [f["name"] for f in want(board.root, again)["files"]] == ["model.onnx"]
    shutil.copy(os.path.join(board.bundle, "model.onnx"), folder)
    assert accept(board.root, again)["id"] == again


def test_a_damaged_release_gives_nothing_away_and_is_replaced(board):
    release = board.send(serial=1)
    accept(board.root, release)
    assert want(board.root, release) == {"verb": "want", "id": release, "release_exists": True, "files": []}
    assert accept(board.root, release)["already"] is True
    with open(board.path("releases", release, "model.onnx"), "rb+") as file:
        file.write(b"?")
    assert board.send(serial=1) == release
    os.remove(board.path("incoming", release, "model.onnx"))
    left = want(board.root, release)
    assert (left["release_exists"], [f["name"] for f in left["files"]]) == (False, ["model.onnx"])
    shutil.copy(os.path.join(board.bundle, "model.onnx"), board.path("incoming", release))
    assert accept(board.root, release)["already"] is False
    assert os.listdir(board.path("releases")) == [release]


def cut_short(folder):
    with open(os.path.join(folder, "model.onnx"), "rb+") as file:
        file.truncate(3)


def nothing_left(folder):
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name != "work":
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def other_kinds(folder):
    """A folder is a link, a file is a folder, and there is one file too many."""
    golden = os.path.join(folder, "golden")
    os.rename(golden, folder + ".golden")
    os.symlink(folder + ".golden", golden)
    os.remove(os.path.join(folder, "model.onnx"))
    os.makedirs(os.path.join(folder, "model.onnx", "inside"))
    for name in ("extra.py", ".copying"):
        with open(os.path.join(folder, name), "w") as file:
            file.write("x")


@pytest.mark.parametrize("harm", [cut_short, nothing_left, other_kinds])
def test_a_damaged_release_in_force_is_mended_where_it_lies(served, harm):
    board, (first, second) = served
    release = board.path("releases", second)
    before = snapshot(release)
    harm(release)
    for verb in (want, accept):
        refused(board, "the bundle has no" if harm is nothing_left else "bundle: ", verb, second)
    assert board.send(serial=2) == second
    assert accept(board.root, second)["already"] is False
    after = snapshot(release)  # the proof in work/ too
    assert before.pop("manifest.json.sig") != after.pop("manifest.json.sig")  # signed once more
    assert after == before
    assert (current(board), ids_in(board.root, "incoming")) == (second, [])
    assert accept(board.root, second)["already"] is True


@pytest.mark.parametrize("kind", ["incoming", "releases"])
def test_what_a_killed_command_was_removing_the_next_one_removes(board, kind):
    folder = board.path(kind, ".trash." + "0" * 16)
    os.makedirs(os.path.join(folder, "golden"))
    prune(board.root)  # which has nothing of its own to remove
    assert not os.path.exists(folder)


def test_a_full_disk_is_seen_before_the_copy(board, monkeypatch):
    release = board.send()
    size = os.path.getsize(os.path.join(board.bundle, "model.onnx"))
    os.remove(board.path("incoming", release, "model.onnx"))
    usage = namedtuple("usage", "total used free")
    for free, enough in ((RESERVE_BYTES + size - 1, False), (RESERVE_BYTES + size, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(1 << 40, 0, free))
        if enough:
            assert len(want(board.root, release)["files"]) == 1
        else:
            refused(board, "run: python3 -m edgedistill_device prune", want, release)
    shutil.copy(os.path.join(board.bundle, "model.onnx"), board.path("incoming", release))
    for free, enough in ((RESERVE_BYTES - 1, False), (RESERVE_BYTES, True)):  # filled up while it was copied
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(1 << 40, 0, free))
        if enough:
            assert accept(board.root, release)["already"] is False
        else:
            refused(board, "run: python3 -m edgedistill_device prune", accept, release)


def test_one_writes_at_a_time(board, capsys):
    release = board.send()
    with locked(board.root):
        for words in (
            ["want", release],
            ["accept", release],
            ["activate", release],
            ["rollback"],
            ["prune"],
            ["status", "--recover"],
        ):
            assert main(words + ["--root", board.root]) == 1
            error = capsys.readouterr().err
            assert " is locked by another command" in error
            assert error.count("\n") == 1
        assert main(["status", "--root", board.root]) == 0  # who only looks need not wait
    assert accept(board.root, release)["already"] is False


def test_a_root_of_another_login_is_not_mended_by_enrolling(board):
    os.mkdir(board.path("lock"))  # a lock that cannot be opened
    with pytest.raises(ReleaseError, match="is it another login's, or its disk read-only"):
        prune(board.root)


def test_without_a_root_every_verb_names_enrol(tmp_path, capsys):
    for words in (["want", "0" * 16], ["rollback"], ["prune"], ["status"]):
        assert main(words + ["--root", str(tmp_path / "none")]) == 1
        assert "on the workstation: edgedistill enrol" in capsys.readouterr().err
