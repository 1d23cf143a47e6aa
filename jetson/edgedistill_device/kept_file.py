"""What a power cut leaves whole: the old file or the new one."""

import os


def write_kept(path, content):
    """Write beside, flush to the disk, rename, and flush the folder.

    Args:
        content: bytes.
    """
    beside = path + ".tmp"
    with open(beside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    sync(os.path.dirname(path) or os.curdir)


def sync(path):
    """Flush to the disk: a file's content, or the names in a folder; no link is followed."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
