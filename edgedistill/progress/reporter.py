"""What a run says while it works, to people on stderr and to scripts as events.

On a terminal one live view stays below the lines; elsewhere there are plain lines, few of them.
stdout is for results alone.
"""

from __future__ import annotations

import os
import queue
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from edgedistill.core.text import printable_lines
from edgedistill.progress.task import Work, count_text, speed_texts

PLAIN_SECONDS = 10.0  # between two progress lines when stderr is not a terminal
EVENT_SECONDS = 1.0  # between two events `progress`
_COLOURS = {"done": "32", "kept": "2", "note": "33", "error": "31"}  # tone -> ANSI


class Talk:
    """The voice of a run.

    Args:
        quiet: nothing for people; events are told all the same.
        tell: called with each event, a JSON-able dict: docs/events.md says which there are.
    """

    def __init__(self, quiet: bool = False, tell: Callable[[dict[str, Any]], None] | None = None):
        self.stage: str | None = None  # at work now
        self._tell, self._start, self._told = tell, time.monotonic(), -EVENT_SECONDS
        self._view: _Plain | Any = None
        self._beside: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        if not quiet and is_terminal(sys.stderr):
            from edgedistill.progress.rich_view import LiveView

            self._view = LiveView()
        elif not quiet:
            self._view = _Plain()

    def say(self, line: str, tone: str = "") -> None:
        """One line, to people and as the event `message`."""
        line = printable_lines(line)
        self.show(line, tone)
        if line.strip():
            self.event("message", text=line.strip())

    def show(self, line: str, tone: str = "") -> None:
        """One line to people alone; `tone` colours it: done, kept, note, error."""
        if self._view is not None:
            self._view.say(printable_lines(line), tone)

    def event(self, name: str, **facts: Any) -> None:
        self.tell_beside()
        if self._tell is not None:
            self._tell({"event": name, "time_s": self._seconds(), "stage": self.stage, **facts})

    def heard_beside(self, event: dict[str, Any]) -> None:
        """Keep an event of a process that works beside this one; any thread may call this."""
        self._beside.put(event)

    def tell_beside(self) -> None:
        """`forward` what was heard, in the thread that calls this; each event and each step of the work here do it."""
        while not self._beside.empty():  # no other thread takes from it
            self.forward(self._beside.get())

    def forward(self, event: dict[str, Any]) -> None:
        """An event of a process that works beside this one: to scripts as it is, to people as far as lines tell it."""
        if self._tell is not None:
            self._tell({**event, "time_s": self._seconds()})
        if event["event"] == "message":
            self.show(f"  {event['text']}")
        elif self._view is not None and event["event"] == "epoch":
            work = Work(event["title"], 0, epochs=event["epochs"], history=[event], metric=event["metric"])
            self._view.changed(work, "epoch")
        elif self._view is not None and event["event"] == "progress" and event["epochs"]:
            self._view.beside(event["title"], _line_beside(event))

    @contextmanager
    def working_on(self, stage: str, title: str) -> Iterator[None]:
        """A stage: what is said and told in the block belongs to it; also how the block failed."""
        self.stage = stage
        if self._view is None:
            yield
        else:
            with self._view.stage(title):
                yield
        self.stage = None

    @contextmanager
    def progress(self, title: str, total: int, done: int = 0, **about: Any) -> Iterator[Work]:
        """Show a piece of work while the block lasts; `about` as of `Work`."""
        work: Work

        def on_change(what: str) -> None:
            self.tell_beside()
            if self._view is not None:
                self._view.changed(work, what)
            self._tell_of(work, what)

        work = Work(title, total, done, on_change=on_change, **about)
        if self._view is None:
            yield work
        else:
            with self._view.work(work):
                yield work

    def _seconds(self) -> float:
        """Since this process began to speak."""
        return round(time.monotonic() - self._start, 3)

    def _tell_of(self, work: Work, what: str) -> None:
        if self._tell is None:
            return
        if what == "epoch":
            best = work.best
            facts = {**work.history[-1], "epochs": work.epochs}
            if best is not None:
                facts |= {"metric": work.metric, "best": best.value, "best_epoch": best.epoch}
            self.event("epoch", title=work.title, **facts)
            return
        now = time.monotonic()
        if now - self._told >= EVENT_SECONDS or work.done == work.total:
            self._told = now
            terms = dict(work.terms)
            loss = terms.pop("loss", None)
            self.event(
                "progress",
                title=work.title,
                done=work.done,
                total=work.total,
                unit=work.unit,
                epoch=work.epoch,
                epochs=work.epochs,
                images_per_second=_rounded(work.images_per_second),
                seconds_left=_rounded(work.seconds_left),
                train_loss=loss,
                terms=terms,
            )


class _Plain:
    """Lines for a log: now and then how far the work is, and each epoch."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def say(self, line: str, tone: str) -> None:
        print(painted(line, tone), file=sys.stderr, flush=True)

    def beside(self, title: str, line: str) -> None:
        """Epochs tell enough."""

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        yield

    @contextmanager
    def work(self, work: Work) -> Iterator[None]:
        self._last = time.monotonic()
        yield

    def changed(self, work: Work, what: str) -> None:
        if what == "epoch":
            self.say(f"  {work.epoch_line()}", "")
        elif time.monotonic() - self._last >= PLAIN_SECONDS:
            self._last = time.monotonic()
            facts = ", ".join([": ".join(filter(None, (work.title, work.count()))), *work.figures()])
            self.say(f"  {facts}  {work.losses()}".rstrip(), "kept")


def _line_beside(event: dict[str, Any]) -> str:
    """`distill: epoch 3/11, step 140/528, 312 images/s, 41 s left`; nothing at its end."""
    if event["done"] == event["total"]:
        return ""
    count = count_text(*(event[name] for name in ("epoch", "epochs", "unit", "done", "total")))
    return f"{event['title']}: " + ", ".join([count, *speed_texts(event["images_per_second"], event["seconds_left"])])


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person looks at it through something that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}


def has_colour(stream: IO[str]) -> bool:
    """NO_COLOR (no-color.org) forbids; else FORCE_COLOR or a terminal brings it."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


def painted(text: str, tone: str) -> str:
    """`text` as stderr shall have it."""
    code = _COLOURS.get(tone)
    return f"\033[{code}m{text}\033[0m" if code and has_colour(sys.stderr) else text


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
