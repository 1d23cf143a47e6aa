"""`edgedistill quickstart`: the ELPV solar cells as a recipe.

Data: Deitsch et al., "Automatic classification of defective photovoltaic module cells in
electroluminescence images", Solar Energy 185, 2019; from the package elpv-dataset, CC BY-NC-SA
4.0. Grades of annotators were averaged to a probability of being defective. LABELLED cells keep their label, as
if somebody had looked at no more than these; all others are the pool without labels, those among them that were
graded 1/3 or 2/3 and whose label is in doubt.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from edgedistill.config import Recipe, apply_override, recipe_from_table
from edgedistill.errors import DataError
from edgedistill.run_folder import write_bytes

LABELLED = 700  # cells, of training, validation and test together
_LABELS = {0.0: "functional", 1.0: "defective"}


def quickstart_recipe(run_dir: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Write the image lists beside the run and give the recipe for them.

    Raises:
        DataError: the package `elpv-dataset` is not installed.
    """
    text = (resources.files("edgedistill.recipes") / "quickstart.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    labelled, pool = image_lists(_images())
    table["data"]["train"] = str(_csv(run_dir / "elpv.csv", ("path", "label"), labelled))
    table["data"]["unlabelled"] = str(_csv(run_dir / "elpv_pool.csv", ("path",), pool))
    for override in overrides:
        apply_override(table, override)
    return recipe_from_table(table, source="quickstart.toml")


def image_lists(graded: Iterable[tuple[Path, float]]) -> tuple[list[tuple[str, str]], list[tuple[str]]]:
    """Rows of the labelled images, and of the pool; which are which is drawn by a hash of the file's name.

    Args:
        graded: images and their probability of being defective.
    """
    drawn = sorted(graded, key=lambda row: hashlib.sha256(row[0].name.encode()).digest())
    sure = [(str(path), _LABELS[grade]) for path, grade in drawn if grade in _LABELS]
    labelled = {path for path, _ in sure[:LABELLED]}
    return sure[:LABELLED], [(str(path),) for path, _ in drawn if str(path) not in labelled]


def _images() -> list[tuple[Path, float]]:
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None:
        raise DataError(
            "the quickstart's images are in the package elpv-dataset: "
            "pip install 'edgedistill[quickstart]'"
        )
    folder = Path(spec.submodule_search_locations[0]) / "data"
    rows = (line.split() for line in (folder / "labels.csv").read_text(encoding="utf-8").splitlines())
    return [(folder / path, float(grade)) for path, grade, _ in rows]


def _csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Path:
    """Written unless it is there already: its time is part of what is fresh."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    content = text.getvalue().encode()
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    return path.resolve()
