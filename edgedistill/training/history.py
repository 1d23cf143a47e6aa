"""What a training tells the world after each epoch: a CSV in timm's shape, and the tools that track trainings."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgedistill.config.recipe import Recipe, recipe_without_paths
from edgedistill.core.files import write_bytes
from edgedistill.records.training import Epoch, EpochRow
from edgedistill.training.trackers import Tracked, Trackers

_TOLD = ("data", "augment", "teacher", "student", "distill")  # sections of the recipe that curves depend on


class HistoryWriter:
    """Call it with each finished epoch, from the first; after a resume with the earlier ones again.

    Writes `summary.csv` (epoch, train_loss, eval_loss, eval_top1, one column per loss term, ...), and tells the same to
    TensorBoard, where it is installed and wanted, and to `run.trackers`.

    Args:
        folder: of the training, somewhere below the run folder.
        name: of the training.
        recipe: of the run.
        say: told of a tool that fails.
    """

    def __init__(self, folder: Path, name: str, recipe: Recipe, say: Callable[[str], None]):
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        run = next((parent.name for parent in folder.parents if (parent / "recipe.json").exists()), folder.parent.name)
        told = recipe_without_paths(recipe)
        tracked = Tracked(folder, run, name, {section: told[section] for section in _TOLD})
        events = recipe.run.tensorboard and importlib.util.find_spec("tensorboard") is not None
        self._trackers = Trackers([*(["tensorboard"] if events else []), *recipe.run.trackers], tracked, say)

    def __call__(self, epoch: EpochRow) -> None:
        self._rows.append(_csv_row(epoch))
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self._rows[0]))
        writer.writeheader()
        writer.writerows(self._rows)
        write_bytes(self._folder / "summary.csv", text.getvalue().encode())
        figures = {key: value for key, value in self._rows[-1].items() if key != "epoch" and value is not None}
        self._trackers.log(epoch.epoch, figures)

    def close(self) -> None:
        self._trackers.close()


def _eval_columns(epoch: EpochRow) -> dict[str, Any]:
    """Top-1 in percent under timm's column names, so that its plot scripts work."""
    if not isinstance(epoch, Epoch):
        figures = epoch.to_json()
        return {key: figures[key] for key in figures if key.startswith("eval_") and key != "eval_loss"}
    return {
        "eval_top1": 100 * epoch.eval_top1_fraction,
        "eval_balanced_accuracy": 100 * epoch.eval_balanced_accuracy_fraction,
    }


def _csv_row(epoch: EpochRow) -> dict[str, Any]:
    return {
        "epoch": epoch.epoch,
        "train_loss": epoch.train_loss,
        "eval_loss": epoch.eval_loss,
        **_eval_columns(epoch),
        **{f"train_{name}": value for name, value in epoch.terms.items()},
        "lr": epoch.lr,
    }
