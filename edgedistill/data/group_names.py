"""Names that say which images belong together: from the path, the folder, or a tool's own way of naming copies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from edgedistill.config.data import DataConfig
from edgedistill.errors import DataError

# Roboflow exports several augmented copies of a photograph as PHOTOGRAPH_jpg.rf.HASH.jpg.
ROBOFLOW = r"([^/]+)\.rf\.[0-9a-fA-F]{20,64}\.[^./]+$"


def group_names(paths: Sequence[str], data: DataConfig, leading: Sequence[int]) -> list[str | None]:
    """What `data.group_pattern` or `data.group_by` call the group of each image.

    Args:
        paths: below the source, parts joined by "/".
        leading: of each path, how many of its first parts are its class and its split.

    Returns:
        A name or None for each path; None for all when the recipe asks for neither.

    Raises:
        DataError: the pattern is ambiguous.
    """
    if data.group_by == "folder":
        return [
            "/".join(PurePosixPath(path).parts[count:-1]) or None for path, count in zip(paths, leading, strict=True)
        ]
    if data.group_pattern is not None:
        return names_from_pattern(paths, data.group_pattern)
    return [None] * len(paths)


def names_from_pattern(paths: Sequence[str], pattern: str) -> list[str | None]:
    """The first group of a pattern, or all that it matches, searched for in each path.

    Earlier versions searched the file name only. A pattern that finds nothing in any path is
    therefore searched there; one that joins other images in file names than in paths is refused,
    because either reading would tear groups that the other one keeps. A "/" in the pattern says that
    paths are meant.

    Returns:
        A name for each path; None where nothing, or only an empty text, is found.

    Raises:
        DataError: not a regular expression, or ambiguous.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise DataError(f"data.group_pattern {pattern!r}: not a regular expression: {error}") from None
    in_paths = [_found(compiled, path) for path in paths]
    if "/" in pattern:
        return in_paths
    in_names = [_found(compiled, path.rpartition("/")[2]) for path in paths]
    if not any(in_paths):
        return in_names
    both = [pair for pair in zip(in_paths, in_names, strict=True) if pair[1] is not None]
    if len(set(both)) != len({path for path, _ in both}) or len(set(both)) != len({name for _, name in both}):
        (path, name), count = both[0], len(set(in_names) - {None})
        raise DataError(
            f"data.group_pattern {pattern!r} can be read in two ways: in the paths below the source it finds "
            f"{len(set(in_paths) - {None})} groups (such as {path!r}), in file names {count} (such as {name!r}); put a "
            "/ into it: after a folder's name, like '(part\\d+)/', or before a file's, like '/([^/_]+)_[^/]*$'"
        )
    return in_paths


def _found(pattern: re.Pattern, text: str) -> str | None:
    match = pattern.search(text)
    if match is None:
        return None
    return (match.group(1) if match.re.groups else match.group(0)) or None


def refuse_unnamed(groups: Iterable[str | None], data: DataConfig) -> None:
    """Groups that were asked for must be there.

    Raises:
        DataError: no image has a group.
    """
    if any(groups):
        return
    if data.group_by == "folder":
        raise DataError(
            'data.group_by = "folder": no image lies in a folder of its own below its class folder; '
            "expected CLASS/GROUP/image.jpg, or leave data.group_by out"
        )
    if data.group_pattern is not None:
        raise DataError(
            f"data.group_pattern {data.group_pattern!r} matches none of the images' paths below the "
            "source; correct it, or leave it out"
        )
    if data.group_column is not None:
        raise DataError(f"data.group_column {data.group_column!r} is empty in every row; fill it, or leave it out")


def roboflow_proposal(paths: Iterable[str]) -> tuple[str, str] | None:
    """`data.group_pattern` for Roboflow's copies of one photograph, and a line that says why.

    Returns:
        (pattern, line), or None where no photograph has several copies.
    """
    copies = Counter(match.group(1) for path in paths if (match := re.search(ROBOFLOW, path)))
    several = [count for count in copies.values() if count > 1]
    if not several:
        return None
    return ROBOFLOW, (
        f"{sum(several)} images are copies of {len(several)} photographs by Roboflow's names (.rf.HASH): the recipe "
        "keeps those of one photograph in one split by data.group_pattern"
    )
