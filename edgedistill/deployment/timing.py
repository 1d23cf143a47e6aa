"""The request of `edgedistill bench`: files or bundles, on a board or on this computer."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edgedistill.bundles.unsigned import write_throwaway
from edgedistill.config.target import load_target
from edgedistill.deployment.bench import bench, compare
from edgedistill.deployment.board import Board, Machine
from edgedistill.deployment.here import Here
from edgedistill.deployment.local import LOCAL
from edgedistill.deployment.request import bundle_in, require_runs
from edgedistill.deployment.ssh import Connection
from edgedistill.deployment.streams import Say
from edgedistill.errors import BundleError
from edgedistill.records.benchmark import CompareAnswer
from edgedistill.records.deployment import TimedBundle
from edgedistill_device.engine.runners import DEFAULT


def timed(
    networks: Sequence[Path],
    host: str | None,
    backend: str | None,
    precision: str,
    runs: int,
    python: str | None,
    ssh_config: Path | None,
    say: Say,
) -> TimedBundle | CompareAnswer:
    """
    Args:
        networks: one, or two that are timed in turns: MODEL.onnx, a run folder, a bundle folder.
        host: of a board; None is this computer.
        backend: of BACKENDS; when None the first on a board, and here that of this computer as a target.
        precision: asked for a bare ONNX file.
        python: interpreter there; python3 on a board and this one here when None.

    Returns:
        Of one network its figures, of two their ratio.

    Raises:
        UsageError: fewer or more runs than a board takes.
        BundleError: none of these, or a network that cannot be timed.
        SshError, BoardError: no connection, or it refused.
    """
    require_runs(runs)
    backend = backend or (DEFAULT if host else load_target(LOCAL).backend)
    with ExitStack() as stack:
        bundles = [stack.enter_context(_bundle_of(path, precision)) for path in networks]
        machine: Machine = stack.enter_context(Connection(host, ssh_config)) if host else stack.enter_context(Here())
        board = Board(machine, "edgedistill", python or ("python3" if host else sys.executable), say)
        if len(bundles) == 2:
            return compare(board, bundles[0], bundles[1], backend, runs)
        return bench(board, bundles[0], backend, runs)


@contextmanager
def _bundle_of(path: Path, precision: str) -> Iterator[Path]:
    """A bundle; for a bare file a temporary one."""
    bundle = bundle_in(path)
    if bundle is not None:
        yield bundle
        return
    if path.suffix != ".onnx" or not path.is_file():
        raise BundleError(f"{path}: expected a MODEL.onnx, a run folder with a bundle, or a bundle folder")
    with tempfile.TemporaryDirectory(prefix="edgedistill-") as place:
        write_throwaway(path, Path(place) / "bundle", precision)
        yield Path(place) / "bundle"
