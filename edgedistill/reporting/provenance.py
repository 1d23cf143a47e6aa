"""What a report was made from: code, recipe, artifacts, every package with its version."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

from edgedistill._version import __version__
from edgedistill.config.recipe import Recipe
from edgedistill.environment.git import commit_of
from edgedistill.environment.packages import dependencies, packages
from edgedistill.records.report import ReportProvenance
from edgedistill.records.stages import StageRecords


def provenance_of(stages: StageRecords, recipe: Recipe) -> ReportProvenance:
    """Names of files without their folders: a path would tell of this computer, and of no other.

    Args:
        stages: all before `report`.
        recipe: of the run.
    """
    values = _name_only(recipe.model_dump(mode="json"))
    stamps = stages.stamps()
    return ReportProvenance(
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
    """A recipe file with every key that has a value, defaults included."""
    lines = []
    for section, keys in values.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {_toml(value)}" for key, value in keys.items() if value is not None]
        lines.append("")
    return "\n".join(lines)


def _name_only(value: Any) -> Any:
    """A path without its folders, in lists and tables too; anything else as it is."""
    if isinstance(value, dict):
        return {key: _name_only(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_name_only(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _toml(value: Any) -> str:
    """JSON and TOML agree on numbers, booleans and, but for DEL, on strings."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items() if item is not None)
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
