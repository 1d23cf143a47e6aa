"""Run the benchmark's verbs on this computer, without ssh."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgedistill.deployment.ssh import Sent, Upload
from edgedistill.deployment.streams import Answer, Say, ask


class Here:
    """`with Here() as machine`: a home folder of its own, removed at the end."""

    name = "this computer"

    def __enter__(self) -> Here:
        self._home = Path(tempfile.mkdtemp(prefix="edgedistill-here-"))
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._home, ignore_errors=True)

    def run(self, words: Sequence[str], say: Say | None = None, timeout_s: float | None = None) -> Answer:
        return ask(words, say, timeout_s=timeout_s, cwd=self._home)

    def put(self, folder: Path, uploads: Sequence[Upload], there: str, sent: Sent | None = None) -> None:
        for upload in uploads:
            to = self._home / there / upload.name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / upload.name, to)
