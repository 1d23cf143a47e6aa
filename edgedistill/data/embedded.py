"""Images whose bytes are in a parquet file, as Hugging Face stores them.

Such an image has a path like every other: `FILE.parquet/@ROW/COLUMN/NAME`. As with shards, the path
alone is enough to read it. A row group is the least that parquet can read, so the last ones are kept.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path

_PLACE = re.compile(r"(?<=\.parquet)/@(\d+)/([^/]+)/", re.IGNORECASE)
_GROUPS_KEPT = 2

_lock = threading.Lock()
_groups: OrderedDict[tuple, list[bytes | None]] = OrderedDict()


def path_of_row(source: Path, row: int, column: str, name: str | None) -> Path:
    """The path of an image in a parquet file; `name` is the stored file's, for people."""
    shown = os.path.basename(name or "") or f"{row:06d}"
    return Path(f"{os.path.abspath(source)}/@{row}/{column.replace('/', '%2F')}/{shown}")


def embedded_bytes(path: Path) -> bytes | None:
    """The bytes of an image in a parquet file; None when the path is of another kind.

    Raises:
        OSError: the file is gone or changed, or the row holds no bytes.
    """
    text = str(path)
    place = _PLACE.search(text)
    if place is None or os.path.isdir(text[: place.start()]):
        return None
    file, row, column = text[: place.start()], int(place[1]), place[2].replace("%2F", "/")
    try:
        with _lock:
            content = _row(file, row, column)
    except OSError:
        raise
    except Exception as error:  # pyarrow's own family: not parquet any more
        raise OSError(errno.EIO, str(error).split("\n")[0], file) from None
    if content is None:
        raise OSError(errno.EIO, "no bytes in this row", text)
    return content


def _row(file: str, row: int, column: str) -> bytes | None:
    import pyarrow.parquet as parquet

    stat = os.stat(file)
    for (*key, first, last), rows in _groups.items():
        if key == [file, stat.st_mtime_ns, column] and first <= row < last:
            return rows[row - first]
    with parquet.ParquetFile(file) as opened:
        sizes = [opened.metadata.row_group(i).num_rows for i in range(opened.metadata.num_row_groups)]
        ends = list(accumulate(sizes))
        group = bisect_right(ends, row)
        if group == len(ends):
            raise OSError(errno.EIO, "shorter than when it was listed", file)
        stored = opened.read_row_group(group, columns=[column]).column(0).to_pylist()
    rows = [value.get("bytes") if isinstance(value, dict) else value for value in stored]
    first = ends[group] - sizes[group]
    _groups[(file, stat.st_mtime_ns, column, first, ends[group])] = rows
    while len(_groups) > _GROUPS_KEPT:
        _groups.popitem(last=False)
    return rows[row - first]
