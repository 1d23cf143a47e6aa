"""`edgedistill quickstart`: the ELPV solar cells as a recipe.

Data: Deitsch et al., "Automatic classification of defective photovoltaic module cells in
electroluminescence images", Solar Energy 185, 2019; from the package elpv-dataset, CC BY-NC-SA
4.0. Four annotators' grades were averaged to a probability of being defective; the cells graded
1/3 or 2/3 are left out, because there the label itself is in doubt.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from edgedistill.config.loading import apply_override, recipe_from_table, set_key
from edgedistill.config.recipe import Recipe
from edgedistill.core.files import write_bytes
from edgedistill.environment.requirements import QUICKSTART, install_command
from edgedistill.errors import DataError

_LABELS = {0.0: "functional", 1.0: "defective"}


def quickstart_recipe(run_dir: Path, overrides: Iterable[str] = (), seeds: int | None = None) -> Recipe:
    """Write the image list beside the run and give the recipe for it.

    Args:
        seeds: above `distill.seeds`.

    Raises:
        DataError: the package `elpv-dataset` is not installed.
    """
    text = (resources.files("edgedistill.config.recipes") / "quickstart.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    table["data"]["train"] = str(_image_list(run_dir).resolve())
    for override in overrides:
        apply_override(table, override)
    if seeds is not None:
        set_key(table, "distill.seeds", seeds, f"--seeds {seeds}")
    return recipe_from_table(table, source="quickstart.toml")


def _image_list(run_dir: Path) -> Path:
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"the quickstart's images are in a package that is not installed: {install_command(*QUICKSTART)}"
        )
    folder = Path(spec.submodule_search_locations[0]) / "data"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label"])
    for line in (folder / "labels.csv").read_text(encoding="utf-8").splitlines():
        image, probability, _ = line.split()
        if float(probability) in _LABELS:
            writer.writerow([folder / image, _LABELS[float(probability)]])
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / "elpv.csv"
    content = text.getvalue().encode()
    if not path.exists() or path.read_bytes() != content:  # its time is part of what is fresh
        write_bytes(path, content)
    return path
