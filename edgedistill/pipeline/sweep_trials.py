"""The trainings of a sweep: one folder each, kept for the next sweep over the same teacher and images."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedistill.config.recipe import Recipe
from edgedistill.config.task import task_of
from edgedistill.core.files import locked, remove, write_json
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.plan import inputs_of
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.pipeline.sweep_comparison import OWN, difference_points
from edgedistill.pipeline.table import recipe_values, stage_named
from edgedistill.progress.reporter import Talk
from edgedistill.progress.task import duration
from edgedistill.records.sweep import TrialRecord, TrialResult
from edgedistill.records.training import DistillRecord, EpochRow

if TYPE_CHECKING:
    from edgedistill.training.fit import Subject
    from edgedistill.training.images import Images

TRIAL = "trial.json"
Settings = dict[str, Any]


class _Pruned(Exception):
    """The study ended a training."""


class Trials:
    """Trains and remembers.

    Args:
        run_dir: of the recipe, with its teacher's cache.
        recipe_of: settings -> the recipe with them; without settings the recipe's own student.
        metric: of the recipe.
        talk: where lines go.

    Attributes:
        folder: of all trials.
        images: validation images, after `open`.
    """

    def __init__(self, run_dir: Path, recipe_of: Callable[[Settings], Recipe], metric: str, talk: Talk):
        self._run_dir, self._recipe_of, self._metric, self._talk = run_dir, recipe_of, metric, talk
        self.folder = run_dir / "sweep" / "trials"
        self._seconds: list[float] = []

    def open(self, artifacts: dict[str, str]) -> None:
        """Before the first training.

        Args:
            artifacts: digests of the teachers and images; trials of others count as absent.
        """
        self._artifacts = artifacts
        self.folder.mkdir(parents=True, exist_ok=True)
        self._labels = self._images(self._recipe_of({}), self.folder).labels("val")
        self.images = len(self._labels)

    def place(self, settings: Settings) -> Path:
        """The folder of a training; equal recipes have the same one."""
        recipe = self._recipe_of(settings)
        with_all = {stage: recipe_values(stage_named(stage), recipe) for stage in ("data", "teacher", "distill")}
        return self.folder / digest_of(with_all)

    def result(self, settings: Settings) -> TrialRecord | None:
        """What a training left; None where it is not finished.

        Another metric's value, and images that an older release did not note as right, are no result: `train` finds
        the weights and measures them; a training that another metric pruned is done again.
        """
        record = _trial(self.place(settings) / TRIAL)
        if record is None or not self._is_ours(record):
            return None
        return record if record.hits is not None or record.state == "pruned" else None

    def results(self) -> list[TrialResult]:
        """All trials but the recipe's own student, best first, each compared with that student."""
        found = (_trial(path) for path in self.folder.glob(f"*/{TRIAL}"))
        records = [record for record in found if record and self._is_ours(record) and record.settings]
        own = self.result({})
        compared = [record for record in records if own and record.hits and record.settings != own.settings]
        results = [
            record.result(self._difference(record, own, len(compared)) if own and record in compared else None)
            for record in records
        ]
        return sorted(results, key=lambda trial: (trial.state != "complete", -trial.value, str(trial.settings)))

    def _is_ours(self, record: TrialRecord) -> bool:
        """Of these images and teachers, and judged by this metric."""
        return record.artifacts == self._artifacts and record.judged_by == self._metric

    def train_own(self, grid: Sequence[Settings]) -> None:
        """The recipe's own student, without pruning, unless the run or an earlier sweep has it.

        Args:
            grid: settings of the trials; those among them that are the recipe's own name it.
        """
        place = self.place({})
        settings = next((settings for settings in grid if self.place(settings) == place), {})
        finished = self.result({})
        if finished is not None and finished.state == "complete":
            if settings and not finished.settings:
                write_json(place / TRIAL, finished.model_copy(update={"settings": settings}).to_json())
            return
        stage, run, recipe = stage_named("distill"), RunFolder(self._run_dir), self._recipe_of({})
        if run.why_stale(stage.name, inputs_of(stage, recipe, run, lambda: "")) is None:
            self._take_over(run.read(DistillRecord), recipe, settings)
        else:
            self.train(settings, OWN, lambda epoch: False)

    def train(
        self, settings: Settings, title: str, ends: Callable[[EpochRow], bool], trials_left: int = 0
    ) -> TrialRecord | None:
        """One training; None where another process works on it.

        Args:
            ends: called after each epoch, says whether to stop there.
            trials_left: after this one.
        """
        from edgedistill.models.build import parameter_count
        from edgedistill.training.fit import CHECKPOINT

        out = self.place(settings)
        out.mkdir(exist_ok=True)
        with locked(out / ".lock", make=True, wait=False) as ours:
            if not ours:
                self._talk.say(f"  {title}: another process works on it")
                return None
            start, epochs = time.monotonic(), list[EpochRow]()

            def on_epoch(epoch: EpochRow) -> None:
                epochs.append(epoch)
                if ends(epoch):
                    raise _Pruned

            with self._talk.working_on("sweep", title):
                context, images, subject = self._begun(settings, out, title)
                hits: np.ndarray | None = None
                try:
                    value, count, hits = self._trained(context, images, subject, on_epoch)
                except _Pruned:
                    value, count = epochs[-1].metric(self._metric), epochs[-1].epoch
            result = TrialResult(
                settings=settings,
                value=value,
                state="pruned" if hits is None else "complete",
                epochs=count,
                model=subject.name,
                parameters=parameter_count(subject.model),
            )
            record = self._keep(out, result, hits)
            remove(out / CHECKPOINT)
        self._seconds.append(time.monotonic() - start)
        left = trials_left * sum(self._seconds) / len(self._seconds)
        after = f"; about {duration(left)} left" if trials_left else ""
        self._talk.say(f"  {title}: {value:.1%} after {count} epochs ({record.state}){after}")
        return record

    def _take_over(self, trained: DistillRecord, recipe: Recipe, settings: Settings) -> None:
        """The run has its own student already, to the same bits as a trial would train it."""
        out = self.place({})
        out.mkdir(exist_ok=True)
        weights = self._run_dir / "distill" / trained.seeds[0].weights
        hits = _hits(weights, self._images(recipe, out), recipe)
        result = TrialResult(
            settings=settings,
            value=trained.validation.metric(self._metric),
            state="complete",
            epochs=trained.epochs,
            model=trained.model,
            parameters=trained.parameters,
        )
        self._keep(out, result, hits)

    def _keep(self, out: Path, result: TrialResult, hits: np.ndarray | None) -> TrialRecord:
        """
        Args:
            hits: (N,) bool of the validation images; None of a pruned training.
        """
        right = None if hits is None else np.packbits(hits).tobytes().hex()
        record = TrialRecord(**result.given(), artifacts=self._artifacts, judged_by=self._metric, hits=right)
        write_json(out / TRIAL, record.to_json())
        return record

    def _images(self, recipe: Recipe, out: Path) -> Images:
        from edgedistill.pipeline.inputs import open_images

        return open_images(StageContext("distill", recipe, RunFolder(self._run_dir), out, self._talk))

    def _begun(self, settings: Settings, out: Path, title: str) -> tuple[StageContext, Images, Subject]:
        """The network of a trial and what it is trained on, before its first step."""
        from edgedistill.pipeline.student import last_teacher, student_lesson
        from edgedistill.training.fit import Subject, device_of, new_network

        recipe = self._recipe_of(settings)
        images = self._images(recipe, out)
        context = StageContext("distill", recipe, RunFolder(self._run_dir), out, self._talk)
        distill, student, device = recipe.distill, recipe.student, device_of(recipe.run)
        task = task_of(recipe)
        model = new_network(student, images.classes, distill.seed, task)
        cache = last_teacher(context, images)
        lesson = student_lesson(context, images, cache, model, distill.seed, device)
        return context, images, Subject(student.model, student.weights, model, lesson, 0, title, task=task)

    def _trained(
        self, context: StageContext, images: Images, subject: Subject, on_epoch: Callable[[EpochRow], None]
    ) -> tuple[float, int, np.ndarray]:
        """Value, epochs, and which validation images are right."""
        from edgedistill.pipeline.student import planned_distill
        from edgedistill.training.fit import device_of, train_and_save

        distill, device = planned_distill(context), device_of(context.recipe.run)
        trained = train_and_save(images, subject, distill, distill.views, device, context.out, context.talk, on_epoch)
        hits = _hits(context.out / trained.file, images, context.recipe)
        return trained.network.validation.metric(self._metric), trained.network.epochs, hits

    def _difference(self, record: TrialRecord, own: TrialRecord, trials: int) -> list[float]:
        hits, own_hits = (
            np.unpackbits(np.frombuffer(bytes.fromhex(text or ""), np.uint8), count=self.images).astype(bool)
            for text in (record.hits, own.hits)
        )
        return difference_points(hits, own_hits, self._labels, self._metric, trials)


def digest_of(value: Any) -> str:
    """16 hexadecimal digits for JSON-able values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _hits(weights: Path, images: Images, recipe: Recipe) -> np.ndarray:
    """(N,) bool: the validation images that a trained student has right."""
    from edgedistill.evaluation.tasks import evaluator_of
    from edgedistill.models.weights import load_weights
    from edgedistill.training.fit import device_of, logits_of, spec_for

    model, _ = load_weights(weights)
    spec = spec_for(recipe.student.model, recipe)
    outputs = logits_of(model, spec, images.frames("val"), device_of(recipe.run))
    hits = evaluator_of(task_of(recipe)).hits
    if hits is None:
        raise ValueError("figures are never right, and a sweep of them is refused at its start")
    return hits(outputs, images.labels("val"), images.classes)


def _trial(path: Path) -> TrialRecord | None:
    """trial.json; None where there is none, or one of an older release, which did not name its artifacts."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return TrialRecord.from_json(values, f"{path}; remove it to train it again") if "artifacts" in values else None
