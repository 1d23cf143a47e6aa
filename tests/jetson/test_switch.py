"""`live` alone says what is served: links that lead elsewhere count for nothing and are put right."""

import os
import shutil

import pytest

from board_root import BoardRoot, copied, served_twice, snapshot
from edgedistill_device.errors import JetsonError
from edgedistill_device.releases import store
from edgedistill_device.releases.incoming import accept, want
from edgedistill_device.releases.store import activate, prune, rollback, status

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_children")]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return served_twice(tmp_path_factory.mktemp("template"))


@pytest.fixture
def able(template, tmp_path):
    """(board, previous, current)."""
    return copied(template, tmp_path)


def foreign_code(board, marker):
    """A folder whose `edgedistill_device` is nobody's, and tells that it ran."""
    folder = board.path("foreign")
    os.makedirs(os.path.join(folder, "edgedistill_device"))
    for name in ("__init__.py", "__main__.py"):
        with open(os.path.join(folder, "edgedistill_device", name), "w") as file:
            file.write("open(%r, 'w').close()\nprint('{\"verb\": \"health\"}')\n" % (marker,))
    return folder


def link(to):
    def make(board, old, path):
        os.remove(path)
        os.symlink(to(board, old), path)

    return make


def folder(board, old, path):
    os.remove(path)
    shutil.copytree(board.path("releases", old), path)


def plain_file(board, old, path):
    os.remove(path)
    with open(path, "w") as file:
        file.write("mine")


HARM = {
    "by hand": link(lambda board, old: "releases/" + old),
    "absolute": link(lambda board, old: board.path("releases", old)),
    "foreign": link(lambda board, old: foreign_code(board, board.path("ran"))),
    "dangling": link(lambda board, old: "nowhere"),
    "loop": link(lambda board, old: "current"),
    "removed": lambda board, old, path: os.remove(path),
    "folder": folder,
    "file": plain_file,
}


@pytest.mark.parametrize("name", ["current", "previous"])
@pytest.mark.parametrize("harm", sorted(HARM))
def test_a_link_that_leads_elsewhere_is_told_and_put_right(able, capsys, name, harm):
    board, old, new = able
    before = snapshot(board.root)
    HARM[harm](board, old, board.path(name))
    found = status(board.root)
    assert (found["current"], found["previous"], found["proven"]) == (new, old, False)
    assert len(found["problems"]) == 1
    assert found["problems"][0].startswith(board.path(name) + " ")
    assert found["problems"][0].endswith(" and %s is served" % new)
    assert activate(board.root, new)["already"] is True
    assert "%s/%s " % (board.root, name) in capsys.readouterr().err
    assert not os.path.exists(board.path("ran")), "code that nobody signed was run"
    found, after = status(board.root), snapshot(board.root)
    assert (found["current"], found["proven"], found["problems"]) == (new, True, [])
    aside = {path for path in after if path.split("/")[0] in ("foreign", "stray-1")}
    assert {path: after[path] for path in set(after) - aside} == before
    if harm in ("folder", "file"):
        assert "stray-1" in aside, "what is not ours is moved, not removed"


@pytest.mark.parametrize("verb", ["want", "accept", "rollback", "prune", "recover"])
def test_every_verb_that_writes_puts_it_right(able, verb):
    board, old, new = able
    third = board.send(serial=3)
    os.remove(board.path("current"))
    os.symlink("releases/" + old, board.path("current"))
    {
        "want": lambda: want(board.root, third),
        "accept": lambda: accept(board.root, third),
        "rollback": lambda: rollback(board.root),
        "prune": lambda: prune(board.root),
        "recover": lambda: status(board.root, recover=True),
    }[verb]()
    assert os.readlink(board.path("current")) == "live/current"
    found = status(board.root)
    assert found["current"] == (old if verb == "rollback" else new)
    assert os.path.realpath(board.path("current")) == board.path("releases", found["current"])


def test_the_health_check_runs_what_live_leads_to(able):
    """However the links lie at that moment."""
    board, old, new = able
    third = board.send(serial=3)
    accept(board.root, third)
    board.verify(third)
    asked = store.ask_current

    def from_elsewhere(*arguments):
        os.remove(board.path("current"))
        os.symlink(foreign_code(board, board.path("ran")), board.path("current"))
        return asked(*arguments)

    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(store, "ask_current", from_elsewhere)
        assert activate(board.root, third)["health"]["images"] == 4
    assert not os.path.exists(board.path("ran"))
    assert status(board.root)["proven"] is False  # until a verb that writes comes by
    assert status(board.root, recover=True)["proven"] is True


def live_elsewhere(board, old):
    os.remove(board.path("live"))
    os.symlink("releases/" + old, board.path("live"))


def live_folder(board, old):
    os.remove(board.path("live"))
    os.mkdir(board.path("live"))


def switch_elsewhere(board, old):
    path = board.path("live", "current")
    os.remove(path)
    os.symlink(board.path("releases", old), path)


def switch_gone(board, old):
    shutil.rmtree(os.path.realpath(board.path("live")))


@pytest.mark.parametrize("harm", [live_elsewhere, live_folder, switch_elsewhere, switch_gone])
def test_where_live_itself_is_not_ours_every_verb_says_what_to_do(able, harm, tmp_path):
    board, old, new = able
    harm(board, old)
    found = status(board.root)
    assert (found["current"], found["proven"], len(found["problems"])) == (None, False, 1)
    advice = "move %s away and activate a release" % board.path("live")
    assert advice in found["problems"][0]
    before = snapshot(board.root)
    for verb in (
        lambda: activate(board.root, new),
        lambda: rollback(board.root),
        lambda: prune(board.root),
        lambda: want(board.root, new),
        lambda: status(board.root, recover=True),
    ):
        with pytest.raises(JetsonError) as error:
            verb()
        assert advice in str(error.value)
        assert "\n" not in str(error.value)
    assert snapshot(board.root) == before
    os.rename(board.path("live"), board.path("live~"))  # and that is the way out
    assert activate(board.root, new)["previous"] is None
    assert status(board.root)["proven"] is True


def test_before_the_first_switch_there_is_nothing_to_put_right(tmp_path):
    board = BoardRoot(tmp_path).small()
    assert status(board.root, recover=True)["problems"] == []
    os.symlink("releases/none", board.path("current"))
    assert "current leads to releases/none, and no release is served" in status(board.root)["problems"][0]
    assert status(board.root, recover=True)["problems"] == []
    assert not os.path.exists(board.path("current"))
