"""The work of stage `data`: list, decode, hash, group, split, keep."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from edgedistill.config.data import DataConfig
from edgedistill.config.task import CLASSIFICATION, NO_LABEL, Task
from edgedistill.core.text import plural, printable
from edgedistill.data.framing import Framing, framing_of
from edgedistill.data.grouping import Grouping, group
from edgedistill.data.label_budget import refuse_lost_kinds, within_budget
from edgedistill.data.label_sets import labels_of_text, names_of, rows_of
from edgedistill.data.labels import in_order, refuse_unfit
from edgedistill.data.pixels import PixelWriter
from edgedistill.data.pool import POOL, Pool, scan_pool
from edgedistill.data.readings import ReadingLog
from edgedistill.data.scan import Scan, scan
from edgedistill.data.splits import least_images, split
from edgedistill.data.summary import (
    line_from_pool,
    line_of_uneven_classes,
    lines_from_summary,
    summary_of,
    summary_of_pool,
)
from edgedistill.data.table import SPLITS, ImageTable, write_table
from edgedistill.data.targets import (
    Targets,
    refuse_labels_of_all,
    targets_of_figures,
    targets_of_labels,
    value_summaries,
)
from edgedistill.errors import DataError
from edgedistill.progress.reporter import Talk
from edgedistill.records.data import DataSummary


def prepare(
    data: DataConfig,
    resize_px: int,
    out: Path,
    say: Callable[[str], None],
    training_px: int | None = None,
    task: Task = CLASSIFICATION,
    talk: Talk | None = None,
    log_folder: Path | None = None,
) -> DataSummary:
    """Make `images.csv`, `classes.txt` and, for data.store = "decoded", the pixels in `out`.

    The labelled images come first and do not depend on the pool: with one and without one they
    have the same rows, groups and splits.

    Args:
        data: the recipe's [data].
        resize_px: short side of the board's resize.
        out: an existing folder.
        say: told what was found, a line at a time.
        training_px: short side that training crops are cut from; resize_px when None.
        task: says what a label becomes.
        talk: shows how many images are read.
        log_folder: what an interrupted run learnt of the images, for `out` with its pixels; None reads all anew.

    Returns:
        Classes, counts, duplicates, groups, leaks, unreadable files; with a pool also what became of it.

    Raises:
        DataError: faults that would make the result meaningless.
    """
    framing, talk = framing_of(data, resize_px, training_px), talk or Talk(quiet=True)
    pixels = nullcontext() if data.store == "files" else PixelWriter(out)
    with ReadingLog(log_folder, data, framing) as log, pixels as writer:
        keep = writer.add if writer else None
        scanned = scan(data, framing, keep, talk, log)
        read_pool = partial(scan_pool, data, framing, scanned, keep=keep, talk=talk, log=log)
        return _prepare(data, framing, scanned, out, say, read_pool, task)


def _prepare(
    data: DataConfig,
    framing: Framing,
    scanned: Scan,
    out: Path,
    say: Callable[[str], None],
    read_pool: Callable[[np.ndarray, float], Pool],
    task: Task,
) -> DataSummary:
    """
    Args:
        read_pool: of the splits of the labelled images and the correlation from which two images count as one.
    """
    _refuse_unreadable(scanned.unreadable, data)
    grouped = group(scanned, data)
    targets, whole = splits_of(scanned, grouped, data, task)
    _refuse_conflicts(scanned, grouped.exact, task)
    splits = whole
    if data.train_labels:
        splits = within_budget(whole, targets.labels, scanned.sha256, data.train_labels, data.split_seed)
        refuse_lost_kinds(targets, splits)
    summary = summary_of(scanned, grouped, targets, splits, framing)
    if targets.held is not None and targets.figures is not None:
        refuse_labels_of_all(targets.figures[splits == "train"], targets.names)
        summary = DataSummary(**summary.given(), labels_per_image=float(targets.figures.sum(axis=1).mean()))
    elif targets.figures is not None:
        quantities = value_summaries(targets.figures, splits, data)
        summary = DataSummary(**summary.given(), quantities=quantities)
    lines, pool = [*scanned.notes, *lines_from_summary(summary)], Pool()
    uneven = line_of_uneven_classes(_class_counts(targets, whole), fractions_of(data, scanned.given))
    lines += [uneven] if uneven and targets.figures is None else []  # ranges of a value may be uneven
    if data.unlabelled is not None:
        pool = read_pool(splits, grouped.similarity)
        _refuse_unreadable(pool.unreadable, data)
    if data.has_pool:
        summary = DataSummary(**summary.given(), **summary_of_pool(pool, int((splits == POOL).sum())))
        lines += [*pool.notes, line_from_pool(summary)]
    write_table(out, _table(scanned, grouped, targets, splits, pool))
    for line in lines:
        say("  " + printable(line))
    return summary


def _class_counts(targets: Targets, splits: np.ndarray) -> dict[str, dict[str, int]]:
    """split -> class -> images, copies among them."""
    return {name: targets.counts(np.flatnonzero(splits == name)) for name in SPLITS}


def foretell(scanned: Scan, grouped: Grouping, data: DataConfig) -> tuple[list[str], str | None]:
    """What stage `data` would refuse, a line each, and the line on uneven classes where it splits; by the same
    functions, one after another."""
    refused, uneven = [], None
    try:
        _refuse_conflicts(scanned, grouped.exact)
    except DataError as error:
        refused.append(str(error))
    try:
        counts = _class_counts(*splits_of(scanned, grouped, data))
        uneven = line_of_uneven_classes(counts, fractions_of(data, scanned.given))
    except DataError as error:
        refused.append(str(error))
    return refused, uneven


def _table(
    scanned: Scan,
    grouped: Grouping,
    targets: Targets,
    splits: np.ndarray,
    pool: Pool,
) -> ImageTable:
    """The labelled images, then the pool, each a group of its own; who is of the pool has label -1, figures NaN."""
    count, total = len(scanned.items), len(scanned.items) + len(pool.paths)
    figures = targets.figures
    if figures is not None:
        figures = np.where((splits == POOL)[:, None], np.nan, figures)
        figures = np.concatenate([figures, np.full((total - count, figures.shape[1]), np.nan)])
    return ImageTable(
        targets.names,
        [*(item.path for item in scanned.items), *pool.paths],
        np.concatenate([np.where(splits == POOL, NO_LABEL, targets.labels), np.full(total - count, NO_LABEL)]),
        np.array([*splits, *[POOL] * (total - count)]),
        [*scanned.sha256, *pool.sha256],
        np.concatenate([grouped.groups, np.arange(count, total)]),
        figures,
    )


def _refuse_unreadable(unreadable: list[str], data: DataConfig) -> None:
    if unreadable and not data.skip_unreadable:
        raise DataError(
            f"{plural(len(unreadable), 'image')} cannot be used, first: {unreadable[0]}; mend or "
            "remove them, or set data.skip_unreadable = true"
        )


def _classes(scanned: Scan) -> list[str]:
    """Sorted names; every given split must have the same ones."""
    by_split: dict[str, set[str]] = {"train": set()}
    for item, given in zip(scanned.items, scanned.given, strict=True):
        by_split.setdefault(given, set()).add(item.label)
    classes = in_order(by_split["train"])
    for given, names in by_split.items():
        if names != by_split["train"]:
            missing, extra = in_order(by_split["train"] - names), in_order(names - by_split["train"])
            raise DataError(
                f"data.{given} and data.train have different classes: {given} lacks {_shown(missing)} and "
                f"alone has {_shown(extra)}"
            )
    if len(classes) < 2:
        raise DataError(f"expected at least two classes, got {classes}")
    refuse_unfit(classes)
    return classes


def _shown(names: list[str]) -> str:
    return f"{names[:10]}" + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def fractions_of(data: DataConfig, given: list[str]) -> dict[str, float]:
    """Split -> share, of those that are split off `train`: that no source and no column gives."""
    return {name: getattr(data, f"{name}_fraction") for name in ("val", "test") if name not in given}


def splits_of(
    scanned: Scan, grouped: Grouping, data: DataConfig, task: Task = CLASSIFICATION
) -> tuple[Targets, np.ndarray]:
    """The targets, and of each image the split.

    Raises:
        DataError: classes that differ between given splits, or that cannot be split.
    """
    targets = _targets(scanned, data, task)
    splits, fractions = np.array(scanned.given, dtype=object), fractions_of(data, scanned.given)
    if fractions:
        own = np.flatnonzero(splits == "train")
        keys = [scanned.sha256[i] for i in own]
        labels, classes = targets.parted_by(grouped.groups[own], least_images(fractions))
        splits[own] = split(
            labels[own], grouped.groups[own], keys, fractions, data.split_seed, classes, grouped.named[own]
        )
    return targets, splits.astype(str)


def _targets(scanned: Scan, data: DataConfig, task: Task) -> Targets:
    texts = [item.label for item in scanned.items]
    if task.multiple:
        names = names_of(texts, scanned.given)
        return targets_of_labels(rows_of(texts, names), names)
    if task.vectors:
        names = [value.column for value in data.value_columns]
        return targets_of_figures(task.targets(texts, names), names)
    classes = _classes(scanned)
    return Targets(classes, np.array(task.targets(texts, classes), dtype=np.int64), classes)


def _refuse_conflicts(scanned: Scan, exact: list[tuple[int, int]], task: Task = CLASSIFICATION) -> None:
    mend = 'keep one of them (where an image may have several labels: data.task = "multilabel")'
    if task.multiple:
        mend = "keep one of them, or make one a link to the other"
    for i, j in exact:
        if scanned.items[i].label != scanned.items[j].label:
            (first, its), (second, others) = (
                (item.path, ", ".join(labels_of_text(item.label)) or "none")
                for item in (scanned.items[i], scanned.items[j])
            )
            raise DataError(f"the same image has two labels: {first} ({its}) and {second} ({others}); {mend}")
