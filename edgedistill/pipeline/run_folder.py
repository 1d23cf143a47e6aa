"""The run folder: one artifact folder per stage, redone only when what it depends on changed.

    DIR/.lock                  held by the process that works here
    DIR/recipe.json            the recipe of the last run, as validated
    DIR/STAGE/STAGE.json       written last: the artifact is whole when it exists
    DIR/STAGE.partial/         work under way; kept by a kill, resumed by the next run

`STAGE.json` holds the stage's values and, under "artifact", what it was made from: stage
version, recipe values, digests of the artifacts it read, and its own files with their SHA-256.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from edgedistill.core.files import as_run_folder_error, encoded, locked, remove, sha256_of, write_json
from edgedistill.errors import RunFolderError
from edgedistill.records.base import ArtifactRecord, ArtifactStamp, FileStamp
from edgedistill.records.result import Result

Artifact = TypeVar("Artifact", bound=ArtifactRecord)

_INPUTS = "inputs.json"  # in a partial folder: what the work under way depends on
UNFINISHED = "unfinished"  # a folder in it, of which no artifact keeps anything


class RunFolder:
    """Artifacts of one run. Use as a context manager: entering takes the lock.

    Args:
        path: made when absent.
        lock: False for the further ranks of a training, whose first rank holds it.
    """

    def __init__(self, path: Path, lock: bool = True):
        self.path, self._locks, self._held = path, lock, contextlib.ExitStack()
        self._hashes: dict[tuple[Path, int, int, int, int], str] = {}  # a file as it stood -> SHA-256

    def __enter__(self) -> RunFolder:
        if not self._locks:
            return self
        lock = self.path / ".lock"
        with as_run_folder_error(f"cannot use the run folder {self.path}"):
            self.path.mkdir(parents=True, exist_ok=True)
        ours = self._held.enter_context(locked(lock, make=True, wait=False))
        if not ours:
            self._held.close()
            owner = lock.read_text(encoding="ascii", errors="replace").strip() or "another process"
            raise RunFolderError(f"{self.path} is in use by {owner}; wait for it, or choose another --run-dir")
        with contextlib.suppress(OSError):  # a full disk has room for the lock, not for the name
            lock.write_text(f"process {os.getpid()}", encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        if not self._locks:
            return
        with contextlib.suppress(OSError):
            os.truncate(self.path / ".lock", 0)
        self._held.close()

    def folder(self, stage: str) -> Path:
        return self.path / stage

    def artifact(self, stage: str) -> dict[str, Any]:
        """The stage's JSON.

        Raises:
            RunFolderError: the stage has not run here.
        """
        path = self.folder(stage) / f"{stage}.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunFolderError(f"{path} is missing; run `edgedistill {stage} RECIPE` first") from None
        except ValueError as error:
            raise RunFolderError(f"{path} is not JSON ({error}); remove {path.parent} and run again") from None

    def read(self, kind: type[Artifact]) -> Artifact:
        """The stage's JSON as its record.

        Raises:
            RunFolderError: the stage has not run here, or its JSON is of another release or damaged.
        """
        path = self.folder(kind.stage) / f"{kind.stage}.json"
        return kind.from_json(self.artifact(kind.stage), str(path))

    def digest(self, stage: str) -> str:
        """SHA-256 over the stage's values and files: equal content, equal digest."""
        return self.stamp(stage).digest

    def stamp(self, stage: str) -> ArtifactStamp:
        """What the stage's artifact was made from.

        Raises:
            RunFolderError: as `read`.
        """
        path = self.folder(stage) / f"{stage}.json"
        return ArtifactStamp.from_json(self.artifact(stage).get("artifact"), f"{path}: artifact")

    def file_digest(self, name: str) -> str | None:
        """First digits of the SHA-256 of a file that no stage made; None where there is none."""
        path = self.path / name
        return sha256_of(path)[:16] if path.is_file() else None

    def why_stale(self, stage: str, inputs: dict[str, Any]) -> str | None:
        """None when the stored artifact was made from `inputs` and is intact, else the reason."""
        self._finish_swap(stage)
        path = self.folder(stage) / f"{stage}.json"
        if not path.exists():
            return "not done yet"
        try:
            stamp = self.stamp(stage)
        except RunFolderError as error:
            return f"its JSON is damaged ({error})"
        changed = first_difference(stamp.inputs, inputs)
        if changed:
            return changed
        for name, stored in stamp.files.items():
            if not self._is_same_file(self.folder(stage) / name, stored):
                return f"{stage}/{name} is missing or was changed"
        return None

    def forget_begun(self, stage: str, inputs: dict[str, Any]) -> None:
        """Remove what a killed `--force` left beside an artifact that is up to date."""
        if self.is_begun(stage, inputs):
            shutil.rmtree(self.path / f"{stage}.partial", ignore_errors=True)

    def is_begun(self, stage: str, inputs: dict[str, Any]) -> bool:
        """Whether an interrupted run with the same inputs left work that `begin` resumes."""
        return _json_or_none(self.path / f"{stage}.partial" / _INPUTS) == inputs

    def begin(self, stage: str, inputs: dict[str, Any]) -> Path:
        """The folder to work in: what an interrupted run with the same inputs left, or a new one."""
        partial = self.path / f"{stage}.partial"
        inputs_path = partial / _INPUTS
        self._finish_swap(stage)  # else a kill now would pass a half for the whole that lies there
        with as_run_folder_error(f"cannot write to {partial}"):
            if partial.exists() and not self.is_begun(stage, inputs):
                shutil.rmtree(partial)
            partial.mkdir(exist_ok=True)
            write_json(inputs_path, inputs)
        return partial

    def finish(self, stage: str, inputs: dict[str, Any], result: Result, seconds: float) -> None:
        """Hash the files, write the JSON last, and put the folder into its place."""
        partial = self.path / f"{stage}.partial"
        files = {name: _file_stamp(partial / name) for name in sorted(result.files)}
        values = result.values
        content = {"values": values, "files": {name: file.sha256 for name, file in files.items()}}
        stamp = ArtifactStamp(
            inputs=inputs,
            files=files,
            digest=hashlib.sha256(encoded(_canonical(content))).hexdigest(),
            seconds=round(seconds, 2),
            cost=result.cost,
            finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        with as_run_folder_error(f"cannot finish {partial}"):
            write_json(partial / f"{stage}.json", {**values, "artifact": stamp.to_json()})
        self._finish_swap(stage)

    def _is_same_file(self, path: Path, stored: FileStamp) -> bool:
        """By size and time first; by content when only the time differs (a copied folder).

        A run asks twice, for its plan and for each stage: what did not change in between is read once.
        """
        try:
            stat = path.stat()
        except OSError:
            return False
        if stat.st_size != stored.bytes:
            return False
        if stat.st_mtime_ns == stored.mtime_ns:
            return True
        # The time of the last change of the inode cannot be set back, as a file's own time can.
        state = (path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if state not in self._hashes:
            self._hashes[state] = sha256_of(path)
        return self._hashes[state] == stored.sha256

    def _finish_swap(self, stage: str) -> None:
        """Put a whole partial folder into its place; also after a kill in the middle of it."""
        partial, done = self.path / f"{stage}.partial", self.folder(stage)
        old = self.path / f"{stage}.old"
        if (partial / f"{stage}.json").exists():
            with as_run_folder_error(f"cannot finish {partial}"):
                remove(partial / _INPUTS)
                shutil.rmtree(partial / UNFINISHED, ignore_errors=True)
                if done.exists():
                    shutil.rmtree(old, ignore_errors=True)
                    os.replace(done, old)
                try:
                    os.replace(partial, done)
                except OSError:  # the disk: the previous one serves on
                    if old.exists():
                        os.replace(old, done)
                    raise
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def stopwatch() -> Iterator[list[float]]:
    """`with stopwatch() as seconds: ...`; seconds[0] is the wall time afterwards."""
    start = time.monotonic()
    seconds: list[float] = []
    try:
        yield seconds
    finally:
        seconds.append(time.monotonic() - start)


def _file_stamp(path: Path) -> FileStamp:
    stat = path.stat()
    return FileStamp(sha256=sha256_of(path), bytes=stat.st_size, mtime_ns=stat.st_mtime_ns)


def _json_or_none(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def first_difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str | None:
    """`distill.temperature was 4.0, is 2.0`, or None when both say the same."""
    for key in sorted(old.keys() | new.keys()):
        before, now = old.get(key), new.get(key)
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            inner = first_difference(before, now, f"{prefix}{key}: ")
            if inner:
                return inner
            continue  # keys that are null in one and absent in the other
        if len(_canonical(before)) + len(_canonical(now)) > 120:
            return f"{prefix}{key} changed"
        return f"{prefix}{key} was {_canonical(before)}, is {_canonical(now)}"
    return None
