"""How a bundle comes in: `want` says what to send, `accept` makes a release of what came.

incoming/<id>/ is filled by a copy that may stop anywhere and by anybody who may log in, so nothing
in it counts before `accept` has looked at all of it: signature first, then every name, then every
byte. Nothing is executed or loaded from there.
"""

import os
import shutil
import stat

from edgedistill_device.errors import JetsonError, ReleaseError
from edgedistill_device.kept_file import sync
from edgedistill_device.manifest import COMPILED, NAME, SIGNATURE, WORK, sha256_of
from edgedistill_device.releases.reuse import mend, reuse, size_of
from edgedistill_device.releases.root import (
    INCOMING,
    RELEASES,
    discard,
    folder_of,
    is_folder,
    keep_others_out,
    note_serial,
    read_board,
    sync_tree,
)
from edgedistill_device.releases.serials import require_newer
from edgedistill_device.releases.store import require_target, signed_manifest, whole_release
from edgedistill_device.releases.switch import active, writing

RESERVE_BYTES = 64 << 20  # stays free, for the system and for the engine's build to begin with


def want(root, release, allow_downgrade=False):
    """Check the manifest that came, take what other releases have, tell what is left to send.

    Returns:
        JSON-able: id, release_exists, files: name, bytes, have (bytes that lie there, to go on from).

    Raises:
        JetsonError: the bundle must not come to this board; nothing was changed.
    """
    with writing(root):
        exists = _stands(root, release)
        manifest, _ = _admitted(root, RELEASES if exists else INCOMING, release, allow_downgrade)
        left = []
        if exists:
            discard(root, INCOMING, release)
        else:
            folder = folder_of(root, INCOMING, release)
            entries = _entries(folder)
            require_room(root, _missing_bytes(folder, manifest))
            _clear(folder, manifest, entries)
            reuse(root, folder, manifest, folder_of(root, RELEASES, release))
            sizes = {name: size_of(os.path.join(folder, name)) for name in manifest.files}
            left = [
                {"name": name, "bytes": entry.bytes, "have": sizes[name] or 0}
                for name, entry in sorted(manifest.files.items())
                if sizes[name] != entry.bytes
            ]
        return {"verb": "want", "id": release, "release_exists": exists, "files": left}


def accept(root, release, allow_downgrade=False):
    """Make a release of a bundle that has come whole, or mend a damaged one with it.

    A second time it changes nothing.

    Returns:
        JSON-able: id, serial, key_id, already.

    Raises:
        JetsonError: it is not whole, or must not come to this board. A file with other content than
        was signed is removed, so that a new copy sends it again; all else stays as it was.
    """
    with writing(root):
        exists = _stands(root, release)
        manifest, key_id = _admitted(root, RELEASES if exists else INCOMING, release, allow_downgrade)
        if not exists:
            folder = folder_of(root, INCOMING, release)
            entries = _entries(folder)
            require_room(root, _missing_bytes(folder, manifest))
            _clear(folder, manifest, entries)
            _check_each(folder, manifest)
            keep_others_out(folder, below=True)
            sync_tree(folder)
        note_serial(root, key_id, manifest.serial, release)  # first: a power cut must not open a way back
        if exists:
            discard(root, INCOMING, release)
        else:
            _publish(root, release, manifest)
        return {"verb": "accept", "id": release, "serial": manifest.serial, "key_id": key_id, "already": exists}


def _stands(root, release):
    """Is it a whole release here already? One that is damaged needs a copy to be mended with.

    Raises:
        JetsonError: what is wrong with it, where no copy has come.
    """
    if not os.path.lexists(folder_of(root, RELEASES, release)):
        return False
    try:
        whole_release(root, release)
    except JetsonError:
        if not is_folder(folder_of(root, INCOMING, release)):
            raise
        return False
    return True


def _admitted(root, kind, release, allow_downgrade):
    """(Manifest, key id) of a bundle that may come to this board."""
    board = read_board(root)
    manifest, key_id = signed_manifest(root, kind, release)
    require_target(board, manifest)
    work = [name for name in sorted(manifest.files) if name.split("/")[0] == WORK]
    if work:  # there lies what this board made itself, the proof of an engine above all
        raise ReleaseError("the bundle brings %s; work/ belongs to the board, refused" % (work[0],))
    compiled = [name for name in sorted(manifest.files) if COMPILED in name.split("/")]
    if compiled:
        raise ReleaseError("the bundle brings %s; only sources are taken, refused" % (compiled[0],))
    served = active(root)
    if not allow_downgrade and (served is None or served.current != release):  # that one is only mended
        require_newer(root, release, manifest, key_id)
    return manifest, key_id


def _entries(folder):
    """{name: lstat} of all that lies below.

    Raises:
        ReleaseError: a link, a second name of a file, or a device, which no upload of edgedistill makes.
    """
    entries = {}
    for place, folders, names in os.walk(folder, onerror=_raise):
        for name in folders + names:
            path = os.path.join(place, name)
            info, inside = os.lstat(path), os.path.relpath(path, folder).replace(os.sep, "/")
            plain = stat.S_ISREG(info.st_mode) and info.st_nlink == 1
            if not plain and not stat.S_ISDIR(info.st_mode):
                raise ReleaseError("incoming: %s is a link or no plain file; refused: remove %s" % (inside, folder))
            entries[inside] = info
    return entries


def _raise(error):
    """What cannot be looked into must not be passed over."""
    raise error


def _clear(folder, manifest, entries):
    """Remove what the manifest does not list: compiled Python, a `work` folder, all of it."""
    folders = {parent for name in manifest.files for parent in _parents(name)}
    for name, info in sorted(entries.items()):
        path = os.path.join(folder, name)
        if not os.path.lexists(path):  # it went with its folder
            continue
        if stat.S_ISDIR(info.st_mode):
            if name not in folders:
                shutil.rmtree(path)
        elif name not in (NAME, SIGNATURE):
            entry = manifest.files.get(name)
            if entry is None or info.st_size > entry.bytes:
                os.remove(path)


def _parents(name):
    parts = name.split("/")[:-1]
    return ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _missing_bytes(folder, manifest):
    return sum(
        max(0, entry.bytes - (size_of(os.path.join(folder, name)) or 0)) for name, entry in manifest.files.items()
    )


def require_room(root, missing):
    """Refuse what would leave less than RESERVE_BYTES on the disk.

    Raises:
        ReleaseError.
    """
    free = shutil.disk_usage(root).free
    if free < missing + RESERVE_BYTES:
        raise ReleaseError(
            "%s: %d MiB of disk are free, and %d are needed with %d MiB that stay free; run: "
            "python3 -m edgedistill_device prune"
            % (root, free >> 20, -(-(missing + RESERVE_BYTES) >> 20), RESERVE_BYTES >> 20)  # up: it differs
        )


def _check_each(folder, manifest):
    for name, entry in sorted(manifest.files.items()):
        path = os.path.join(folder, name)
        size = size_of(path)
        if size != entry.bytes:
            raise ReleaseError(
                "%s: %s of %d bytes have come; copy the rest, see: python3 -m edgedistill_device want"
                % (name, "none" if size is None else size, entry.bytes)
            )
        digest = sha256_of(path)
        if digest != entry.sha256:
            os.remove(path)
            raise ReleaseError(
                "%s has sha256 %s..., %s... was signed; it was removed, copy it again"
                % (name, digest[:12], entry.sha256[:12])
            )


def _publish(root, release, manifest):
    """One rename; a damaged release of this id, which may be the one in force, is mended where it lies."""
    to = folder_of(root, RELEASES, release)
    if is_folder(to):
        mend(folder_of(root, INCOMING, release), to, manifest)
        discard(root, INCOMING, release)
        return
    discard(root, RELEASES, release)  # a link or a file of that name
    os.makedirs(os.path.dirname(to), exist_ok=True)
    os.rename(folder_of(root, INCOMING, release), to)
    sync(os.path.dirname(to))
    sync(os.path.join(root, INCOMING))
