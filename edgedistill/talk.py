"""What a run says while it works: stderr, rich on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[..., None]  # (count, note="")
PLAIN_SECONDS = 10.0  # between two progress lines when stderr is not a terminal


class Talk:
    """`say` prints a line; `progress` shows how far a long piece of work is."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self._terminal = sys.stderr.isatty() and not quiet
        self._console = None
        if self._terminal:
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False)

    def say(self, line: str) -> None:
        if self._console is not None:
            self._console.print(line, markup=False, soft_wrap=True)
        elif not self.quiet:
            print(line, file=sys.stderr, flush=True)

    @contextmanager
    def progress(self, title: str, total: int, done: int = 0) -> Iterator[Progress]:
        """A counter from `done` to `total`; call it with the new count and an optional note."""
        if self._console is None:
            yield _PlainProgress(self, title, total, done)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                   TimeRemainingColumn(), TextColumn("{task.fields[note]}"))  # fmt: skip
        with Bars(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(title, total=total, completed=done, note="")
            yield lambda count, note="": bars.update(task, completed=count, note=note)


class _PlainProgress:
    def __init__(self, talk: Talk, title: str, total: int, done: int):
        self._talk, self._title, self._total = talk, title, total
        self._first, self._start = done, time.monotonic()
        self._last = self._start

    def __call__(self, count: int, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last < PLAIN_SECONDS:
            return
        self._last = now
        rate = (count - self._first) / (now - self._start)
        left = f", {(self._total - count) / rate:.0f} s left" if rate > 0 else ""
        self._talk.say(f"  {self._title} {count}/{self._total}{left}  {note}".rstrip())
