"""Which release is served: `current` and `previous` move together, by one rename.

switches/0007/current -> ../../releases/<id>    never changed once `live` has named it
             /previous -> ../../releases/<id>   absent with the first release
             /unproven    there until the health check has passed; holds the switch before, or nothing
live -> switches/0007       replaced by rename: this is the switch, and the one fact
current -> live/current     previous -> live/previous

The last two only repeat it for programs that know nothing of switches. One that leads elsewhere
(`ln -sfn releases/OLD current`) counts for nothing here: `status` tells of it, and the next command
that writes puts it right.

Whatever instant the power goes, `live` names the old switch or the new one, and the new one says
itself that it is not proven yet. The next command that writes goes back from such a one.
"""

import contextlib
import itertools
import os
import re
import shutil
import sys
from typing import NamedTuple, Optional

from edgedistill_device.errors import ReleaseError
from edgedistill_device.kept_file import sync
from edgedistill_device.releases.root import RELEASES, empty_trash, locked

SWITCHES, LIVE, CURRENT, PREVIOUS, UNPROVEN = "switches", "live", "current", "previous", "unproven"
_TO_SWITCH = re.compile(r"^switches/([0-9]{4,9})\Z")
_TO_RELEASE = re.compile(r"^\.\./\.\./releases/([0-9a-f]{16})\Z")

Switch = NamedTuple("Switch", [("name", str), ("current", str), ("previous", Optional[str]), ("proven", bool)])


@contextlib.contextmanager
def writing(root):
    """A lock for one command that changes ROOT; what a killed command left is reverted first.

    Raises:
        ReleaseError: another command holds the lock, or the disk refuses.
    """
    with locked(root):
        failed = revert_unproven(root)
        if failed is not None:
            sys.stderr.write(
                "edgedistill_device: %s never passed its health check (a power cut?); went back\n" % (failed,)
            )
        for line in mend(root):
            sys.stderr.write("edgedistill_device: %s; repaired\n" % (line,))
        _sweep(root)
        yield


def active(root):
    """The Switch that `live` names, or None.

    Raises:
        ReleaseError: a link that this code did not make.
    """
    name = _target(root, os.path.join(root, LIVE), _TO_SWITCH)
    if name is None:
        return None
    folder = os.path.join(root, SWITCHES, name)
    current = _target(root, os.path.join(folder, CURRENT), _TO_RELEASE)
    if current is None:
        raise ReleaseError("%s names no release; %s" % (folder, _anew(root)))
    proven = not os.path.lexists(os.path.join(folder, UNPROVEN))
    return Switch(name, current, _target(root, os.path.join(folder, PREVIOUS), _TO_RELEASE), proven)


def strays(root):
    """A line for each of `current` and `previous` that does not point where `live` does.

    Raises:
        ReleaseError: as `active`.
    """
    live, lines = active(root), []
    served = "no release is served" if live is None else "%s is served" % (live.current,)
    for name in (CURRENT, PREVIOUS):
        path = os.path.join(root, name)
        link = os.readlink(path) if os.path.islink(path) else None
        there = os.path.lexists(path)
        if link == "%s/%s" % (LIVE, name) or (live is None and not there):
            continue  # before the first switch there is none
        leads = "leads to %.200s" % (link,) if link else "is no link" if there else "is missing"
        lines.append("%s %s, and %s" % (path, leads, served))
    return lines


def mend(root):
    """Point both links where `live` does; the caller holds the lock.

    A folder or file in a link's place is moved to ROOT/stray-N: nothing is lost that is not ours.

    Returns:
        As `strays`, from before.
    """
    lines = strays(root)
    for link in (CURRENT, PREVIOUS) if lines else ():
        path = os.path.join(root, link)
        if os.path.lexists(path) and not os.path.islink(path):
            aside = (os.path.join(root, "stray-%d" % number) for number in itertools.count(1))
            os.rename(path, next(name for name in aside if not os.path.lexists(name)))
        _link(root, link, "%s/%s" % (LIVE, link))
    return lines


def switch(root, current, previous, proven):
    """Activate `current` atomically; the caller holds the lock.

    Args:
        current: id of a release that lies on the disk.
        previous: id, or None.
        proven: False until `mark_healthy`; until then `revert_unproven` goes back to what is live now.
    """
    before = _target(root, os.path.join(root, LIVE), _TO_SWITCH)
    switches = os.path.join(root, SWITCHES)
    os.makedirs(switches, exist_ok=True)
    name = "%04d" % (1 + max([0] + [int(n) for n in os.listdir(switches) if n.isdigit()]),)
    folder = os.path.join(switches, name)
    os.mkdir(folder)
    for link, release in ((CURRENT, current), (PREVIOUS, previous)):
        if release is not None:
            os.symlink("../../%s/%s" % (RELEASES, release), os.path.join(folder, link))
    if not proven:
        with open(os.path.join(folder, UNPROVEN), "w", encoding="ascii") as file:
            file.write(before or "")
            file.flush()
            os.fsync(file.fileno())
    sync(folder)
    sync(switches)
    for link in (CURRENT, PREVIOUS):
        _link(root, link, "%s/%s" % (LIVE, link))
    _link(root, LIVE, "%s/%s" % (SWITCHES, name))


def mark_healthy(root):
    """Note that the active release has passed its health check."""
    folder = os.path.join(root, SWITCHES, active(root).name)
    os.remove(os.path.join(folder, UNPROVEN))
    sync(folder)


def revert_unproven(root):
    """Go back from a switch that was not proven to the one before it, or to none.

    Returns:
        The id that was left, or None when there was nothing to revert.
    """
    live = active(root)
    if live is None or live.proven:
        return None
    with open(os.path.join(root, SWITCHES, live.name, UNPROVEN), encoding="ascii", errors="replace") as file:
        before = file.read(16)
    if before:
        target = "%s/%s" % (SWITCHES, before)
        if not _TO_SWITCH.match(target):
            raise ReleaseError("%s/%s: %r is no switch" % (live.name, UNPROVEN, before))
        _link(root, LIVE, target)
    else:
        os.remove(os.path.join(root, LIVE))
        sync(root)
    return live.current


def _link(root, name, target):
    path = os.path.join(root, name)
    if os.path.islink(path) and os.readlink(path) == target:
        return
    beside = path + ".new"
    if os.path.lexists(beside):  # of a command that was killed
        os.remove(beside)
    os.symlink(target, beside)
    os.replace(beside, path)
    sync(root)


def _target(root, path, pattern):
    """What a link that edgedistill_device made names; None where there is none. The link is read, never followed."""
    if not os.path.lexists(path):
        return None
    match = pattern.match(os.readlink(path)) if os.path.islink(path) else None
    if match is None:
        raise ReleaseError("%s is not a link that was made here; %s" % (path, _anew(root)))
    return match.group(1)


def _anew(root):
    return "refused: move %s away and activate a release" % (os.path.join(root, LIVE),)


def _sweep(root):
    """Remove switches that no link names any more, and the trash; call it with nothing unproven."""
    live, switches = active(root), os.path.join(root, SWITCHES)
    for name in os.listdir(switches) if os.path.isdir(switches) else ():
        if live is None or name != live.name:
            shutil.rmtree(os.path.join(switches, name))
    empty_trash(root)
