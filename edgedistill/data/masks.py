"""Images that look like masks or annotations of others, by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from edgedistill.errors import DataError
from jetson.errors import ImageError
from jetson.preprocess import decode_image

# Folders that hold no class, whatever is in them; and those that may, as in mask / no mask.
ANNOTATIONS = {"annotation", "annotations", "label", "labels", "ground_truth", "groundtruth", "gt", "bboxes"}
MASKS = {"mask", "masks", "segmentation", "segmentations", "seg", "segs"}
_WORDS = "masks?|labels?|gt|seg|segmentation|annotation|annotated|ground_?truth|binary_?mask|bbox"
_TAGGED = re.compile(rf"(.+?)[_\-. ]({_WORDS})", re.IGNORECASE)
_LEAST = 2  # pairs, below which equal names are chance


def is_left_out(path: Path, source: Path, patterns: Iterable[str]) -> bool:
    """Whether data.leave_out names an image: its path below the source, or its name, in any case."""
    below = path.relative_to(source) if path.is_relative_to(source) else Path(path.name)
    return any(
        fnmatchcase(text.lower(), pattern.lower()) for pattern in patterns for text in (below.as_posix(), path.name)
    )


def annotation_folders(images: dict[Path, list[Path]]) -> dict[Path, str]:
    """Class folders that are none, and why.

    Args:
        images: folder -> images below it.
    """
    found = {}
    stems = {folder: [_base(file) for file in files] for folder, files in images.items()}
    for folder in images:
        name = re.sub(r"[\W_]+", "_", folder.name).lower()
        if name in ANNOTATIONS:
            found[folder] = "annotations by its name"
        elif name in MASKS and _share_of_names(folder, stems) >= 0.5:
            # Images that are numbered from 0 in every class have the same names and are no masks.
            numbered = all(_share_of_names(other, stems) >= 0.5 for other in images)
            if not numbered or _look_like_masks(images[folder]):
                found[folder] = "masks: their names are those of images in the classes"
    return found


def _share_of_names(folder: Path, stems: dict[Path, list[str]]) -> float:
    """How many of a folder's names are in other folders too, of all of its names."""
    others = {stem for other, names in stems.items() if other != folder for stem in names}
    return sum(stem in others for stem in stems[folder]) / max(len(stems[folder]), 1)


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


def refuse_masks(source: Path, paths: list[Path]) -> None:
    """Refuse a folder in which many images come in pairs.

    Raises:
        DataError: one line that says which to leave out.
    """
    for pattern, pairs in _suspects(source, paths):
        image, mask = pairs[0]
        raise DataError(
            f"{source}: {len(pairs)} of {len(paths)} images have the name of another one ({mask.relative_to(source)} "
            f"beside {image.relative_to(source)}); if they are masks, leave them out with data.leave_out = "
            f"[\"{pattern}\"] (new: --leave-out '{pattern}'); if they are images of their own, data.same_names = "
            '"keep" (new: --same-names keep)'
        )


def _suspects(source: Path, paths: list[Path]) -> Iterable[tuple[str, list[tuple[Path, Path]]]]:
    """Pattern of the suspected masks, and (image, mask) for each."""
    yield from _by_folder(source, paths)
    yield from _by_tag(paths)
    yield from _by_ending(paths)


def _by_ending(paths: list[Path]) -> Iterable[tuple[str, list[tuple[Path, Path]]]]:
    """a.jpg and a.png; the endings of masks are those that lose nothing."""
    totals = Counter(path.suffix.lower() for path in paths)
    by_stem: dict[Path, dict[str, Path]] = {}
    for path in paths:
        by_stem.setdefault(path.with_suffix(""), {})[path.suffix.lower()] = path
    pairs: dict[tuple[str, str], list[tuple[Path, Path]]] = {}
    for endings in by_stem.values():
        first, *others = sorted(endings, key=lambda ending: _likely_mask(ending, totals))
        for other in others:
            pairs.setdefault((first, other), []).append((endings[first], endings[other]))
    for (image, mask), twins in pairs.items():
        if len(twins) >= _LEAST and 2 * len(twins) >= min(totals[image], totals[mask]):
            yield f"*{mask}", twins


def _likely_mask(ending: str, totals: Counter[str]) -> tuple[bool, int, str]:
    return ending not in {".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".heic"}, -totals[ending], ending


def _by_tag(paths: list[Path]) -> Iterable[tuple[str, list[tuple[Path, Path]]]]:
    """a.png and a_mask.png, in any ending."""
    plain = {(path.parent, path.stem): path for path in paths}
    tags: dict[str, list[tuple[Path, Path]]] = {}
    totals: Counter[str] = Counter()
    for path in paths:
        tagged = _TAGGED.fullmatch(path.stem)
        if tagged is not None:
            tag = path.stem[len(tagged[1]) :]
            totals[tag] += 1
            if (path.parent, tagged[1]) in plain:
                tags.setdefault(tag, []).append((plain[path.parent, tagged[1]], path))
    for tag, twins in tags.items():
        if len(twins) >= _LEAST and 2 * len(twins) >= totals[tag]:
            yield f"*{tag}.*", twins


def _by_folder(source: Path, paths: list[Path]) -> Iterable[tuple[str, list[tuple[Path, Path]]]]:
    """cat/images/a.png and cat/masks/a.png."""
    folders: dict[str, list[Path]] = {}
    others: dict[tuple[str, str], Path] = {}
    for path in paths:
        class_name, *below = path.relative_to(source).parts
        inner = [part for part in below[:-1] if re.sub(r"[\W_]+", "_", part).lower() in ANNOTATIONS | MASKS]
        if inner:
            folders.setdefault(inner[0], []).append(path)
        else:
            others[class_name, _base(path)] = path
    for folder, masks in folders.items():
        keys: Callable[[Path], tuple[str, str]] = lambda path: (path.relative_to(source).parts[0], _base(path))  # noqa: E731
        twins = [(others[keys(mask)], mask) for mask in masks if keys(mask) in others]
        if len(twins) >= _LEAST and 2 * len(twins) >= len(masks):
            yield f"*/{folder}/*", twins


def _base(path: Path) -> str:
    """The stem without a mask's ending: `a_mask.png` -> `a`."""
    tagged = _TAGGED.fullmatch(path.stem)
    return (tagged[1] if tagged else path.stem).lower()
