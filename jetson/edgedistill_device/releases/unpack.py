"""Unpack a bundle that came as one file, by USB stick or by an updater: check it, write it to incoming/."""

import os
import shutil
import sys

from edgedistill_device.errors import ManifestError
from edgedistill_device.manifest import NAME, SIGNATURE, id_of, manifest_from_bytes
from edgedistill_device.releases.archive import Source, extract, head_of, new_file
from edgedistill_device.releases.incoming import require_room
from edgedistill_device.releases.root import INCOMING, discard, folder_of, read_board
from edgedistill_device.releases.signature import key_that_signed
from edgedistill_device.releases.store import require_target
from edgedistill_device.releases.switch import writing


def unpack(file, root):
    """Read an archive once, from front to back, into ROOT/incoming/<id>.

    Args:
        file: binary, readable; it need not be seekable.
        root: the board's folder.

    Returns:
        JSON-able: id, files, bytes.

    Raises:
        JetsonError: the signature, before anything is parsed; then the first byte that is not what
        the manifest makes it. Nothing of the archive is left.
    """
    source = Source(file)
    content, signature = head_of(source)
    key_that_signed(content, signature, root)
    release = id_of(content)
    manifest = manifest_from_bytes(content)
    with writing(root):
        require_target(read_board(root), manifest)
        discard(root, INCOMING, release)
        folder = folder_of(root, INCOMING, release)
        total = sum(entry.bytes for entry in manifest.files.values())
        require_room(root, total)
        try:
            os.makedirs(folder)
            for name, small in ((NAME, content), (SIGNATURE, signature)):
                with new_file(folder, name) as to:
                    to.write(small)
            extract(source, manifest, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return {"verb": "unpack", "id": release, "files": len(manifest.files), "bytes": total}


def open_archive(path):
    """A file by its path, or stdin for "-".

    Raises:
        ManifestError: no file that can be read.
    """
    if path == "-":
        return sys.stdin.buffer
    try:
        return open(path, "rb")
    except (IOError, OSError) as error:
        raise ManifestError("%s: %s" % (path, error.strerror))
