"""Replay: what was served once does not come back by a wire, whichever trusted key signed it."""

import json
import os

import pytest

from board_root import BoardRoot, snapshot
from edgedistill_device.__main__ import main
from edgedistill_device.errors import ReleaseError
from edgedistill_device.releases import signature, store
from edgedistill_device.releases.incoming import accept, want
from edgedistill_device.releases.root import read_serials
from edgedistill_device.releases.store import activate, status
from keys import new_key


@pytest.fixture
def board(tmp_path):
    return BoardRoot(tmp_path).small()


def trust(board, tmp_path, name):
    """Another key of the board's: (private, key id)."""
    private, public = new_key(tmp_path, name)
    os.rename(public, board.path("trusted.d", name + ".pem"))
    return private, signature.key_id_of(board.path("trusted.d", name + ".pem"))


def refused(board, release, words):
    before = snapshot(board.root)
    for verb in (want, accept):
        with pytest.raises(ReleaseError) as error:
            verb(board.root, release)
        assert words in str(error.value)
        assert str(error.value).endswith("needs --allow-downgrade")
    assert snapshot(board.root) == before


def serve(board, release, monkeypatch):
    board.pretend_verified(release)
    with monkeypatch.context() as patch:
        patch.setattr(store, "ask_current", lambda *_: {})
        activate(board.root, release)
    status(board.root, recover=True)  # sweeps away the switch before


def test_an_older_bundle_of_the_old_key_is_refused_after_the_key_was_rotated(board, tmp_path):
    private, key_id = trust(board, tmp_path, "second")
    accept(board.root, board.send(serial=5))
    accept(board.root, board.send(serial=20, private=private))
    for serial in (6, 19):
        refused(board, board.send(serial=serial), "has serial %d, and 20 of another trusted key" % serial)
    assert accept(board.root, board.send(serial=21))["already"] is False
    assert status(board.root)["highest_serial"] == {board.key_id: 21, key_id: 20}


def test_equal_serials_are_one_bundle(board, tmp_path):
    private, _ = trust(board, tmp_path, "second")
    first = board.send(serial=7)
    accept(board.root, first)
    for model, key in (("another", board.private), ("of another key", private)):
        other = board.send(serial=7, model=model, private=key)
        refused(board, other, "has serial 7, as %s that was accepted before" % first)
    assert accept(board.root, first)["already"] is True
    assert accept(board.root, other, allow_downgrade=True)["already"] is False
    third = board.send(serial=7, model="third")
    refused(board, third, "has serial 7, as ")


def test_of_a_serial_that_older_code_noted_the_release_on_the_disk_tells_whose_it_is(board):
    first = board.send(serial=7)
    accept(board.root, first)
    for name in ("state.json", "state.copy.json"):
        with open(board.path(name), "w") as file:
            json.dump({"version": 1, "highest_serial": {board.key_id: 7}}, file)
    refused(board, board.send(serial=7, model="another"), "as %s that was accepted" % first)
    assert accept(board.root, first)["already"] is True


def test_a_revoked_key_cannot_lock_the_board(board, tmp_path):
    """A thief signs with a serial of the year 2100; then the owner revokes that key."""
    private, key_id = trust(board, tmp_path, "stolen")
    accept(board.root, board.send(serial=4102444800, private=private))
    ours = board.send(serial=30)
    refused(board, ours, "and 4102444800 of another trusted key")
    with open(board.path("revoked"), "w") as file:
        file.write(key_id + "\n")
    assert accept(board.root, ours)["already"] is False


def test_after_a_clock_in_2040_there_is_a_way_back(board, monkeypatch, capsys):
    early, late = board.send(serial=1000), board.send(serial=2208988800, model="of 2040")
    for release in (early, late):
        accept(board.root, release)
        serve(board, release, monkeypatch)
    good = board.send(serial=2000, model="of today")
    refused(board, good, "has serial 2000, and 2208988800 of the same key")
    accept(board.root, good, allow_downgrade=True)
    serve(board, good, monkeypatch)
    refused(board, board.send(serial=2001), "and 2208988800 of the same key")  # for ever
    capsys.readouterr()
    assert main(["serials", "--as-current", "--root", board.root]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found == {"verb": "serials", "highest_serial": {board.key_id: 2000}, "withdrawn": [late]}
    assert accept(board.root, board.send(serial=2002))["already"] is False
    refused(board, board.send(serial=1001), "has serial 1001, and 2002 of the same key")
    refused(board, late, "%s was withdrawn on this board" % late)
    assert main(["serials", "--rebuild", "--root", board.root]) == 0  # it does not bring 2040 back
    assert status(board.root)["highest_serial"] == {board.key_id: 2002}
    assert accept(board.root, board.send(serial=2003))["already"] is False


def test_where_the_newest_is_served_as_current_changes_nothing(board, monkeypatch):
    """Whose that serial is stays known too: without it another bundle of the same one could come."""
    newest = board.send(serial=7)
    accept(board.root, newest)
    serve(board, newest, monkeypatch)
    before = read_serials(board.root)
    assert before.ids == {board.key_id: newest}
    assert main(["serials", "--as-current", "--root", board.root]) == 0
    assert read_serials(board.root) == before


def test_the_release_that_is_served_can_be_mended_though_a_newer_one_was_taken(board, monkeypatch):
    old = board.send(serial=1)
    accept(board.root, old)
    serve(board, old, monkeypatch)
    accept(board.root, board.send(serial=2))
    with open(board.path("releases", old, "model.onnx"), "ab") as file:
        file.write(b"x")
    board.send(serial=1)
    assert want(board.root, old)["release_exists"] is False
    assert accept(board.root, old)["already"] is False
    assert status(board.root)["proven"] is True


def test_nothing_is_lowered_where_nothing_is_served(board, capsys):
    accept(board.root, board.send(serial=5))
    before = snapshot(board.root)
    assert main(["serials", "--as-current", "--root", board.root]) == 1
    assert "no release is served; activate the one that is to be the newest first" in capsys.readouterr().err
    assert snapshot(board.root) == before
