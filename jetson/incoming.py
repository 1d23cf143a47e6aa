"""How a bundle comes in: `want` says what to send, `accept` makes a release of what came.

incoming/<id>/ is filled by a copy that may stop anywhere and by anybody who may log in, so nothing
in it counts before `accept` has looked at all of it: signature first, then every name, then every
byte. Nothing is executed or loaded from there.
"""

import hashlib
import os
import shutil
import stat

from jetson.errors import JetsonError, ReleaseError
from jetson.manifest import (
    NAME,
    SIGNATURE,
    Entry,
    check_files,
    manifest_from_bytes,
    names_in,
    sha256_of,
)
from jetson.releases import require_target, signed_manifest, whole_release
from jetson.root import (
    INCOMING,
    RELEASES,
    discard,
    folder_of,
    highest_serials,
    ids_in,
    is_folder,
    note_serial,
    read_board,
    sync,
    sync_tree,
)
from jetson.switch import writing

RESERVE_BYTES = 64 << 20  # stays free, for the system and for the engine's build to begin with
_COPYING = ".copying"  # no name in a bundle begins with a dot


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
            found = _entries(folder)
            _require_room(root, folder, manifest)
            _clear(folder, manifest, found)
            _reuse(root, folder, manifest, folder_of(root, RELEASES, release))
            sizes = {name: _size(os.path.join(folder, name)) for name in manifest.files}
            left = [
                {"name": name, "bytes": entry.bytes, "have": sizes[name] or 0}
                for name, entry in sorted(manifest.files.items()) if sizes[name] != entry.bytes
            ]  # fmt: skip
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
        manifest, key_id = _admitted(
            root, RELEASES if exists else INCOMING, release, allow_downgrade
        )
        if not exists:
            folder = folder_of(root, INCOMING, release)
            found = _entries(folder)
            _require_room(root, folder, manifest)
            _clear(folder, manifest, found)
            _check_each(folder, manifest)
            sync_tree(folder)
        note_serial(root, key_id, manifest.serial)  # first: a power cut must not open a way back
        if exists:
            discard(root, INCOMING, release)
        else:
            _publish(root, release, manifest)
        return {"verb": "accept", "id": release, "serial": manifest.serial, "key_id": key_id,
                "already": exists}  # fmt: skip


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
    work = [name for name in sorted(manifest.files) if name.split("/")[0] == "work"]
    if work:  # there lies what this board made itself, the proof of an engine above all
        raise ReleaseError("the bundle brings %s; work/ belongs to the board, refused" % (work[0],))
    highest = highest_serials(root).get(key_id, -1)
    if manifest.serial < highest and not allow_downgrade:
        raise ReleaseError(
            "the bundle has serial %d, and %d of the same key was accepted before; an older one "
            "needs --allow-downgrade" % (manifest.serial, highest)
        )
    return manifest, key_id


def _entries(folder):
    """{name: lstat} of all that lies below.

    Raises:
        ReleaseError: a link, a second name of a file, a device: no copy of ours makes one.
    """
    found = {}
    for place, folders, names in os.walk(folder, onerror=_raise):
        for name in folders + names:
            path = os.path.join(place, name)
            info, inside = os.lstat(path), os.path.relpath(path, folder).replace(os.sep, "/")
            plain = stat.S_ISREG(info.st_mode) and info.st_nlink == 1
            if not plain and not stat.S_ISDIR(info.st_mode):
                raise ReleaseError(
                    "incoming: %s is a link or no plain file; refused: remove %s" % (inside, folder)
                )
            found[inside] = info
    return found


def _raise(error):
    """What cannot be looked into must not be passed over."""
    raise error


def _clear(folder, manifest, found):
    """Remove what the manifest does not list: compiled Python, a `work` folder, all of it."""
    folders = {parent for name in manifest.files for parent in _parents(name)}
    for name, info in sorted(found.items()):
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


def _require_room(root, folder, manifest):
    missing = sum(
        max(0, entry.bytes - (_size(os.path.join(folder, name)) or 0))
        for name, entry in manifest.files.items()
    )
    free = shutil.disk_usage(root).free
    if free < missing + RESERVE_BYTES:
        raise ReleaseError(
            "%s: %d MiB of disk are free, and %d are needed with %d MiB that stay free; run: "
            "python3 -m jetson prune"
            % (root, free >> 20, (missing + RESERVE_BYTES) >> 20, RESERVE_BYTES >> 20)
        )


def _reuse(root, folder, manifest, damaged):
    """Copy files that another release has, or what is whole of this one, and make the empty ones."""
    known = _known_files(root)
    for name, entry in sorted(manifest.files.items()):
        path = os.path.join(folder, name)
        if _size(path) == entry.bytes:
            continue
        if entry.bytes == 0 or any(
            _copied(source, os.path.join(folder, _COPYING), entry)
            for source in known.get(entry, []) + [os.path.join(damaged, name)]
        ):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if entry.bytes == 0:
                open(path, "wb").close()
            else:
                os.replace(os.path.join(folder, _COPYING), path)


def _known_files(root):
    """{Entry: paths} of all releases here. The hash is checked when one is used."""
    known = {}
    for release in ids_in(root, RELEASES):
        place = folder_of(root, RELEASES, release)
        try:
            with open(os.path.join(place, NAME), "rb") as file:
                files = manifest_from_bytes(file.read()).files
        except (IOError, OSError, JetsonError):  # damaged: it has nothing to give
            continue
        for name, entry in files.items():
            known.setdefault(entry, []).append(os.path.join(place, name))
    return known


def _copied(source, to, entry):
    """Copy a file; True when what was written has the hash of `entry`."""
    try:
        reading = os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except (IOError, OSError):
        return False
    digest = hashlib.sha256()
    with reading, open(to, "wb") as writing_to:
        for piece in iter(lambda: reading.read(1 << 20), b""):
            digest.update(piece)
            writing_to.write(piece)
    return digest.hexdigest() == entry.sha256


def _check_each(folder, manifest):
    for name, entry in sorted(manifest.files.items()):
        path = os.path.join(folder, name)
        size = _size(path)
        if size != entry.bytes:
            raise ReleaseError(
                "%s: %s of %d bytes have come; copy the rest, see: python3 -m jetson want"
                % (name, "none" if size is None else size, entry.bytes)
            )
        found = sha256_of(path)
        if found != entry.sha256:
            os.remove(path)
            raise ReleaseError(
                "%s has sha256 %s..., %s... was signed; it was removed, copy it again"
                % (name, found[:12], entry.sha256[:12])
            )


def _publish(root, release, manifest):
    """One rename; a damaged release of this id, which may be the one in force, is mended where it lies."""
    to = folder_of(root, RELEASES, release)
    if is_folder(to):
        _mend(folder_of(root, INCOMING, release), to, manifest)
        discard(root, INCOMING, release)
        return
    discard(root, RELEASES, release)  # a link or a file of that name
    os.makedirs(os.path.dirname(to), exist_ok=True)
    os.rename(folder_of(root, INCOMING, release), to)
    sync(os.path.dirname(to))
    sync(os.path.join(root, INCOMING))


def _mend(whole, damaged, manifest):
    """File by file, so that at every instant it is this release, each time less damaged.

    work/ stays: engine and proof are bound to the model by hashes of their own.
    """
    for name in set(names_in(damaged)) - set(manifest.files):
        os.remove(os.path.join(damaged, name))
    signed = [(n, Entry(sha256_of(os.path.join(whole, n)), None)) for n in (NAME, SIGNATURE)]
    beside = os.path.join(damaged, _COPYING)
    for name, entry in sorted(manifest.files.items()) + signed:
        path = os.path.join(damaged, name)
        if _size(path) is not None and sha256_of(path) == entry.sha256:
            continue
        if is_folder(path):
            shutil.rmtree(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            _copied(os.path.join(whole, name), beside, entry)
            sync(beside)
            os.replace(beside, path)
        finally:
            if os.path.lexists(beside):  # the disk was full
                os.remove(beside)
    sync_tree(damaged)
    check_files(damaged, manifest.files)


def _size(path):
    """Bytes of a plain file; None where there is none."""
    try:
        info = os.lstat(path)
    except (IOError, OSError):
        return None
    return info.st_size if stat.S_ISREG(info.st_mode) else None
