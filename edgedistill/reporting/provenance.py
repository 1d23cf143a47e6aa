"""Record what a report was made from: code, recipe, artifacts, every package with its version."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import tomlkit

from edgedistill._version import __version__
from edgedistill.config.recipe import Recipe
from edgedistill.environment.git import commit_of
from edgedistill.environment.packages import dependencies, packages
from edgedistill.records.report import ReportProvenance
from edgedistill.records.stages import StageRecords


def provenance_of(stages: StageRecords, recipe: Recipe, run: str) -> ReportProvenance:
    """Collect the provenance. Files are named without folders, which would reveal this computer's paths.

    Args:
        stages: all before `report`.
        recipe: of the run.
        run: name of the run folder.
    """
    values = _name_only(recipe.model_dump(mode="json"))
    stamps = stages.stamps()
    return ReportProvenance(
        run=run,
        edgedistill=__version__,
        commit=commit_of(),
        date=max(stamp.finished for stamp in stamps.values()),
        python=platform.python_version(),
        machine=platform.machine(),
        packages=packages(),
        dependencies=dependencies()["packages"],
        recipe=values,
        recipe_sha256=hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest(),
        artifacts={name: stamp.digest for name, stamp in stamps.items()},
        bundle_manifest_sha256=stages.bundle.manifest_sha256,
        bundle_signed=stages.bundle.signed,
    )


def toml_from_recipe(values: dict[str, dict[str, Any]]) -> str:
    """Return a recipe file with every key that has a value, defaults included."""
    return tomlkit.dumps(_without_nulls(values))


def _name_only(value: Any) -> Any:
    """Strip the folders from absolute paths, also in lists and tables; return other values unchanged."""
    if isinstance(value, dict):
        return {key: _name_only(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_name_only(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _without_nulls(value: Any) -> Any:
    """Remove keys without a value, also in lists and tables: TOML has no null."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
