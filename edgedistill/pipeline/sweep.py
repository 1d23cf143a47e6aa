"""`edgedistill sweep`: settings of the student on one cached teacher, by Optuna.

    DIR/sweep/study.db        Optuna's study; several processes, or machines by --storage, share it
    DIR/sweep/trials/ID/      one training; trial.json is written last, ID is a hash of its settings
    DIR/sweep/sweep.json      all trials, best first; also table.csv, sweep.png, best.toml

No teacher runs in a trial, and test images are never looked at: trials are compared on validation, with each
other and with the recipe's own student, which is trained first where the run does not have it.
A trial of another teacher or of other images than the run has now is left out, and trained again.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.config.loading import load_recipe
from edgedistill.config.recipe import Recipe
from edgedistill.config.task import task_of
from edgedistill.core.files import locked, write_bytes, write_json
from edgedistill.environment.requirements import install_command
from edgedistill.errors import RecipeError, RunFolderError, UsageError
from edgedistill.pipeline.early_refusals import refuse_what_fits_no_stage
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.pipeline.runner import run_stages
from edgedistill.pipeline.sweep_axes import STUDENT, checked_values, refuse_other_teachers
from edgedistill.pipeline.sweep_best import best_toml
from edgedistill.pipeline.sweep_comparison import sentences_of, words_of
from edgedistill.pipeline.sweep_plot import plot_trials
from edgedistill.pipeline.sweep_trials import TRIAL, Settings, Trials, digest_of
from edgedistill.pipeline.table import stage_named
from edgedistill.progress.reporter import Talk
from edgedistill.records.sweep import SweepRecord, TrialResult
from edgedistill.records.training import EpochRow

if TYPE_CHECKING:
    pass


class Sweep:
    """One grid over one recipe.

    Args:
        recipe_path: TOML.
        overrides: `section.key=value`, for all trials.
        over: `section.key` -> values to try: keys of [distill], student.model and student.weights.
        run_dir: of the recipe; its teacher and cache are used, or made first.
        talk: where lines go.

    Raises:
        RecipeError: a key that the cached teacher depends on, a value out of range.
    """

    def __init__(
        self,
        recipe_path: Path,
        overrides: list[str],
        over: Mapping[str, Sequence[Any]],
        run_dir: Path,
        talk: Talk,
    ):
        self.recipe_path, self.overrides = recipe_path, overrides
        self.run_dir, self.talk = run_dir, talk
        self.folder = run_dir / "sweep"
        self.axes = {key: checked_values(key, values) for key, values in over.items()}
        self.grid = [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]
        recipes = [self.recipe_of(settings) for settings in self.grid]
        # Features are cached for all trials when one of them matches features. The run's own student
        # stays, so that its images are not decoded again.
        shared = [{key: value for key, value in settings.items() if key not in STUDENT} for settings in self.grid]
        self._first = max(map(self.recipe_of, shared), key=lambda recipe: recipe.distill.cache_features)
        refuse_other_teachers([self._first, *recipes])
        if task_of(self._first).vectors:
            raise RecipeError(
                f"a sweep compares how many images are right, data.task = {self._first.data.task!r} has none that are; "
                "run the recipes one by one and read the mean absolute error in each report"
            )
        self.metric = self._first.data.metric
        self.trials = Trials(run_dir, self.recipe_of, self.metric, talk)

    def recipe_of(self, settings: Settings) -> Recipe:
        return load_recipe(self.recipe_path, self.overrides, settings)

    def run(self, storage: str | None, trials: int | None) -> SweepRecord:
        """Train what has not been trained yet; returns what sweep.json holds."""
        from edgedistill.models.supply import require_students

        optuna = _optuna()
        shared = None if storage is None else _shared_storage(storage)
        left = [self.recipe_of(one) for one in self.grid if not (self.trials.place(one) / TRIAL).exists()]
        require_students(left)
        for recipe in left:
            refuse_what_fits_no_stage(recipe, ("distill",))
        before = "assist" if stage_named("assist").applies(self._first) else "logits"
        for name in ("schedule", before):
            if stage_named(name).applies(self._first):
                run_stages(self._first, self.run_dir, self.talk, only=name)
        self._artifacts = artifacts_of(RunFolder(self.run_dir), self._first)
        self.trials.open(self._artifacts)
        study = optuna.create_study(
            study_name=self._study_name(),
            direction="maximize",
            load_if_exists=True,
            storage=shared or f"sqlite:///{self.folder.resolve() / 'study.db'}",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
        )
        self._forget_killed(study)
        self.trials.train_own(self.grid)
        if trials is None:
            for number, settings in enumerate(self.grid, start=1):
                self._grid_trial(study, settings, number)
        else:
            study.sampler = optuna.samplers.TPESampler(seed=self._first.distill.seed)
            for number in range(1, trials + 1):
                trial = study.ask(self._distributions())
                settings = {key: json.loads(label) for key, label in trial.params.items()}
                self._tried(study, trial, settings, number, trials)
        return self._write()

    def _grid_trial(self, study: Any, settings: Settings, number: int) -> None:
        import optuna

        if self.trials.result(settings) is not None:
            self.talk.say(f"  trial {number} of {len(self.grid)}: {words_of(settings)}: done already")
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            labels = {key: json.dumps(value) for key, value in settings.items()}
            study.sampler = optuna.samplers.PartialFixedSampler(labels, optuna.samplers.RandomSampler(seed=0))
        self._tried(study, study.ask(self._distributions()), settings, number, len(self.grid))

    def _tried(self, study: Any, trial: Any, settings: Settings, number: int, count: int) -> None:
        """One trial of the study: told after each epoch, pruned when below the median."""
        import optuna

        finished = self.trials.result(settings)
        if finished is not None:
            study.tell(trial, finished.value)
            return
        trial.set_user_attr("place", self.trials.place(settings).name)

        def ends(epoch: EpochRow) -> bool:
            trial.report(epoch.metric(self.metric), epoch.epoch)
            return trial.should_prune()

        title = f"trial {number} of {count}: {words_of(settings)}"
        record = self.trials.train(settings, title, ends, count - number)
        if record is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        elif record.state == "pruned":
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, record.value)

    def _write(self) -> SweepRecord:
        """All trials of these artifacts, best first, as a table, a picture, a recipe and, last, sweep.json."""
        own = self.trials.result({})
        trials = self.trials.results()
        candidates = [*([own.result()] if own else []), *trials]  # the recipe as it is, of equal ones
        best = min(candidates, key=lambda trial: (trial.state != "complete", -trial.value))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        keys = sorted({key for trial in trials for key in trial.settings})
        writer.writerow([*keys, f"validation_{self.metric}", "state", "epochs"])
        for trial in trials:
            settings = [trial.settings.get(key, "") for key in keys]
            writer.writerow([*settings, trial.value, trial.state, trial.epochs])
        write_bytes(self.folder / "table.csv", text.getvalue().encode())
        write_bytes(self.folder / "best.toml", self._best_toml(best).encode())
        plot_trials(trials, keys, self.metric, self.folder / "sweep.png")
        record = SweepRecord(
            metric=f"validation {self.metric}",
            images="validation, never test",
            seeds=1,
            artifacts=self._artifacts,
            trials=trials,
            best=best,
            own=own and own.result(),
            sentences=sentences_of(trials, own and own.result(), self.trials.images),
        )
        write_json(self.folder / "sweep.json", record.to_json())
        return record

    def _best_toml(self, best: TrialResult) -> str:
        text, recipe = self.recipe_path.read_text(encoding="utf-8"), self.recipe_of(best.settings)
        head = f"# Best of `edgedistill sweep` by validation {self.metric}: {best.value:.4f}, one seed\n"
        return best_toml(text, recipe, self.overrides, best.settings, head)

    def _distributions(self) -> dict[str, Any]:
        """Values as JSON text: Optuna's storage takes no lists."""
        import optuna

        return {
            key: optuna.distributions.CategoricalDistribution([json.dumps(value) for value in values])
            for key, values in self.axes.items()
        }

    def _study_name(self) -> str:
        """One study for one grid on one teacher by one metric: Optuna refuses other values of a key in the same one."""
        return f"sweep-{digest_of([self.axes, self._artifacts, self.metric])}"

    def _forget_killed(self, study: Any) -> None:
        """Trials that were under way when their process was killed: their lock is free."""
        import optuna

        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            place = self.trials.folder / str(trial.user_attrs.get("place", ""))
            if not (place / ".lock").exists():
                continue
            with locked(place / ".lock", wait=False) as free:
                if free:
                    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def artifacts_of(run: RunFolder, recipe: Recipe) -> dict[str, str]:
    """Digests of what all trials of a sweep have in common: their images and their teachers.

    Raises:
        RunFolderError: one of them is not there.
    """
    common = (stage_named(name) for name in ("data", "schedule", "teacher", "synthesise", "assist"))
    return {stage.name: run.digest(stage.name) for stage in common if stage.applies(recipe)}


def _shared_storage(url: str) -> Any:
    """Optuna's storage at a URL, opened before anything is trained.

    Raises:
        UsageError: not a URL of SQLAlchemy, or one of a database whose driver is not installed.
        RunFolderError: the database does not answer.
    """
    import optuna
    import sqlalchemy.exc

    expected = "expected a database's URL such as sqlite:////shared/study.db"
    try:
        return optuna.storages.get_storage(url)
    except (sqlalchemy.exc.ArgumentError, ImportError) as error:
        raise UsageError(f"--storage {url}: {str(error).splitlines()[0]}; {expected}") from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise RunFolderError(f"--storage {url}: {str(error).splitlines()[0]}; {expected} that can be written") from None


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise RecipeError(f"{error.name} is missing: {install_command('optuna')}") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
