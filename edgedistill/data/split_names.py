"""Folders, files and values that are called like splits: train, Validation, seg_test, test_set."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from edgedistill.data.files import data_files, folders_in, has_data, has_images, has_own_images
from edgedistill.data.masks import is_pool
from edgedistill.errors import DataError

WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "development"),
    "test": ("test", "testing", "eval", "evaluation", "tst"),
}
_SPLIT_OF = {word: split for split, words in WORDS.items() for word in words}
_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_]+")


class Named(NamedTuple):
    """A name with a split's word in it.

    Attributes:
        split: `train`, `val` or `test`.
        rest: the other words, without numbers: equal in `seg_train` and `seg_test`.
    """

    split: str
    rest: tuple[str, ...]


def split_of_value(value: str) -> str | None:
    """`train`, `val` or `test` from a value of a split column, in any case; None for others."""
    return _SPLIT_OF.get(value.strip().lower())


def split_of_name(name: str) -> Named | None:
    """The split that a folder's or file's name names, when it names exactly one."""
    if name.strip().lower() in _SPLIT_OF:  # in any case, tEST too
        return Named(_SPLIT_OF[name.strip().lower()], ())
    tokens = [token.lower() for token in _TOKEN.findall(name)]
    named = [token for token in tokens if token in _SPLIT_OF]
    if len(named) != 1:
        return None
    rest = tuple(token for token in tokens if token != named[0] and not token.isdecimal())
    return Named(_SPLIT_OF[named[0]], rest)


def named_splits(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Split -> paths, of those that differ in the split's word alone; `train` is among them.

    Returns:
        The largest such family; empty when no name says train.
    """
    families: dict[tuple[str, ...], dict[str, list[Path]]] = {}
    for path in paths:
        named = split_of_name(path.name if path.is_dir() else path.stem)
        if named is not None:
            families.setdefault(named.rest, {}).setdefault(named.split, []).append(path)
    whole = [family for family in families.values() if "train" in family]
    return max(whole, key=len, default={})


def split_folders(root: Path) -> dict[str, Path]:
    """Split -> folder, when the folders in a root are splits and not classes; else empty.

    A class may be called `train` too: then its images lie in it directly, beside other classes.

    Raises:
        DataError: two folders are called like one split, or splits without one to train on.
    """
    holding = [folder for folder in folders_in(root) if has_data(folder) and not is_pool(folder.name)]
    named = named_splits(holding)
    for split, paths in named.items():
        if len(paths) > 1:
            raise DataError(
                f"{root}: {' and '.join(path.name for path in paths)} are both called like the "
                f"split {split!r}; keep one"
            )
    folders = {split: paths[0] for split, paths in named.items()}
    if not folders:
        others = [split_of_name(folder.name) for folder in holding]
        if len(others) > 1 and all(named is not None and not named.rest for named in others):
            raise DataError(
                f"{root}: holds the splits {', '.join(folder.name for folder in holding)}, but none called train"
            )
        return {}
    only_splits = len(folders) == len(holding)
    divided = [folder for folder in folders.values() if _is_divided(folder)]
    if len(folders) == 1:
        return folders if only_splits and len(_holding(folders["train"])) > 1 else {}
    return folders if only_splits or len(divided) > 1 else {}


def _is_divided(folder: Path) -> bool:
    """Whether the images are in folders below or under a table, not all in the folder itself."""
    return bool(data_files(folder)) or (bool(_holding(folder)) and not has_own_images(folder))


def _holding(folder: Path) -> list[Path]:
    return [below for below in folders_in(folder) if has_images(below)]
