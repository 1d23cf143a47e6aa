"""ROOT, the board's own folder: what lies where, one writer at a time, and its two small files.

agent/          the device code that was put there at enrolment; it runs every verb that has --root
trusted.d/ revoked   keys, see releases/signature.py
board.json      what this board is: pinned at enrolment
state.json      the highest serial accepted of each key, against replay; state.copy.json the same again
incoming/<id>/  a bundle under way       releases/<id>/  a whole one; what verbs make is in its work/
switches/ live current previous   see releases/switch.py
lock            held by the one verb that writes
"""

import contextlib
import json
import os
import re
import shutil
import stat
from typing import Dict, List, NamedTuple

from edgedistill_device.engine.runners import BACKENDS
from edgedistill_device.errors import ReleaseError
from edgedistill_device.json_text import json_text
from edgedistill_device.kept_file import sync, write_kept
from edgedistill_device.lock import held

DEFAULT = "edgedistill"  # in the home folder
INCOMING, RELEASES = "incoming", "releases"
BOARD, STATE, AGENT, LOCK = "board.json", "state.json", os.path.join("agent", "agent.json"), "lock"
COPY = "state.copy.json"
_OURS = (INCOMING, RELEASES, "switches", BOARD, STATE, COPY)  # trusted.d is refused, not mended
_VERSION = 1
_TRASH = ".trash."  # before an id: what is being removed
_MAX_JSON_BYTES = 1 << 20
_ID = re.compile(r"^[0-9a-f]{16}\Z")

Board = NamedTuple("Board", [("target", str), ("backend", str)])
Serials = NamedTuple(
    "Serials",
    [
        ("highest", Dict[str, int]),  # key id -> highest serial that was accepted
        ("ids", Dict[str, str]),  # key id -> release that had it; older code did not keep that
        ("withdrawn", List[str]),  # releases with a serial above the highest, which count as older ones
    ],
)


def folder_of(root, kind, release):
    """ROOT/kind/release; `kind` is INCOMING or RELEASES.

    Raises:
        ReleaseError: that is no id, so nothing else may become a path.
    """
    if not _ID.match(release):
        raise ReleaseError("%.40r is not the id of a release; expected 16 hex digits" % (release,))
    return os.path.join(root, kind, release)


def ids_in(root, kind):
    """Ids of the folders there, sorted; links and other names are not looked at."""
    try:
        names = os.listdir(os.path.join(root, kind))
    except (IOError, OSError):
        return []
    return sorted(n for n in names if _ID.match(n) and is_folder(os.path.join(root, kind, n)))


def is_folder(path):
    """A folder itself, not a link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (IOError, OSError):
        return False


@contextlib.contextmanager
def locked(root):
    """Only one process is in here for one ROOT; the lock goes when the process does.

    Raises:
        ReleaseError: ROOT is not there, another process is in, or the disk refuses.
    """
    busy = ReleaseError("%s is locked by another command; wait for it to end" % (root,))
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(os.path.join(root, LOCK), busy))
        except (IOError, OSError) as error:
            mend = (
                "is it another login's, or its disk read-only?"
                if os.path.isdir(root)
                else "on the workstation: edgedistill enrol"
            )
            raise ReleaseError("%s: %s; %s" % (root, error.strerror, mend))
        try:
            for name in _OURS:
                if os.path.lexists(os.path.join(root, name)):
                    keep_others_out(os.path.join(root, name))
            yield
        except (IOError, OSError) as error:
            raise ReleaseError("%s; nothing is half done: repeat the command" % (error,))


def read_board(root):
    """What was pinned at enrolment.

    Raises:
        ReleaseError: absent, or not a file of edgedistill_device.
    """
    stored = read_json(root, BOARD)
    if stored is None:
        raise ReleaseError("%s has no %s; on the workstation: edgedistill enrol" % (root, BOARD))
    if set(stored) != {"version", "target", "backend"} or stored["backend"] not in BACKENDS:
        raise ReleaseError(
            "%s: %.80r is not one of edgedistill_device; on the workstation: edgedistill enrol" % (BOARD, stored)
        )
    return Board(stored["target"], stored["backend"])


def highest_serials(root):
    """{key id: highest serial that was accepted}.

    Raises:
        ReleaseError: not a file of edgedistill_device; a damaged one must not count as a new one.
    """
    return read_serials(root).highest


def read_serials(root, name=None):
    """The Serials of state.json; where that is missing, of its copy.

    Args:
        name: COPY to read the copy alone.

    Raises:
        ReleaseError: as `highest_serials`.
    """
    stored = read_json(root, name or STATE)
    if stored is None and name is None:
        return read_serials(root, COPY)
    if stored is None:
        return Serials({}, {}, [])
    serials = Serials(stored.get("highest_serial"), stored.get("ids", {}), stored.get("withdrawn", []))
    dicts, names = (serials.highest, serials.ids), isinstance(serials.withdrawn, list)
    if (
        not names
        or not all(isinstance(value, dict) for value in dicts)
        or not all(type(serial) is int for serial in serials.highest.values())
    ):
        raise ReleaseError("%s: no serials in it; on the workstation: edgedistill enrol" % (STATE,))
    return serials


def write_serials(root, serials):
    """The copy last: it is read where state.json was lost."""
    values = {
        "version": _VERSION,
        "highest_serial": serials.highest,
        "ids": serials.ids,
        "withdrawn": serials.withdrawn,
    }
    for name in (STATE, COPY):
        write_json(root, name, values)


def note_serial(root, key_id, serial, release=None):
    """Store a serial; the highest of a key stays, in whatever order bundles come.

    Args:
        release: whose it is.
    """
    serials = read_serials(root)
    highest = serials.highest.get(key_id, -1)
    if serial > highest or (serial == highest and serials.ids.get(key_id) != release):
        ids = dict(serials.ids, **{key_id: release})
        write_serials(root, Serials(dict(serials.highest, **{key_id: serial}), ids, serials.withdrawn))


def read_json(root, name):
    """One of ROOT's small JSON files as a dict, or None if there is none.

    Raises:
        ReleaseError: not an object of version 1, or there and not to be read.
    """
    try:
        with open(os.path.join(root, name), "rb") as file:
            content = file.read(_MAX_JSON_BYTES)
    except FileNotFoundError:
        return None
    except (IOError, OSError) as error:  # must not count as none: no serial would be too low then
        raise ReleaseError("%s: %s" % (os.path.join(root, name), error.strerror))
    try:
        stored = json.loads(content.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict) or stored.get("version") != _VERSION:
        raise ReleaseError(
            "%s is not of version %d; on the workstation: edgedistill enrol" % (os.path.join(root, name), _VERSION)
        )
    return stored


def _no_number(word):
    raise ValueError("%s is not a JSON number" % (word,))


def write_json(root, name, values):
    """Write beside, flush to the disk, rename: a power cut leaves the old file or the new one."""
    write_kept(os.path.join(root, name), json_text(values, indent=1).encode("utf-8"))


def sync_tree(folder):
    """Flush everything below to the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                sync(path)
        sync(place)


def keep_others_out(path, below=False):
    """Remove the write permission of group and others; links are not followed.

    Args:
        below: also of all below.
    """
    places = [path]
    for place, folders, names in os.walk(path) if below else ():
        places += [os.path.join(place, name) for name in folders + names]
    for place in places:
        info = os.lstat(place)
        if info.st_mode & 0o022 and not stat.S_ISLNK(info.st_mode):
            os.chmod(place, stat.S_IMODE(info.st_mode) & ~0o022)


def bytes_in(folder):
    """Bytes of all files below; links are not followed, files that vanish meanwhile are not counted."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def discard(root, kind, release):
    """Rename a folder to what is no id, then remove it: half of it is never seen.

    It needs no room, so that a full disk can be helped.
    """
    folder = folder_of(root, kind, release)
    if is_folder(folder):
        os.rename(folder, os.path.join(root, kind, _TRASH + release))
        sync(os.path.join(root, kind))
        empty_trash(root)
    elif os.path.lexists(folder):
        os.remove(folder)


def empty_trash(root):
    """Including what a killed command left there."""
    for kind in (INCOMING, RELEASES):
        folder = os.path.join(root, kind)
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if name.startswith(_TRASH):
                shutil.rmtree(os.path.join(folder, name))
