"""Solar cells and how likely they are defective: a table of figures, and a student that answers with one.

The package elpv-dataset has the probability that a cell is defective, the mean of four annotators' grades: 0, 1/3, 2/3
or 1.

python solar_cells_as_figures.py FOLDER
"""

import csv
import importlib.util
import sys
from importlib import resources
from pathlib import Path

import edgedistill


def table_of_cells(folder: Path, cells: int | None = None) -> Path:
    """The paths and the probabilities of the first so many cells; of all when None."""
    source = Path(importlib.util.find_spec("elpv_dataset").submodule_search_locations[0]) / "data"
    rows = [line.split() for line in (source / "labels.csv").read_text(encoding="utf-8").splitlines()]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "cells.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "defect_probability"])
        writer.writerows([source / image, probability] for image, probability, _ in rows[:cells])
    return folder / "cells.csv"


def main(folder: str, cells: int | None = None, **sections) -> dict:
    """`sections` go on top of the recipe, like `distill={"epochs": 20}`."""
    table = table_of_cells(Path(folder), cells)
    recipe = resources.files("edgedistill.config.recipes") / "solar-cell-probability.toml"
    data = {"train": str(table), **sections.pop("data", {})}
    report = edgedistill.run(str(recipe), run_dir=Path(folder) / "run", data=data, **sections)
    for name in ("teacher", "baseline", "student", "constant"):
        for figure in report.values[name]["figures"]:
            if figure["name"] == "mae" and figure["output"]:
                print(f"{name:<8} mean absolute error of {figure['output']} {figure['value']:.3f} {figure['unit']}")
    for answer in edgedistill.predict(Path(folder) / "run", _some(table)):
        print(answer["path"], answer["values"])
    return report.values


def _some(table: Path) -> list[str]:
    with open(table, encoding="utf-8") as file:
        return [row["path"] for row in csv.DictReader(file)][:3]


if __name__ == "__main__":
    main(*sys.argv[1:])
