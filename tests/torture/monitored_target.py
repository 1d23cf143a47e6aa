"""One input into one target, watched: what it raises, how long it takes, what it touches."""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from corruptions import mutated
from edgedistill.errors import EdgeDistillError
from edgedistill_device.errors import JetsonError

HANG_S = 10
_CHANGES = {
    "os.mkdir": 1,
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
    "os.remove": 1,
    "os.rmdir": 1,
    "os.truncate": 1,
    "os.chmod": 1,
    "os.chown": 1,
    "os.utime": 1,
}  # event -> how many paths
_NEVER = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "socket.connect", "pickle.find_class")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Target(NamedTuple):
    """What reads bytes.

    Attributes:
        corpus: what it should read; corruptions are made of these.
        call: raises AssertionError where it took what it should not have taken.
        allowed: its refusals; in one line, but for the recipe's.
        folder: it may write below this one, and nowhere else.
        corruptions: (draw, corpus) -> bytes.
        programs: it may start these.
    """

    corpus: Sequence[bytes]
    call: Callable[[bytes], object]
    allowed: type[BaseException] | tuple
    folder: Path
    corruptions: Callable = mutated
    programs: tuple[str, ...] = ()


class Hang(BaseException):
    pass


class Outside(BaseException):
    """Raised into the deed, so that it is not done; `except Exception` does not swallow it."""


class _Watched:
    """The hook of this process: Python cannot take an audit hook away, so it is there once, idle."""

    def __init__(self):
        self.folder, self.programs, self.outside = None, (), []
        sys.addaudithook(self._hook)

    def _hook(self, event, values):
        if self.folder is None:
            return
        if event == "open":
            path, mode, flags = values
            writes = flags & _WRITING if isinstance(flags, int) else set(mode or "") & set("wax+")
            paths = [path] if writes else []
        elif event in _CHANGES:
            paths = [_beside(path, values[-1]) for path in values[: _CHANGES[event]]]
            if event in ("os.symlink", "os.link"):
                paths = paths[1:]  # where it lies; what it names is its own affair
        elif event == "subprocess.Popen":
            allowed = os.path.basename(os.fsdecode(values[0])) in self.programs
            paths = [] if allowed else [f"(program {values[0]})"]
        else:
            paths = [f"({event})"] if event in _NEVER and not self.programs else []
        for path in paths:
            if not isinstance(path, int) and not self._inside(os.fsdecode(path)):
                self.outside.append(f"{event} {os.fsdecode(path)}")
                raise Outside(self.outside[-1])

    def _inside(self, path):
        real = os.path.join(os.path.realpath(os.path.dirname(path) or "."), os.path.basename(path))
        return real.startswith(self.folder + os.sep) or real in (self.folder, "/dev/null")  # itself: O_TMPFILE


def _beside(path, dir_fd):
    """The path of an event whose last value is a folder that is open, or -1."""
    if isinstance(path, int) or not isinstance(dir_fd, int) or dir_fd < 0 or os.path.isabs(path):
        return path
    return os.path.join(f"/proc/self/fd/{dir_fd}", os.fsdecode(path))


_watched = _Watched()


@contextlib.contextmanager
def _watching(target):
    _watched.outside, _watched.programs = [], target.programs
    _watched.folder = tempfile.tempdir = os.path.realpath(target.folder)
    try:
        with mock.patch("os.fsync"):  # no power is cut here
            yield
    finally:
        _watched.folder = tempfile.tempdir = None


def _alarm(*_):
    raise Hang(f"more than {HANG_S} s")


def finding_of(target, content):
    """(kind, words) of what is wrong with how `content` is met; None when nothing is."""
    found, before = None, signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(HANG_S)
    try:
        with _watching(target):
            target.call(content)
    except target.allowed as error:  # the two command lines make one line of their own refusals
        if len(str(error).splitlines()) > 1 and not isinstance(error, EdgeDistillError | JetsonError):
            found = "more than a line", str(error)[:300]
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        found = _where(error), str(error)[:300]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return ("outside", _watched.outside[0]) if _watched.outside else found


def _where(error):
    """The exception's kind and the last line that raised it."""
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    return f"{type(error).__name__} in {os.path.basename(last.tb_frame.f_code.co_filename)}:{last.tb_lineno}"
