"""Pictures of several things, from a folder for each class: four tiles a picture, labelled with the classes in it.

One class is the background and no label, so that some pictures have none. Tiles of a split come from images of that
split alone, so that no image is in the training and in the test pictures.

python tiles_with_labels.py CLASS_FOLDERS BACKGROUND FOLDER
"""

import csv
import sys
from importlib import resources
from pathlib import Path

import cv2
import numpy as np

import edgedistill

SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
BACKGROUND_SHARE = 0.55  # of the tiles


def table_of_tiles(classes: Path, background: str, folder: Path, pictures: int, tile_px: int) -> Path:
    """Draw the pictures, and write a table of their labels, separated by `;`, and splits."""
    rng = np.random.default_rng(0)
    images = {one.name: sorted(one.iterdir()) for one in sorted(classes.iterdir()) if one.is_dir()}
    others = [name for name in images if name != background]
    parted = {name: np.array_split(rng.permutation(files), _ends(len(files))) for name, files in images.items()}
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    with open(folder / "pictures.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "labels", "split"])
        for place, (split, share) in enumerate(SHARES.items()):
            for number in range(round(pictures * share)):
                shown = [background if rng.random() < BACKGROUND_SHARE else str(rng.choice(others)) for _ in range(4)]
                tiles = [_tile(rng.choice(parted[name][place]), tile_px, rng) for name in shown]
                picture = np.block([[tiles[0], tiles[1]], [tiles[2], tiles[3]]])
                path = f"pictures/{split}{number:04d}.png"
                cv2.imwrite(str(folder / path), picture)
                writer.writerow([path, ";".join(sorted(set(shown) - {background})), split])
    return folder / "pictures.csv"


def _ends(count: int) -> list[int]:
    """Positions at which a list of so many is parted into SHARES."""
    return [round(count * SHARES["train"]), round(count * (SHARES["train"] + SHARES["val"]))]


def _tile(path: Path, tile_px: int, rng: np.random.Generator) -> np.ndarray:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(grey, (tile_px, tile_px), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(np.rot90(small, rng.integers(4)))


def main(classes: str, background: str, folder: str, pictures: int = 1400, tile_px: int = 48, **sections) -> dict:
    """`sections` go on top of the recipe, like `distill={"epochs": 20}`."""
    table = table_of_tiles(Path(classes), background, Path(folder), pictures, tile_px)
    recipe = resources.files("edgedistill.config.recipes") / "steel-tiles.toml"
    data = {"train": str(table), **sections.pop("data", {})}
    report = edgedistill.run(str(recipe), run_dir=Path(folder) / "run", data=data, **sections)
    for name in ("teacher", "baseline", "student", "constant"):
        for figure in report.values[name]["figures"]:
            if figure["name"] == "map":
                low, high = figure["interval"]
                print(f"{name:<8} mean average precision {figure['value']:.3f} ({low:.3f} to {high:.3f})")
    for answer in edgedistill.predict(Path(folder) / "run", _some(table)):
        print(answer["path"], answer["labels"])
    return report.values


def _some(table: Path) -> list[Path]:
    with open(table, encoding="utf-8") as file:
        return [table.parent / row["path"] for row in csv.DictReader(file)][-3:]


if __name__ == "__main__":
    main(*sys.argv[1:])
