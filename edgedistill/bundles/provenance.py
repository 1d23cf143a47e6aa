"""The inputs of a bundle, as an in-toto Statement v1 with SLSA's provenance predicate v1.

No clock and no path of this computer: equal inputs give equal bytes.

Sources: https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from edgedistill._version import __version__
from edgedistill.config.recipe import Recipe, recipe_without_paths
from edgedistill.core.files import sha256_of, sha256_of_bytes
from edgedistill.environment.git import CHECKOUT, commit_of, is_changed
from edgedistill.environment.packages import packages

_HERE = "urn:edgedistill"  # in-toto wants URIs; these name things, and lead nowhere


def statement(subjects: dict[str, Path], recipe: Recipe, materials: dict[str, Path]) -> dict[str, Any]:
    """The statement, JSON-able.

    Args:
        subjects: name in the bundle -> file: what was made.
        recipe: what it was made by.
        materials: what it was made from: data and weights.
    """
    values = recipe_without_paths(recipe)
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [_descriptor(name, path) for name, path in sorted(subjects.items())],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": f"{_HERE}:bundle:1",
                "externalParameters": {"recipe": values},
                "resolvedDependencies": [
                    {"name": "recipe", "digest": {"sha256": sha256_of_bytes(canonical.encode())}},
                    *(_descriptor(name, path) for name, path in sorted(materials.items())),
                    _code(CHECKOUT),
                    *({"uri": f"pkg:pypi/{name}@{version}"} for name, version in packages().items()),
                ],
            },
            "runDetails": {
                "builder": {
                    "id": f"{_HERE}:workstation",
                    "version": {"edgedistill": __version__, "python": platform.python_version()},
                },
            },
        },
    }


def _descriptor(name: str, path: Path) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": sha256_of(path)}}


def _code(checkout: Path) -> dict[str, Any]:
    """The commit when this code runs from a checkout, else the package's version."""
    commit = commit_of(checkout)
    if commit is None:
        return {"uri": f"pkg:pypi/edgedistill@{__version__}"}
    return {
        "name": "edgedistill",
        "digest": {"gitCommit": commit},
        "annotations": {"changed_since": is_changed(checkout)},
    }
