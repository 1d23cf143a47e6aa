"""The run's list of images: `images.csv` and `classes.txt`, one writer, one reader."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedistill.config.task import CLASSIFICATION, NO_LABEL, Task
from edgedistill.core.files import as_run_folder_error, whole_file, write_bytes
from edgedistill.data.targets import kinds_of, text_of_figures
from edgedistill.errors import DataError

COLUMNS = ("path", "label", "split", "sha256", "group")
SPLITS = ("train", "val", "test")  # of labelled images; `unlabelled` is the pool
MEASURED = ("val", "test")  # splits that figures come from: an image that lies there twice counts once


def first_of_copies(sha256: list[str], rows: np.ndarray) -> np.ndarray:
    """(n,) of (n,) positions: False for a file whose bytes stand there before."""
    seen: set[str] = set()
    is_first = np.zeros(len(rows), dtype=bool)
    for position, row in enumerate(rows):
        is_first[position] = sha256[row] not in seen
        seen.add(sha256[row])
    return is_first


@dataclass(frozen=True)
class ImageTable:
    """N images in one order, the order of the decoded pixels.

    Attributes:
        classes: names; the position is the logit's. Of a regression those of its values.
        paths: N absolute paths, of files or shard members: for `shards.read_bytes`.
        labels: (N,) int64; -1 in the pool. Else as of `Targets.labels`.
        splits: (N,) of `train`, `val`, `test`, `unlabelled`.
        sha256: N hex hashes of the files.
        groups: (N,) int64; equal numbers are kept in one split.
        figures: (N, K) float64 of a regression in their units, of several labels an image 1 or 0 each; NaN in the pool;
            None where an image has one class.
    """

    classes: list[str]
    paths: list[Path]
    labels: np.ndarray
    splits: np.ndarray
    sha256: list[str]
    groups: np.ndarray
    figures: np.ndarray | None = None

    def rows(self, split: str) -> np.ndarray:
        """Positions of a split's images; an exact copy in one that is measured on is left out."""
        positions = np.flatnonzero(self.splits == split)
        return positions if split not in MEASURED else positions[first_of_copies(self.sha256, positions)]


def write_table(folder: Path, table: ImageTable) -> None:
    path = folder / "images.csv"
    with as_run_folder_error(f"cannot write {path}"), whole_file(path) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        writer = csv.writer(text, lineterminator="\n")
        quoting = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(COLUMNS)
        for i, place in enumerate(table.paths):
            name = _label_text(table, i)
            # Python 3.11 does not quote "\r", which ends a row when it is read.
            wanted = quoting if "\r" in str(place) else writer
            wanted.writerow([place, name, table.splits[i], table.sha256[i], table.groups[i]])
        text.detach()  # flushes, and leaves the file open
    write_bytes(folder / "classes.txt", "".join(f"{name}\n" for name in table.classes).encode())


def _label_text(table: ImageTable, row: int) -> str:
    if table.labels[row] < 0:
        return ""
    if table.figures is not None:
        return text_of_figures(table.figures[row])
    return table.classes[table.labels[row]]


def read_table(folder: Path, task: Task = CLASSIFICATION) -> ImageTable:
    """What `write_table` wrote; the task says what a label becomes.

    Raises:
        DataError: missing or of another shape.
    """
    try:
        classes = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
        with open(folder / "images.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
            header, *rows = list(csv.reader(file))
        if tuple(header) != COLUMNS:
            raise ValueError(f"expected the columns {COLUMNS}, got {header}")
        labels, figures = _targets(task, [row[1] for row in rows], classes)
        return ImageTable(
            classes,
            [Path(row[0]) for row in rows],
            labels,
            np.array([row[2] for row in rows]),
            [row[3] for row in rows],
            np.array([int(row[4]) for row in rows], dtype=np.int64),
            figures,
        )
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{folder}: damaged image list ({error}); run with --force data") from None


def _targets(task: Task, texts: list[str], classes: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels and figures of an `ImageTable`."""
    if not task.vectors:
        return np.array(task.targets(texts, classes), dtype=np.int64), None
    labelled = np.array([bool(text) for text in texts])
    figures = np.array(task.targets(texts, classes), dtype=np.float64).reshape(len(texts), len(classes))
    labels = np.full(len(texts), NO_LABEL)
    labels[labelled] = kinds_of(figures[labelled], task)
    return labels, figures
