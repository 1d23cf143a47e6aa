"""Does distillation pay? `edgedistill new` without hand tuning on four image sets, over seeds, one training at a time.

python benchmarks/aims.py OUT --neu neu [--seeds 3] [--only elpv/all neu/few10 ...] [--set section.key=value ...]

| part | what is compared, by the student's accuracy on test images |
|---|---|
| all | all labels: with the teacher against without |
| few10, few20 | so many labels a class and the other training images as the pool, against 5 times the labels, no pool |
| pool10, pool20 | the same student against its baseline: these labels alone, as many steps |
| timm | all labels: against timm's LogitDistillationTask, same teacher, steps, optimizer and kind of views |

Every finished training is a line of OUT/results.jsonl; the same command goes on where it was stopped, and prints the
table of what is there. The sets: elpv from its package, digits and fashion from packaged_sets.py, neu from a folder.
Another seed is another training and, with few labels, another draw of them. `--px`, `--student` and `--set` are told
in each line: they make a run affordable, and lines with other settings are not compared. CPU seconds are those of one
process: of a training that was stopped and resumed, those since.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import packaged_sets
from timm_distillation import timm_student
from torch import nn

import edgedistill
from edgedistill.config.loading import load_recipe
from edgedistill.config.quickstart import quickstart_recipe
from edgedistill.config.recipe import Recipe
from edgedistill.config.task import CLASSIFICATION, Metric
from edgedistill.data.prepared import PreparedImages, open_prepared
from edgedistill.evaluation.intervals import over_seeds
from edgedistill.evaluation.tasks import evaluator_of
from edgedistill.models.weights import load_weights
from edgedistill.pipeline.runner import run_stages
from edgedistill.progress.reporter import Talk
from edgedistill.records.data import DataRecord
from edgedistill.records.layout import WEIGHTS
from edgedistill.training.batches import validation_images
from edgedistill.training.fit import device_of, logits_of, spec_for

SETS = ("neu", "elpv", "digits", "fashion")
PARTS = {  # part -> what is trained for it: the one that is compared with, then the student
    "all": ("baseline", "student"),
    "few10": ("five times 10", "10 and pool"),
    "few20": ("five times 20", "20 and pool"),
    "pool10": ("10 alone", "10 and pool"),
    "pool20": ("20 alone", "20 and pool"),
    "timm": ("timm", "student"),
}
TIMES = 5


class Aims:
    """The trainings of one place and one setting.

    Attributes:
        results: (set, what, seed) -> its line.
    """

    def __init__(self, args: argparse.Namespace):
        self._out, self._neu = args.out.resolve(), args.neu
        self._overrides = [
            "teacher.weights=package:efficientnet_lite0",
            f"student.model={args.student}",
            "student.weights=scratch",
            f"data.image_px={args.px}",
            "run.device=cpu",
            "run.threads=1",
            *args.overrides,
        ]
        self._file = self._out / "results.jsonl"
        self._settings = f"{args.student}, {args.px} px" + "".join(f", {each}" for each in args.overrides)
        self.results: dict[tuple[str, str, int], dict[str, Any]] = {}
        if self._file.exists():
            for line in map(json.loads, self._file.read_text(encoding="utf-8").splitlines()):
                if line["settings"] == self._settings:
                    self.results[line["set"], line["what"], line["seed"]] = line

    def train(self, name: str, what: str, seed: int) -> None:
        """One training and its line, unless it is there."""
        if (name, what, seed) in self.results:
            return
        ways: dict[str, Callable[[], dict[str, Any]]] = {
            "baseline": lambda: self._ours(self._all(name), name, "all", seed, "baseline"),
            "student": lambda: self._ours(self._all(name), name, "all", seed, "distill"),
            "timm": lambda: self._timm(name, seed),
        }
        way = ways.get(what) or (lambda: self._few(name, what, seed))
        line = {"set": name, "what": what, "seed": seed, "settings": self._settings, **way()}
        with open(self._file, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.results[name, what, seed] = line
        print(
            f"{name}, {what}, seed {seed}: {100 * line['accuracy']:.1f} %, {line['cpu_seconds']:.0f} CPU s", flush=True
        )

    def _ours(self, recipe_file: Path, name: str, folder: str, seed: int, stage: str) -> dict[str, Any]:
        """Accuracies of a stage's network and of the teacher, and CPU seconds of the stage and the teacher's cache."""
        recipe = load_recipe(recipe_file, [*self._overrides, f"distill.seed={seed}"])
        run, quiet = self._out / name / folder, Talk(quiet=True)
        run_stages(recipe, run, quiet, only="teacher" if stage == "distill" else "data")
        with cpu_seconds() as spent:
            run_stages(recipe, run, quiet, only=stage)
        line: dict[str, Any] = {"cpu_seconds": spent()}
        for key, weights in {"accuracy": run / stage / WEIGHTS, "teacher": run / "teacher" / WEIGHTS}.items():
            if key == "accuracy" or stage == "distill":
                model, about = load_weights(weights)
                line[key] = accuracy(model, about["model"], recipe, prepared(run, recipe), self._metric(name))
        line["test_images"] = len(prepared(run, recipe).labels("test"))
        return line

    def _timm(self, name: str, seed: int) -> dict[str, Any]:
        recipe = load_recipe(self._all(name), [*self._overrides, f"distill.seed={seed}"])
        run = self._out / name / "all"
        run_stages(recipe, run, Talk(quiet=True), only="teacher")
        images = prepared(run, recipe)
        linked = _linked(images, self._out / name / "links")
        with cpu_seconds() as spent:
            student = timm_student(recipe, images, linked, run / "teacher" / WEIGHTS)
        figures = accuracy(student, recipe.student.model, recipe, images, self._metric(name))
        return {"accuracy": figures, "cpu_seconds": spent(), "test_images": len(images.labels("test"))}

    def _few(self, name: str, what: str, seed: int) -> dict[str, Any]:
        """`what` as in PARTS: "10 and pool", "10 alone" or "five times 10"."""
        pooled = not what.startswith("five times")
        labels = int(what.split()[0]) if pooled else TIMES * int(what.split()[-1])
        folder = self._out / name / f"{'pool' if pooled else 'labels'}-{labels}-{seed}"
        recipe_file = folder / "recipe.toml"
        if not recipe_file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            images = prepared(self._out / name / "all", self._data(name))
            few, rest = drawn(images, labels, seed)
            _write_csv(folder / "few.csv", images, few, labelled=True)
            _write_csv(folder / "pool.csv", images, rest, labelled=False)
            _write_csv(folder / "test.csv", images, images.rows("test"), labelled=True)
            pool = folder / "pool.csv" if pooled else None
            edgedistill.new(folder / "few.csv", recipe_file, test=folder / "test.csv", unlabelled=pool)
        stage = "distill" if what.endswith("and pool") else "baseline"
        line = self._ours(recipe_file, name, f"{folder.name}/run", seed, stage)
        return {**line, "labels_a_class": labels}

    def _data(self, name: str) -> Recipe:
        """The recipe of all labels, with its stage `data` made."""
        recipe = load_recipe(self._all(name), self._overrides)
        run_stages(recipe, self._out / name / "all", Talk(quiet=True), only="data")
        return recipe

    def _metric(self, name: str) -> Metric:
        """What `new` chooses by all labels of a set, whose test images every part is measured on."""
        return load_recipe(self._all(name), self._overrides).data.metric

    def _all(self, name: str) -> Path:
        """The recipe that `edgedistill new` writes for all labels."""
        folder = self._out / name
        recipe_file = folder / "all.toml"
        if recipe_file.exists():
            return recipe_file
        folder.mkdir(parents=True, exist_ok=True)
        test: Path | None = folder / "images" / "test"
        if name == "elpv":
            train, test = Path(quickstart_recipe(folder / "images").data.train), None
        elif name == "neu":
            if self._neu is None:
                raise SystemExit("neu: expected --neu DIR with DIR/train/CLASS and DIR/val/CLASS")
            train, test = self._neu.resolve() / "train", self._neu.resolve() / "val"
        else:
            packaged_sets.write_folders(*packaged_sets.SETS[name](), folder / "images")
            train = folder / "images" / "train"
        edgedistill.new(train, recipe_file, test=test)
        return recipe_file


def prepared(run: Path, recipe: Recipe) -> PreparedImages:
    record = DataRecord.from_json(json.loads((run / "data" / "data.json").read_text(encoding="utf-8")), "data.json")
    return open_prepared(run / "data", recipe, record.resize_px)


def accuracy(model: nn.Module, name: str, recipe: Recipe, images: PreparedImages, metric: Metric) -> float:
    """On the test images, 0..1."""
    frames = validation_images(images.pixels, images.rows("test"))
    logits = logits_of(model, spec_for(name, recipe), frames, device_of(recipe.run))
    measured = evaluator_of(CLASSIFICATION).measures(logits, images.labels("test"), images.classes)
    return measured.metric(metric)


def drawn(images: PreparedImages, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of so many training images of each class, and those of the others; more of them hold the fewer ones."""
    rng, rows, labels = np.random.default_rng(seed), images.rows("train"), images.labels("train")
    shuffled = [rng.permutation(rows[labels == number]) for number in range(len(images.classes))]
    return np.concatenate([of_class[:per_class] for of_class in shuffled]), np.concatenate(
        [of_class[per_class:] for of_class in shuffled]
    )


def _write_csv(path: Path, images: PreparedImages, rows: np.ndarray, labelled: bool) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"] if labelled else ["path"])
        for row in rows:
            label = [images.classes[images.table.labels[row]]] if labelled else []
            writer.writerow([images.table.paths[row], *label])


def _linked(images: PreparedImages, folder: Path) -> Path:
    """The training images as links, a folder a class, which timm's loader reads."""
    for row, label in zip(images.rows("train"), images.labels("train"), strict=True):
        path = Path(images.table.paths[row])
        link = folder / images.classes[label] / f"{row:06d}{path.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(path)
    return folder


@contextmanager
def cpu_seconds() -> Iterator[Callable[[], float]]:
    """CPU seconds of this process and of its children that have ended, from here to the end of the block."""
    before, spent = _cpu(), [0.0]
    yield lambda: spent[0]
    spent[0] = _cpu() - before


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def rows_of(part: str, results: dict[tuple[str, str, int], dict[str, Any]]) -> list[list[str]]:
    """A row for each set with a seed for which both trainings of this part are there."""
    rows, (other, own) = [], PARTS[part]
    for name in SETS:
        seeds = sorted(seed for set_name, what, seed in results if (set_name, what) == (name, own))
        seeds = [seed for seed in seeds if (name, other, seed) in results]
        if not seeds:
            continue
        others, owns = ([results[name, what, seed] for seed in seeds] for what in (other, own))
        step = 100 / owns[0]["test_images"]
        found = over_seeds([line["accuracy"] for line in others], [line["accuracy"] for line in owns], step)
        teacher = float(np.mean([line["teacher"] for line in owns]))
        shares = [line["accuracy"] / line["teacher"] for line in owns]
        cpu = " / ".join(f"{np.mean([line['cpu_seconds'] for line in lines]):.0f}" for lines in (owns, others))
        means = [f"{found[key]['mean_points']:.1f} +- {_sd(found[key])}" for key in ("baseline", "student", "gain")]
        rows.append([name, str(len(seeds)), f"{100 * teacher:.1f}", *means, f"{100 * np.mean(shares):.0f} %", cpu])
        rows[-1].append(str(found["sentence"]))
    return rows


def _sd(series: dict[str, Any]) -> str:
    return "?" if series["sd_points"] is None else f"{series['sd_points']:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--neu", type=Path, help="folder with train/CLASS and val/CLASS of the NEU steel images")
    parser.add_argument("--seeds", type=int, default=3)
    every = [f"{name}/{part}" for name in SETS for part in PARTS]
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="SET/PART")
    parser.add_argument("--px", type=int, default=64, help="side of the images (%(default)s)")
    parser.add_argument("--student", default="mobilenetv3_small_050")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--table", action="store_true", help="train nothing")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    aims = Aims(args)
    for seed in range(0 if args.table else args.seeds):
        for name, part in (each.split("/") for each in args.only):
            for what in PARTS[part]:
                aims.train(name, what, seed)
    for part, (other, own) in PARTS.items():
        heads = [part, "seeds", "teacher", other, own, "gain", "of the teacher", f"CPU s, {own} / {other}", "verdict"]
        print(f"\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
        for row in rows_of(part, aims.results):
            print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
