"""Images that look like masks or annotations of others, by their names."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgedistill.errors import DataError
from edgedistill_device.decode import decode_image
from edgedistill_device.errors import ImageError

# Folders that hold no class, whatever is in them; and those that may, as in mask / no mask.
ANNOTATIONS = {"annotation", "annotations", "label", "labels", "ground_truth", "groundtruth", "gt", "bboxes"}
POOLS = {"unlabelled", "unlabeled"}  # of images without labels, which `data.unlabelled` takes
MASKS = {"mask", "masks", "segmentation", "segmentations", "seg", "segs"}
_WORDS = "masks?|labels?|gt|seg|segmentation|annotation|annotated|ground_?truth|binary_?mask|bbox"
_TAG = re.compile(rf"[_\-. ](?:{_WORDS})$", re.IGNORECASE)
_LEAST = 2  # pairs, below which equal names are chance


def is_left_out(below: str, patterns: Iterable[str]) -> bool:
    """Whether data.leave_out names an image, in any case.

    Args:
        below: its path below the source, parts joined by "/"; a pattern may also name the last part alone.
    """
    texts = (below.lower(), below.lower().rpartition("/")[2])
    return any(fnmatchcase(text, pattern.lower()) for pattern in patterns for text in texts)


def is_pool(name: str) -> bool:
    """Whether a folder's name means a pool of images without labels: unlabelled, Unlabeled Images."""
    return re.sub(r"[\W_]|images?$", "", name.lower()) in POOLS


def annotation_folders(images: dict[Path, list[Path]]) -> dict[Path, str]:
    """Folders among the class folders that are not classes, each with the reason.

    Args:
        images: folder -> images below it.
    """
    reasons = {}
    named = {folder: re.sub(r"[\W_]+", "_", folder.name).lower() for folder in images}
    for folder, name in named.items():
        if name in ANNOTATIONS:
            reasons[folder] = "annotations by its name"
        elif is_pool(folder.name):
            reasons[folder] = "no labels by its name: a pool, for data.unlabelled"
    if not MASKS & set(named.values()):
        return reasons
    stems = {folder: {_base(file.stem) for file in files} for folder, files in images.items()}
    holders = Counter(stem for of_folder in stems.values() for stem in of_folder)
    shared = {folder: sum(holders[stem] > 1 for stem in names) >= 0.5 * len(names) for folder, names in stems.items()}
    for folder, name in named.items():
        # Images that are numbered from 0 in every class have the same names and are no masks.
        if name in MASKS and shared[folder] and (not all(shared.values()) or _look_like_masks(images[folder])):
            reasons[folder] = "masks: their names are those of images in the classes"
    return reasons


def _look_like_masks(files: list[Path], looked_at: int = 8) -> bool:
    """Whether four colours make up nearly all of most images; photographs have more."""
    flat = 0
    files = files[:: max(1, len(files) // looked_at)][:looked_at]
    for file in files:
        try:
            colours = decode_image(file.read_bytes(), file).reshape(-1, 3) // 32
        except (OSError, ImageError):
            continue
        counts = np.bincount(colours.astype(np.int64) @ (64, 8, 1))
        flat += np.sort(counts)[-4:].sum() >= 0.97 * counts.sum()
    return 2 * flat > len(files)


class _Name(NamedTuple):
    """A path below the source, in parts."""

    below: str
    folder: str
    stem: str
    ending: str


_Pairs = list[tuple[_Name, _Name]]  # (image, mask)


def refuse_masks(source: Path, paths: list[Path]) -> None:
    """Refuse a folder in which many images come in pairs.

    Raises:
        DataError: one line that says which to leave out.
    """
    start = len(str(source).rstrip("/")) + 1
    names = []
    for path in paths:  # as text: there may be a million
        below = str(path)[start:]
        folder, _, name = below.rpartition("/")
        stem, ending = os.path.splitext(name)
        names.append(_Name(below, folder, stem, ending.lower()))
    for pattern, pairs in chain(_by_folder(names), _by_tag(names), _by_ending(names)):
        image, mask = pairs[0]
        raise DataError(
            f"{source}: {len(pairs)} of {len(paths)} images have the name of another one ({mask.below} beside "
            f'{image.below}); if they are masks, leave them out with data.leave_out = ["{pattern}"] (new: '
            f"--leave-out '{pattern}'); if they are images of their own, data.same_names = \"keep\" (new: "
            "--same-names keep)"
        )


def _by_ending(names: list[_Name]) -> Iterator[tuple[str, _Pairs]]:
    """a.jpg and a.png; the endings of masks are those that lose nothing."""
    totals = Counter(name.ending for name in names)
    if len(totals) < 2:
        return
    by_stem: dict[tuple[str, str], dict[str, _Name]] = {}
    for name in names:
        by_stem.setdefault((name.folder, name.stem), {})[name.ending] = name
    pairs: dict[tuple[str, str], _Pairs] = {}
    for endings in by_stem.values():
        first, *others = sorted(endings, key=lambda ending: _likely_mask(ending, totals))
        for other in others:
            pairs.setdefault((first, other), []).append((endings[first], endings[other]))
    for (image, mask), twins in pairs.items():
        if len(twins) >= _LEAST and 2 * len(twins) >= min(totals[image], totals[mask]):
            yield f"*{mask}", twins


def _likely_mask(ending: str, totals: Counter[str]) -> tuple[bool, int, str]:
    return ending not in {".jpg", ".jpeg", ".jpe", ".jfif", ".webp"}, -totals[ending], ending


def _by_tag(names: list[_Name]) -> Iterator[tuple[str, _Pairs]]:
    """a.png and a_mask.png, in any ending."""
    tagged = [(name, match) for name in names if (match := _tag_of(name.stem)) is not None]
    if not tagged:
        return
    plain = {(name.folder, name.stem): name for name in names}
    totals = Counter(name.stem[len(base) :] for name, base in tagged)
    tags: dict[str, _Pairs] = {}
    for name, base in tagged:
        if (name.folder, base) in plain:
            tags.setdefault(name.stem[len(base) :], []).append((plain[name.folder, base], name))
    for tag, twins in tags.items():
        if len(twins) >= _LEAST and 2 * len(twins) >= totals[tag]:
            yield f"*{tag}.*", twins


def _by_folder(names: list[_Name]) -> Iterator[tuple[str, _Pairs]]:
    """cat/images/a.png and cat/masks/a.png."""
    inner = {folder: _inner_masks(folder) for folder in {name.folder for name in names}}
    if not any(inner.values()):
        return
    folders: dict[str, list[_Name]] = {}
    others: dict[tuple[str, str], _Name] = {}
    for name in names:
        place = inner[name.folder]
        if place is not None:
            folders.setdefault(place, []).append(name)
        else:
            others[name.folder.partition("/")[0], _base(name.stem)] = name
    for folder, masks in folders.items():
        keyed = [((mask.folder.partition("/")[0], _base(mask.stem)), mask) for mask in masks]
        twins = [(others[key], mask) for key, mask in keyed if key in others]
        if len(twins) >= _LEAST and 2 * len(twins) >= len(masks):
            yield f"*/{folder}/*", twins


def _inner_masks(folder: str) -> str | None:
    """The first folder inside a class that is called like masks."""
    return next(
        (part for part in folder.split("/")[1:] if re.sub(r"[\W_]+", "_", part).lower() in ANNOTATIONS | MASKS), None
    )


def _tag_of(stem: str) -> str | None:
    """The stem without a mask's ending: `a_mask` -> `a`; None without one."""
    tag = _TAG.search(stem[-20:])
    return stem[: len(stem) - len(tag[0])] or None if tag else None


def _base(stem: str) -> str:
    return (_tag_of(stem) or stem).lower()
