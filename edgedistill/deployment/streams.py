"""Output of another machine, which is not trusted: bounded, without control characters, parsed strictly.

A hostile board may send a line without an end, terminal escapes, JSON that nests ten thousand
deep. It gets one line in our log, and the connection is dropped.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edgedistill.core.text import printable, printable_values
from edgedistill.environment.secret_values import child_environment
from edgedistill.errors import BoardError

MAX_LINE_BYTES = 4 << 20  # the raw samples of 50,000 benchmark runs
MAX_BYTES = 64 << 20
MAX_DEPTH = 20
TICK_S = 2.0
_LARGEST = 1e300
MAX_SHOWN = 400  # characters of one line for a terminal or a message

Say = Callable[[str], None]


@dataclass(frozen=True)
class Answer:
    """How a command ended.

    Attributes:
        code: exit code; negative for a signal.
        line: last line of stdout as it came, "" when there was none.
        error: last line of stderr, fit for a terminal.
        errors: all of stderr that was kept (the last 8 KiB), fit for a terminal.
    """

    code: int
    line: str
    error: str
    errors: str


def ask(
    command: Sequence[str],
    say: Say | None = None,
    stdin: bytes = b"",
    timeout_s: float | None = None,
    tick: Callable[[], None] | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Answer:
    """Run a command here and pass its output on as it comes.

    The last line of either stream is held back: of stdout it is the result, of stderr, where the
    command fails, the refusal.

    Args:
        say: gets each other line, fit for a terminal.
        timeout_s: then the command is killed.
        tick: called every TICK_S seconds in which it says nothing.
        cwd: folder that the command runs in.
        env: its environment; that of `child_environment` when None.

    Raises:
        BoardError: too much output, or no end in time.
    """
    with tempfile.TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            command,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment() if env is None else env,
            cwd=cwd,
        )
        out, error = _Lines(say), _Lines(say)
        pipes = [(pipe, lines) for pipe, lines in ((process.stdout, out), (process.stderr, error)) if pipe is not None]
        try:
            _pump(pipes, timeout_s, tick)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe, _ in pipes:
                pipe.close()
    if code == 0 and say is not None and error.last:  # a remark then, and no refusal
        say(clean(error.last))
    return Answer(code, out.last, clean(error.last), "\n".join(map(clean, error.tail())))


def _pump(pipes: list[tuple[IO[bytes], _Lines]], timeout_s: float | None, tick: Callable[[], None] | None) -> None:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with selectors.DefaultSelector() as ready:
        for pipe, lines in pipes:
            ready.register(pipe, selectors.EVENT_READ, lines)
        while ready.get_map():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise BoardError(f"no end within {timeout_s:.0f} s; is the board overloaded?")
            waking = ready.select(left if tick is None else min(TICK_S, left or TICK_S))
            if tick is not None and not waking:
                tick()
            for key, _ in waking:
                piece = os.read(key.fd, 1 << 16)
                if piece:
                    key.data.take(piece)
                else:
                    key.data.end()
                    ready.unregister(key.fileobj)


class _Lines:
    """Lines of one stream: the last is kept, those before it are passed on."""

    def __init__(self, say: Say | None):
        self._say, self._open, self._total = say, b"", 0
        self._kept: list[str] = []

    @property
    def last(self) -> str:
        return self._kept[-1] if self._kept else ""

    def tail(self) -> list[str]:
        return self._kept

    def take(self, piece: bytes) -> None:
        self._total += len(piece)
        *whole, self._open = (self._open + piece).split(b"\n")
        for line in whole:
            self._line(line)
        if len(self._open) > MAX_LINE_BYTES or self._total > MAX_BYTES:
            raise BoardError(
                f"it sent {self._total} bytes, {len(self._open)} of them in one line; that is more "
                "than edgedistill_device sends, and the rest was not read"
            )

    def end(self) -> None:
        self._line(self._open)
        self._open = b""

    def _line(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()
        if not text:
            return
        if self._say is not None and self._kept:
            self._say(clean(self._kept[-1]))
        self._kept = [*self._kept[-15:], text]


def clean(text: str) -> str:
    """Fit for a terminal: no escape, no control or direction character, not endless."""
    return printable(text, most=MAX_SHOWN, instead="?")


def object_from_line(line: str, verb: str | None = None) -> dict[str, Any]:
    """The JSON object that a verb ends with; every text in it is fit for a terminal.

    Args:
        verb: what its key "verb" must say; None: it needs none.

    Raises:
        BoardError: it is something else.
    """
    try:
        values = json.loads(line, object_pairs_hook=_once, parse_constant=_finite)
        _check_bounds(values, MAX_DEPTH)
        values = printable_values(values, most=MAX_SHOWN, instead="?")
    except (ValueError, RecursionError) as error:
        raise BoardError(
            f"expected one line of JSON at the end, got {clean(line)[:80]!r} ({clean(str(error))[:80]})"
        ) from None
    if not isinstance(values, dict) or (verb is not None and values.get("verb") != verb):
        expected = "an object" if verb is None else f'an object with "verb": "{verb}"'
        raise BoardError(f"expected {expected} at the end, got {clean(line)[:80]!r}")
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key comes twice")
    return values


def _finite(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")


def _check_bounds(value: Any, depth: int) -> None:
    """
    Raises:
        ValueError: it nests deeper than `depth`, or holds a number that is not finite.
    """
    if depth == 0:
        raise ValueError(f"it nests more than {MAX_DEPTH} deep")
    if isinstance(value, int | float) and abs(value) > _LARGEST:  # 1e999 is read as infinity
        raise ValueError("a number in it is not finite")
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        _check_bounds(item, depth - 1)
