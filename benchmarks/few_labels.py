"""A few labelled images and a pool of the rest, as CSV files for `data.train` and `data.unlabelled`.

python benchmarks/few_labels.py FOLDER PER_CLASS OUT    writes OUT/few.csv and OUT/pool.csv
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="one folder a class")
    parser.add_argument("per_class", type=int, help="images that keep their label")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    rng, few, pool = random.Random(0), [], []
    for of_class in sorted(path for path in args.folder.iterdir() if path.is_dir()):
        files = sorted(of_class.iterdir())
        rng.shuffle(files)
        few += [(file.resolve(), of_class.name) for file in files[: args.per_class]]
        pool += [(file.resolve(),) for file in files[args.per_class :]]
    for name, header, rows in (("few.csv", ("path", "label"), few), ("pool.csv", ("path",), pool)):
        with open(args.out / name, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)
    print(f"{len(few)} labelled, {len(pool)} without labels")


if __name__ == "__main__":
    main()
