"""WebDataset shards: images inside .tar files, indexed once, then read by their place.

A shard is a tar whose members of one sample stand next to each other under one key:
`000012.jpg` with `000012.cls` (a class number or name as text) or `000012.json` (`label` or
`cls`). Nothing is unpacked. Source: the WebDataset format, github.com/webdataset/webdataset.

An image in a shard has a path like every other: `SHARD.tar/@OFFSET+SIZE/MEMBER`. A file system
has nothing below a regular file, so no real file can have that path while the shard exists, and
the path alone is enough to read the image: no index has to be kept.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from edgedistill.data.embedded import embedded_bytes
from edgedistill.errors import DataError

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
LABEL_BYTES = 1 << 20  # a label that is larger is none
_PLACE = re.compile(r"(?<=\.tar)/@(\d+)\+(\d+)/")
_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{},]*(?:,[^{},]*)+))\}")


class Member(NamedTuple):
    """A regular file in a tar: its bytes are `size` from `offset` on."""

    name: str
    offset: int
    size: int


class Sample(NamedTuple):
    """An image in a shard.

    Attributes:
        path: `SHARD.tar/@OFFSET+SIZE/MEMBER`, absolute; `read_bytes` takes it.
        label: class name; None when it was not asked for.
    """

    path: Path
    label: str | None


def member_of(path: Path) -> str | None:
    """The name of an image inside its shard; None for a file."""
    text = str(path)
    for place in _PLACE.finditer(text):
        if os.path.isfile(text[: place.start()]):  # a folder may be called x.tar
            return text[place.end() :]
    return None


def read_bytes(path: Path) -> bytes:
    """The bytes of an image: a file, in a shard, or in a parquet file. Safe to call from many threads.

    Raises:
        OSError: gone, unreadable, or a shard that became shorter.
    """
    text = str(path)
    for place in _PLACE.finditer(text):
        shard = text[: place.start()]
        if not os.path.isdir(shard):  # a folder may be called x.tar
            with open(shard, "rb") as file:
                return _pread(file.fileno(), int(place[1]), int(place[2]), shard)
    embedded = embedded_bytes(path)
    if embedded is not None:
        return embedded
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device may never end
        raise OSError(errno.EINVAL, "not a regular file", text)
    return path.read_bytes()


def shards_of(source: Path) -> list[Path]:
    """The .tar files that a source names: itself, those in a folder, or by {0000..0127} and {a,b}.

    Returns:
        Absolute paths in order; none when the source is of another kind.

    Raises:
        DataError: a compressed tar, or one of a pattern that is not there.
    """
    if source.is_dir():
        files = sorted(entry for entry in source.iterdir() if entry.is_file())
        shards = [file for file in files if file.suffix == ".tar"]
        if not shards:
            for file in files:
                _refuse_compressed(file)
    elif source.exists():
        _refuse_compressed(source)
        shards = [source] if source.suffix == ".tar" else []
    else:
        shards = []
        for name in expand_braces(str(source)) if _BRACES.search(str(source)) else ():
            shard = Path(name)
            _refuse_compressed(shard)
            if shard.suffix != ".tar" or not shard.is_file():
                raise DataError(f"{source}: expected .tar files, but there is no {shard}")
            shards.append(shard)
    return [Path(os.path.abspath(shard)) for shard in shards]


def expand_braces(pattern: str) -> Iterator[str]:
    """`a-{08..10}.tar` and `{train,more}.tar` as bash expands them; braces are not nested."""
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    first, last, listed = braces.groups()
    if listed is None:
        step = 1 if int(first) <= int(last) else -1
        padded = any(len(end) > 1 and end[0] == "0" for end in (first, last))
        width = max(len(first), len(last)) if padded else 0
        options: Iterable[str] = (f"{n:0{width}d}" for n in range(int(first), int(last) + step, step))
    else:
        options = listed.split(",")
    for option in options:
        for rest in expand_braces(pattern[braces.end() :]):
            yield pattern[: braces.start()] + option + rest


def class_lists_beside(shard: Path) -> list[Path]:
    """Files that may name the class numbers of a shard, the first that exists does."""
    return [shard.parent / "classes.txt", shard.parent / "dataset.json"]


def samples_of(shard: Path, suffixes: frozenset[str], labelled: bool) -> Iterator[Sample]:
    """The images of one shard, in its order.

    Args:
        shard: absolute path of a .tar.
        suffixes: of images, with the dot.
        labelled: whether each must have a label; they are not read otherwise.

    Raises:
        DataError: truncated, unsafe, a label without image, an image without or with a bad label.
    """
    names = _class_names(shard) if labelled else []
    with open(shard, "rb") as file:
        for key, group in groupby(_members(shard, file), key=lambda member: _split(member.name)[0]):
            fields: dict[str, Member] = {}
            for member in group:
                ending = _split(member.name)[1]
                if ending in fields:
                    raise DataError(f"{shard}: two members are named {member.name}; keep one")
                fields[ending] = member
            images = [member for ending, member in fields.items() if f".{ending}" in suffixes]
            if len(images) > 1:
                raise DataError(
                    f"{shard}: {images[0].name} and {images[1].name} are one sample; give each image a key of its own"
                )
            label = _label(shard, file.fileno(), fields, names) if labelled else None
            if not images:
                if label is not None:
                    raise DataError(f"{shard}: the label of {key} has no image next to it")
                _refuse_dots_in_keys(shard, fields.values(), suffixes)
                continue
            if labelled and label is None:
                raise DataError(
                    f"{shard}: {images[0].name} has no label next to it; expected "
                    f"{key}.cls, or {key}.json with `label` or `cls`"
                )
            name, offset, size = images[0]
            yield Sample(Path(f"{shard}/@{offset}+{size}/{name}"), label)


def _refuse_dots_in_keys(shard: Path, members: Iterable[Member], suffixes: frozenset[str]) -> None:
    """Of a sample without an image: its images may be called by what follows a dot in the key."""
    for member in members:
        if os.path.splitext(member.name)[1].lower() in suffixes:
            key, ending = _split(member.name)
            raise DataError(
                f"{shard}: {member.name} is no image here: in WebDataset the key ends at the first dot ({key}), and no "
                f"image has the ending .{ending}; write the shard again without dots in its keys"
            )


def _split(name: str) -> tuple[str, str]:
    """WebDataset's rule: the key ends at the first dot of the file name."""
    folder, slash, file = name.rpartition("/")
    key, _, ending = file.partition(".")
    return folder + slash + key, ending.lower()


def _members(shard: Path, file: Any) -> Iterator[Member]:
    """Regular files with a name, headers only. A tar without its end mark is truncated."""
    total = os.fstat(file.fileno()).st_size
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (entry := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # typeshed lacks it; the tar keeps every header otherwise
                if entry.isdir():
                    continue
                if not entry.isreg() or entry.sparse is not None:
                    raise DataError(
                        f"{shard}: {entry.name!r} is a link, a device or sparse; shards may hold regular files only"
                    )
                name = PurePosixPath(entry.name)
                if name.is_absolute() or ".." in name.parts:
                    raise DataError(
                        f"{shard}: the member name {entry.name!r} leads out of the "
                        "shard; names must be relative and without `..`"
                    )
                if not 0 <= entry.size <= total - entry.offset_data:
                    raise DataError(_truncated(shard))
                if not name.name.startswith((".", "__")):
                    yield Member(str(name), entry.offset_data, entry.size)
            end = os.pread(file.fileno(), tarfile.BLOCKSIZE, tar.offset)
    except (tarfile.TarError, ValueError, OverflowError, EOFError, OSError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{_truncated(shard)} ({reason})") from None
    if end != bytes(tarfile.BLOCKSIZE):
        raise DataError(_truncated(shard))


def _truncated(shard: Path) -> str:
    return f"{shard}: not a whole, uncompressed tar file; copy it again"


def _label(shard: Path, descriptor: int, fields: dict[str, Member], names: list[str]) -> str | None:
    """The class name that `.cls` or else `.json` gives; None without either."""
    member = fields.get("cls", fields.get("json"))
    if member is None:
        return None
    wrong = f"{shard}: {member.name}: expected a class number or name"
    if member.size > LABEL_BYTES:
        raise DataError(f"{wrong}, got {member.size} bytes")
    content = _pread(descriptor, member.offset, member.size, shard)
    try:
        value: Any = content.decode("utf-8").strip()
        if "cls" not in fields:
            stored = json.loads(value)
            value = stored.get("label", stored.get("cls")) if isinstance(stored, dict) else None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{wrong}: {error}") from None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, str) and value:
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DataError(f"{wrong}, got {value!r}")
    if not names:
        return f"{value:04d}"
    if value >= len(names):
        raise DataError(f"{wrong} of the {len(names)} that are named beside it, got {value}")
    return names[value]


def _class_names(shard: Path) -> list[str]:
    """From classes.txt (a name a line) or dataset.json (`classes`: a list); none without them."""
    for path in class_lists_beside(shard):
        if not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
            names = text.splitlines() if path.suffix == ".txt" else json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: not readable: {error}") from None
        if isinstance(names, dict):
            names = names.get("classes")
        if names is None:
            continue  # a dataset.json may speak of other things only
        if not isinstance(names, list) or not all(isinstance(n, str) and n.strip() for n in names):
            raise DataError(
                f"{path}: expected the names of the classes in the order of their "
                "numbers, a line each, or in JSON a list under `classes`"
            )
        if len(set(names)) != len(names):
            raise DataError(f"{path}: two classes have one name")
        return [name.strip() for name in names]
    return []


def _refuse_compressed(path: Path) -> None:
    if path.name.endswith(COMPRESSED):
        raise DataError(
            f"{path}: images cannot be read at random from a compressed tar; "
            "decompress it to .tar first, like gunzip does"
        )


def _pread(descriptor: int, offset: int, size: int, shard: Any) -> bytes:
    content = os.pread(descriptor, size, offset)
    if len(content) != size:
        raise OSError(errno.EIO, "shorter than when it was listed", str(shard))
    return content
