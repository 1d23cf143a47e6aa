"""A file layer that fails: the n-th write, rename, removal or flush below a folder ends in an error or a kill.

Opening, renaming and removing are met by Python's audit hook, so no call can pass by; what a file
object writes goes through a raw file that counts, and fsync is replaced. Writes that a library makes
in C (numpy's tofile) are not met here but by a small disk and by RLIMIT_FSIZE.
"""

import builtins
import errno
import io
import os
import signal
import sys

_AUDITED = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}


class Faults:
    """Counts what happens below `under`; at number `at` it kills the process or raises."""

    def __init__(self, under, at=None, kill=False, error="ENOSPC"):
        self.under, self.at, self.kill = os.path.realpath(under) + os.sep, at, kill
        self.code = getattr(errno, error)
        self.count, self.what = 0, []

    def install(self):
        self._open, self._fsync = io.open, os.fsync
        sys.addaudithook(self._audited)
        builtins.open = io.open = self._opened
        os.fsync = self._flushed

    def tick(self, what, path):
        self.count += 1
        if self.count != self.at:
            return
        if self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(self.code, os.strerror(self.code), str(path))

    def mine(self, path):
        if isinstance(path, int) or path is None:
            return False
        return os.path.abspath(os.fsdecode(path)).startswith(self.under)

    def _audited(self, event, args):
        if event == "open":
            path, _, flags = args
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and self.mine(path):
                self.tick("open", path)
        elif event in _AUDITED and self.mine(args[0]):
            self.tick(event, args[0])

    def _flushed(self, descriptor):
        self.tick("fsync", f"descriptor {descriptor}")
        self._fsync(descriptor)

    def _opened(self, file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, *rest, **more):
        if not set(mode) & set("wax+") or rest or more or buffering != -1 or not self.mine(file):
            return self._open(file, mode, buffering, encoding, errors, newline, *rest, **more)
        raw = _Counted(file, mode.replace("b", "").replace("t", ""))
        raw.faults = self
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        text = io.TextIOWrapper(buffered, encoding, errors, newline)
        text.mode = mode
        return text


class _Counted(io.FileIO):
    faults = None

    def write(self, content):
        self.faults.tick("write", self.name)
        return super().write(content)
