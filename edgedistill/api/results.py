"""What finished runs have found: one of them as a page, several side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Unpack

from edgedistill.api.options import run_dir_of
from edgedistill.api.runs import stages_of_file
from edgedistill.api.types import Artifact, Options, PathLike


def report(what: PathLike | None = None, /, **options: Unpack[Options]) -> Artifact:
    """The results of a finished run as one page and one JSON: `edgedistill report`. It starts no other work.

    Args:
        what: a recipe, whose stage `report` is made again where it is not up to date; or a run folder, whose report is
            read as it is.
        options: as of `stage`; none of a run folder.

    Returns:
        Values: report.json; the page is `folder / "report.html"`.

    Raises:
        RunFolderError: a stage that the report needs is not up to date, or the run folder has no report.
        UsageError: options with a run folder.
    """
    from edgedistill.errors import RunFolderError, UsageError
    from edgedistill.reporting.comparison import load_report

    if what is None or not Path(what).is_dir():
        folder = run_dir_of(what, options.get("run_dir"))
        if not folder.exists():
            raise RunFolderError(f"{folder}: no such run; `edgedistill run` makes it, and its report at the end")
        return stages_of_file("report", what, options, alone=True)
    if any(value for key, value in options.items() if key not in ("quiet", "events")):
        raise UsageError(f"{what} is a run folder, whose report is shown as it is; other options go with a RECIPE.toml")
    load_report(Path(what))
    path = Path(what) / "report" / "report.json"
    return Artifact("report", path.parent, json.loads(path.read_text(encoding="utf-8")))


def compare(*runs: PathLike, out: PathLike | None = None) -> dict[str, Any]:
    """Several finished runs side by side: `edgedistill compare`.

    Args:
        runs: run folders, or report.json files.
        out: where the page goes; no page when None.

    Returns:
        `runs` and `hosts`, a row each, `comparable` (one metric, the same test images), `front` (names of the
        runs that no other one beats in multiply-adds and accuracy alike; empty where they are not comparable),
        `trials` of their sweeps, and `caveats`.

    Raises:
        RunFolderError: no report there, or one of another version.
        UsageError: no run.
    """
    from edgedistill.errors import UsageError
    from edgedistill.reporting.comparison import comparison_of

    if not runs:
        raise UsageError("expected at least one run to compare")
    comparison = comparison_of([Path(run) for run in runs])
    if out is not None:
        from edgedistill.core.files import write_bytes
        from edgedistill.reporting.compare_page import html_from_comparison

        write_bytes(Path(out), html_from_comparison(comparison).encode())
    return comparison
