"""What a training tells the world after each epoch: a CSV in timm's shape, and TensorBoard."""

from __future__ import annotations

import csv
import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.core.files import write_bytes
from edgedistill.records.training import Epoch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class HistoryWriter:
    """Call it with each finished epoch, from the first; after a resume with the earlier ones again.

    Writes `summary.csv` (epoch, train_loss, eval_loss, eval_top1, one column per loss term, ...)
    and, when TensorBoard is installed and wanted, event files in `tensorboard/`.
    """

    def __init__(self, folder: Path, tensorboard: bool):
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self._events: SummaryWriter | None = None
        self._tensorboard = tensorboard and importlib.util.find_spec("tensorboard") is not None

    def __call__(self, epoch: Epoch) -> None:
        self._rows.append(_csv_row(epoch))
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

    def _add_events(self, figures: dict[str, Any]) -> None:
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(self._folder / "tensorboard", purge_step=figures["epoch"])
        for name, value in figures.items():
            if name != "epoch" and value is not None:
                self._events.add_scalar(name, value, figures["epoch"])
        self._events.flush()


def _csv_row(epoch: Epoch) -> dict[str, Any]:
    """Top-1 in percent under timm's column names, so that its plot scripts work."""
    return {
        "epoch": epoch.epoch,
        "train_loss": epoch.train_loss,
        "eval_loss": epoch.eval_loss,
        "eval_top1": 100 * epoch.eval_top1_fraction,
        "eval_balanced_accuracy": 100 * epoch.eval_balanced_accuracy_fraction,
        **{f"train_{name}": value for name, value in epoch.terms.items()},
        "lr": epoch.lr,
    }
