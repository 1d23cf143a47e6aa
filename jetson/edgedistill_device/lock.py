"""One process at a time: a lock that goes when its process does, however that ends."""

import contextlib
import fcntl
import os


@contextlib.contextmanager
def held(path, refusal, shared=False):
    """Hold the lock file `path`; it stays there afterwards.

    Args:
        refusal: raised when another process holds it. Over SSH "is locked by another" is waited for.
        shared: beside others that share it; the file must be there.

    Raises:
        OSError: the file cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except (IOError, OSError):
            raise refusal
        yield
    finally:
        os.close(handle)
