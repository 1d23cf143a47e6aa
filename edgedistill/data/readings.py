"""Read each image once, also over kills: what was learnt of it is written at once, and read back the next time."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from edgedistill.config.data import DataConfig
from edgedistill.core.files import as_run_folder_error
from edgedistill.core.prefetch import cores, made_ahead
from edgedistill.data.duplicates import signature
from edgedistill.data.framing import Framing, Kept, KeptBefore
from edgedistill.data.shards import read_bytes
from edgedistill.data.signatures import Signatures
from edgedistill.progress.reporter import Talk
from edgedistill_device.decode import decode_raw, to_eight_bits
from edgedistill_device.errors import ImageError

LINES, SIGNATURES = "readings.jsonl", "signatures.f32"
FORM = 1  # of a line
PIECE = 4  # images a thread reads at a time: handing each over alone costs a quarter of reading a small one
PIECES_AHEAD = 4  # read and not yet taken, at least: they bound the memory
_EIGHT_BITS = (-1, -1)
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Seen(NamedTuple):
    """One image that was read.

    Attributes:
        kept: pixels, or None when they are not kept; of an image that an earlier run read, their size.
        sha256: hex, of the file's bytes.
        signature: (1024,) float32, or None when look-alikes are not searched.
        size: height and width as stored, pixels.
        grey: whether the three channels are equal.
        values: smallest and largest value of a 16-bit image, -1 of one with 8 bits.
    """

    kept: Kept | KeptBefore | None
    sha256: str
    signature: np.ndarray | None
    size: tuple[int, int]
    grey: bool
    values: tuple[int, int] = _EIGHT_BITS


class ReadingLog:
    """What was learnt of the images, in the order in which they were read: a line for each in a file, and a signature.

    A line is written after the pixels and the signature of its image, so a kill leaves no half. It holds as long as the
    image has the same size and time, until the computer is started anew: what a crash of it leaves of the files is
    not known.

    Args:
        folder: made when absent; None keeps signatures alone, in a file without a name.
        data, framing: what the readings depend on beside the files; another one begins anew.
    """

    def __init__(self, folder: Path | None, data: DataConfig, framing: Framing | None):
        self.signatures, self._lines, self._is_at_end = Signatures(), None, True
        if folder is None:
            return
        folder.mkdir(exist_ok=True)
        boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
        searched = data.near_duplicate_similarity > 0
        made_from = [FORM, cv2.__version__, boot, searched, data.sixteen_bit_range, framing and asdict(framing)]
        header = json.dumps(made_from).encode() + b"\n"
        self.signatures = Signatures(folder / SIGNATURES)
        self._lines = os.fdopen(os.open(folder / LINES, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        self._is_at_end = self._lines.readline() != header
        if self._is_at_end:
            self._lines.seek(0)
            self._lines.truncate()
            self._lines.write(header)
            self._lines.flush()

    def __enter__(self) -> ReadingLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lines is not None:
            self._lines.close()

    def stored(self, paths: Iterable[Path]) -> Iterator[Seen | str]:
        """What is known of the first of the images that come next; ends at the first that has to be read."""
        for path in paths:
            seen = self._next(path)
            if seen is None:
                return
            yield seen

    def add(self, path: Path, state: tuple[int, int], seen: Seen | str) -> None:
        """
        Args:
            state: of `stat_of`, before the image was read.

        Raises:
            RunFolderError: the disk is full or refuses.
        """
        with as_run_folder_error("cannot note what is read"):
            if isinstance(seen, str):
                facts: list | str = seen
            else:
                signed = seen.signature is not None
                facts = [seen.sha256, *seen.size, seen.grey, *seen.values, _size_of(seen.kept), signed]
                if seen.signature is not None:
                    self.signatures.add(seen.signature)
            if self._lines is not None:
                self._lines.write(json.dumps([str(path), *state, facts]).encode() + b"\n")
                self._lines.flush()

    def _next(self, path: Path) -> Seen | str | None:
        if self._is_at_end or self._lines is None:
            return None
        start, line = self._lines.tell(), self._lines.readline()
        facts: Any  # JSON
        try:
            name, *state, facts = json.loads(line) if line.endswith(b"\n") else [None, None]
        except ValueError:
            name, state, facts = None, [], None
        if name == str(path) and tuple(state) == stat_of(path):
            if isinstance(facts, str):
                return facts
            sha256, height, width, grey, low, high, kept, is_signed = facts
            signed = self.signatures.take_stored() if is_signed else None
            if not is_signed or signed is not None:
                return Seen(kept and KeptBefore(*kept), sha256, signed, (height, width), grey, (low, high))
        self._is_at_end = True
        self._lines.seek(start)
        self._lines.truncate()
        return None


def stat_of(path: Path) -> tuple[int, int]:
    """Bytes and time of change, ns, of a file, or of the shard or table that an image is in; zeros where nothing is."""
    for place in chain((path,), path.parents):
        try:
            found = os.stat(place)
        except OSError:
            continue
        return (0, 0) if stat.S_ISDIR(found.st_mode) else (found.st_size, found.st_mtime_ns)
    return 0, 0


def _size_of(kept: Kept | KeptBefore | None) -> list | None:
    if not isinstance(kept, Kept):
        return kept if kept is None else list(kept)
    return [*kept.pixels.shape[:2], None if kept.frame is None else kept.frame.shape[:2]]


def read_all(
    paths: list[Path],
    data: DataConfig,
    framing: Framing | None,
    log: ReadingLog,
    talk: Talk,
    title: str = "reading images",
) -> Generator[Seen | str, None, None]:
    """Each image in order, or one line that says why it cannot be read. One is noted in the log when the next is asked
    for: whoever takes it has written its pixels by then.

    Args:
        paths: files or shard members.
        data: whether look-alikes are searched, and which values 16-bit images have.
        framing: of `Seen.kept`; None leaves the pixels out.
        log: of earlier readings.
        talk: shows how many images are read.
        title: of that.
    """

    def read(piece: list[Path]) -> list[tuple[tuple[int, int], Seen | str]]:
        return [(stat_of(path), _read(path, data, framing)) for path in piece]

    done = 0
    for seen in log.stored(paths):
        done += 1
        yield seen
    if done:
        talk.say(f"  {done} of {len(paths)} images were read before an interruption and are not read again")
    pieces = [paths[start : start + PIECE] for start in range(done, len(paths), PIECE)]
    with talk.progress(title, len(paths), done, unit="image", images_each=1) as show:
        for piece, readings in zip(pieces, made_ahead(read, pieces, max(PIECES_AHEAD, cores())), strict=True):
            for path, (state, seen) in zip(piece, readings, strict=True):
                done += 1
                show(done)
                yield seen
                log.add(path, state, seen)


def _read(path: Path, data: DataConfig, framing: Framing | None) -> Seen | str:
    try:
        content = read_bytes(path)
        raw = decode_raw(content, path)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
    image = to_eight_bits(raw, data.sixteen_bit_range)
    pixels = None if framing is None else framing.keep(image)
    values = _EIGHT_BITS if raw.dtype == np.uint8 else (int(raw.min()), int(raw.max()))
    grey = bool((image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all())
    signed = signature(image) if data.near_duplicate_similarity > 0 else None
    digest = hashlib.sha256(content).hexdigest()
    return Seen(pixels, digest, signed, image.shape[:2], grey, values)
