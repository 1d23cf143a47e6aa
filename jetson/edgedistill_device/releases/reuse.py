"""Files that lie on this board already: for a bundle under way, and for a release that was damaged."""

import hashlib
import os
import shutil
import stat

from edgedistill_device.errors import JetsonError, ReleaseError
from edgedistill_device.kept_file import sync
from edgedistill_device.manifest import NAME, SIGNATURE, Entry, check_files, manifest_from_bytes, sha256_of, unlisted
from edgedistill_device.releases.root import RELEASES, folder_of, ids_in, is_folder, sync_tree

_COPYING = ".copying"  # no name in a bundle begins with a dot


def reuse(root, folder, manifest, damaged):
    """Copy files that another release has, or what is whole of this one, and make the empty ones.

    Args:
        folder: the bundle under way.
        damaged: where a release of this id lies, if there is one.
    """
    sources_by_entry = _known_files(root)
    for name, entry in sorted(manifest.files.items()):
        path = os.path.join(folder, name)
        if size_of(path) == entry.bytes:
            continue
        if entry.bytes == 0 or any(
            _copied(source, os.path.join(folder, _COPYING), entry)
            for source in sources_by_entry.get(entry, []) + [os.path.join(damaged, name)]
        ):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if entry.bytes == 0:
                open(path, "wb").close()
            else:
                os.replace(os.path.join(folder, _COPYING), path)


def _known_files(root):
    """{Entry: paths} of all releases here. The hash is checked when one is used."""
    sources_by_entry = {}
    for release in ids_in(root, RELEASES):
        place = folder_of(root, RELEASES, release)
        try:
            with open(os.path.join(place, NAME), "rb") as file:
                files = manifest_from_bytes(file.read()).files
        except (IOError, OSError, JetsonError):  # damaged: it has nothing to give
            continue
        for name, entry in files.items():
            sources_by_entry.setdefault(entry, []).append(os.path.join(place, name))
    return sources_by_entry


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


def mend(whole, damaged, manifest):
    """File by file, so that at every instant it is this release, each time less damaged.

    work/ stays: engine and proof are bound to the model by hashes of their own.

    Args:
        whole: a bundle whose every byte was checked.
        damaged: the release; it may be the one that is served.

    Raises:
        ReleaseError, ManifestError: another process writes there too.
    """
    for name in unlisted(damaged, manifest.files):
        path = os.path.join(damaged, name)
        shutil.rmtree(path) if is_folder(path) else os.remove(path)
    signed = [(n, Entry(sha256_of(os.path.join(whole, n)), None)) for n in (NAME, SIGNATURE)]
    beside = os.path.join(damaged, _COPYING)
    for name, entry in sorted(manifest.files.items()) + signed:
        path = os.path.join(damaged, name)
        if size_of(path) is not None and sha256_of(path) == entry.sha256:
            continue
        if is_folder(path):
            shutil.rmtree(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            if not _copied(os.path.join(whole, name), beside, entry):
                raise ReleaseError("%s changed under the copy; copy it again" % (name,))
            sync(beside)
            os.replace(beside, path)
        finally:
            if os.path.lexists(beside):  # the disk was full
                os.remove(beside)
    sync_tree(damaged)
    check_files(damaged, manifest.files)


def size_of(path):
    """Bytes of a plain file; None where there is none."""
    try:
        info = os.lstat(path)
    except (IOError, OSError):
        return None
    return info.st_size if stat.S_ISREG(info.st_mode) else None
