"""One long piece of work as those see it who show it: how far, how fast, how good so far."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

PACE_SECONDS = 15.0  # the speed shown is that of the last so many seconds
_METRICS = {"top1_fraction": "top-1", "balanced_accuracy_fraction": "balanced accuracy", "r2": "R2", "map": "mAP"}
_SHORT = {"balanced_accuracy_fraction": "balanced"}


class Best(NamedTuple):
    """The best validation figure so far, and the newest one."""

    metric: str
    value: float
    epoch: int
    last: float


class Work:
    """A counter from `done` to `total`; call it with the new count.

    Args:
        title: for people.
        total: counts at the end.
        done: counts that an earlier run did.
        unit: what is counted, in the singular; `byte` is shown in MB, and "" of work that is not counted.
        images_each: images that one count stands for; None where images are not what is counted.
        epochs: passes in all, of a training.
        history: of the epochs that an earlier run finished, as JSON.
        metric: key of an epoch, without `eval_`, that decides which epoch was best.
        on_change: called after each change with `progress`, or with `epoch` at the end of one.
        clock: seconds.
    """

    def __init__(
        self,
        title: str,
        total: int,
        done: int = 0,
        *,
        unit: str = "",
        images_each: int | None = None,
        epochs: int | None = None,
        history: Sequence[dict[str, Any]] = (),
        metric: str = "top1_fraction",
        on_change: Callable[[str], None] = lambda what: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.title, self.total, self.done, self.unit = title, total, done, unit
        self.epochs, self.history, self.metric = epochs, [*history], metric
        self.terms: dict[str, float] = {}
        self._images_each, self._on_change, self._clock = images_each, on_change, clock
        self._first, self._start = done, clock()
        self._marks: deque[tuple[float, int]] = deque([(self._start, done)])

    def __call__(self, count: int, terms: dict[str, float] | None = None) -> None:
        """The new count and, of a training, each loss term's mean over the epoch so far."""
        now = self._clock()
        self.done = count
        if terms is not None:
            self.terms = terms
        self._marks.append((now, count))
        while len(self._marks) > 2 and now - self._marks[1][0] > PACE_SECONDS:
            self._marks.popleft()
        self._on_change("progress")

    def end_epoch(self, epoch: dict[str, Any]) -> None:
        """The figures of an epoch that has just ended, as JSON."""
        self.history.append(epoch)
        self._on_change("epoch")

    @property
    def images_per_second(self) -> float | None:
        """Of the last seconds; None before anything can be said, and where no images are counted."""
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        if self._images_each is None or last <= first or end <= start:
            return None
        return self._images_each * (last - first) / (end - start)

    @property
    def seconds_left(self) -> float | None:
        """By the mean speed since the start, which knows the pauses between epochs."""
        done, spent = self.done - self._first, self._clock() - self._start
        return (self.total - self.done) * spent / done if done > 0 else None

    @property
    def epoch(self) -> int | None:
        """The epoch under way, from 1; None where there are none."""
        return None if self.epochs is None else min(len(self.history) + 1, self.epochs)

    @property
    def best(self) -> Best | None:
        """None before the first validation."""
        if not self.history:
            return None
        key = f"eval_{self.metric}"
        epoch = max(self.history, key=lambda epoch: epoch[key])  # the first of equals
        return Best(_METRICS[self.metric], epoch[key], epoch["epoch"], self.history[-1][key])

    def count(self) -> str:
        """`epoch 2/10, step 6/240`, `image 30/90`, `1.2/13.5 MB`: how far it is."""
        if self.unit == "byte":
            return f"{self.done / 1e6:.1f}/{self.total / 1e6:.1f} MB"
        return count_text(self.epoch, self.epochs, self.unit, self.done, self.total) if self.unit else ""

    def figures(self) -> list[str]:
        """`812 images/s`, `133 s left`: what is known of the speed."""
        return speed_texts(self.images_per_second, self.seconds_left)

    def losses(self) -> str:
        return ", ".join(f"{name} {value:.3f}" for name, value in self.terms.items())

    def epoch_line(self) -> str:
        """What the newest row of the history says, in one line."""
        epoch, best = self.history[-1], self.best
        terms = ", ".join(f"{name} {value:.3f}" for name, value in epoch["terms"].items())
        figures = ", ".join(
            f"{_SHORT.get(name, words)} {epoch[f'eval_{name}']:.3f}"
            for name, words in _METRICS.items()
            if f"eval_{name}" in epoch
        )
        line = f"{self.title}: epoch {epoch['epoch']}/{self.epochs}: {terms}, validation {figures}"
        if best is not None and best.value > best.last:
            line += f" (best {best.metric} {best.value:.3f}, epoch {best.epoch})"
        return line


def count_text(epoch: int | None, epochs: int | None, unit: str, done: int, total: int) -> str:
    """`epoch 2/10, step 6/240`, `image 30/90`."""
    return f"{f'epoch {epoch}/{epochs}, ' if epochs else ''}{unit} {done}/{total}"


def speed_texts(images_per_second: float | None, seconds_left: float | None) -> list[str]:
    """`812 images/s`, `133 s left`, of those that are known."""
    return [
        *([f"{images_per_second:.0f} images/s"] if images_per_second is not None else []),
        *([f"{duration(seconds_left)} left"] if seconds_left is not None else []),
    ]


def duration(seconds: float) -> str:
    """`12 s`, `3 min 05 s`, `2 h 01 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
