"""A program on a terminal of its own: a real pty, not a mock of one."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

from end_to_end import ROOT

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
EDGEDISTILL = (sys.executable, "-m", "edgedistill")
CTRL_C = b"\x03"
# Ctrl-C reaches a program only through its controlling terminal.
TAKE_IT = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """`PROGRAM WORDS` with this terminal as its controlling one, for input and all output."""

    def __init__(self, *words, cwd, columns=100, program=EDGEDISTILL, **environment):
        settings = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}
        settings |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment}
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        command = [sys.executable, "-c", TAKE_IT, *program, *map(str, words)]
        self._process = subprocess.Popen(command, cwd=cwd, env=settings, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.raw = ""

    @property
    def text(self):
        return ESCAPES.sub("", self.raw)

    def until(self, pattern=None, seconds=90):
        """Read till the pattern is on the screen, or, without one, to the program's end."""
        deadline = time.monotonic() + seconds
        while pattern is None or not re.search(pattern, self.text):
            if not select.select([self._fd], [], [], max(0, deadline - time.monotonic()))[0]:
                self._process.kill()
                raise AssertionError(f"{pattern!r} did not come within {seconds} s:\n{self.text}")
            try:
                piece = os.read(self._fd, 65536)
            except OSError:  # Linux: the other side is closed
                piece = b""
            if not piece:
                assert pattern is None, f"it ended without {pattern!r}:\n{self.text}"
                break
            self.raw += piece.decode(errors="replace")
        return self

    def type(self, keys):
        os.write(self._fd, keys)
        return self

    def exit_code(self):
        self.until()
        os.close(self._fd)
        return self._process.wait(timeout=60)
