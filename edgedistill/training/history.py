"""What a training tells the world after each epoch: a CSV in timm's shape, and TensorBoard."""

from __future__ import annotations

import csv
import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.core.files import write_bytes

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class HistoryWriter:
    """Call it with each row of the history, from epoch 1; earlier rows come again after a resume.

    Writes `summary.csv` (epoch, train_loss, eval_loss, eval_top1, one column per loss term, ...)
    and, when TensorBoard is installed and wanted, event files in `tensorboard/`.
    """

    def __init__(self, folder: Path, tensorboard: bool):
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self._events: SummaryWriter | None = None
        self._tensorboard = tensorboard and importlib.util.find_spec("tensorboard") is not None

    def __call__(self, row: dict[str, Any]) -> None:
        self._rows.append(_flat(row))
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self._rows[0]))
        writer.writeheader()
        writer.writerows(self._rows)
        write_bytes(self._folder / "summary.csv", text.getvalue().encode())
        if self._tensorboard:
            self._add_events(self._rows[-1])

    def close(self) -> None:
        if self._events is not None:
            self._events.close()

    def _add_events(self, row: dict[str, Any]) -> None:
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(self._folder / "tensorboard", purge_step=row["epoch"])
        for name, value in row.items():
            if name != "epoch" and value is not None:
                self._events.add_scalar(name, value, row["epoch"])
        self._events.flush()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """One CSV row; top-1 in percent under timm's column names, so that its plot scripts work."""
    return {
        "epoch": row["epoch"],
        "train_loss": row["train_loss"],
        "eval_loss": row["eval_loss"],
        "eval_top1": 100 * row["eval_top1_fraction"],
        "eval_balanced_accuracy": 100 * row["eval_balanced_accuracy_fraction"],
        **{f"train_{name}": value for name, value in row["terms"].items()},
        "lr": row["lr"],
    }
