"""The live view of a terminal: below the lines, what is at work now. Imported there only."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgedistill.core.text_table import wrapped
from edgedistill.progress.reporter import has_colour, painted
from edgedistill.progress.task import Work

REDRAWS_PER_SECOND = 4
BAR_WIDTH = 24  # characters


class LiveView:
    """Stage, time, images/s, time left; bar and epoch; loss terms; the best validation so far."""

    def __init__(self) -> None:
        self._console = Console(
            stderr=True,
            highlight=False,
            force_terminal=True,
            color_system="auto" if has_colour(sys.stderr) else None,
        )
        self._live: Live | None = None
        self._title, self._since = "", 0.0
        self._work: Work | None = None
        self._beside: dict[str, str] = {}

    def say(self, line: str, tone: str) -> None:
        self._console.print(Text.from_ansi(painted(wrapped(line, self._console.width), tone)), soft_wrap=True)

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        self._title, self._since = title, time.monotonic()
        try:
            with self._shown():
                yield
        finally:
            self._title, self._beside = "", {}

    @contextmanager
    def work(self, work: Work) -> Iterator[None]:
        before, self._work = self._work, work
        try:
            with self._shown():
                yield
        finally:
            self._work = before

    def changed(self, work: Work, what: str) -> None:
        """The view reads the work by itself; only a training's last epoch stays as a line."""
        if what == "epoch" and work.history[-1]["epoch"] == work.epochs:
            self.say(f"  {work.epoch_line()}", "")

    def beside(self, title: str, line: str) -> None:
        """Another process's work, in a line of its own; an empty one removes it."""
        self._beside[title] = line

    @contextmanager
    def _shown(self) -> Iterator[None]:
        if self._live is not None:  # a piece of work inside a stage
            yield
            return
        live = Live(
            get_renderable=self._picture,
            console=self._console,
            transient=True,
            refresh_per_second=REDRAWS_PER_SECOND,
            redirect_stdout=False,
        )
        with live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def _picture(self) -> RenderableType:
        work = self._work
        head = [f"{self._title}  {time.monotonic() - self._since:.0f} s"] if self._title else []
        lines: list[RenderableType] = [_line(", ".join([*head, *(work.figures() if work else [])]))]
        if work is not None:
            titled = [] if work.title in self._title else [_line(f"  {work.title}")]
            lines += [*titled, _bar(work)]
            best, losses = work.best, work.losses()
            if losses:
                lines.append(_line(f"  {losses}"))
            if best is not None:
                lines.append(
                    _line(
                        f"  validation {best.metric} {best.last:.3f}, best so far {best.value:.3f} (epoch {best.epoch})"
                    )
                )
        lines += [_line(f"  beside it {line}") for line in list(self._beside.values()) if line]
        return Group(*lines)


def _bar(work: Work) -> Table:
    """Bar and count; nobody knows how far work is that is not counted, so its bar moves."""
    grid = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=work.total if work.unit else None, completed=work.done, width=BAR_WIDTH)
    grid.add_row(_line(" "), bar, _line(work.count()))
    return grid


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")
