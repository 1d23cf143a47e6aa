"""`edgedistill sweep`: settings of the student on one cached teacher, by Optuna.

    DIR/sweep/study.db        Optuna's study; several processes, or machines by --storage, share it
    DIR/sweep/trials/ID/      one training; trial.json is written last, ID is a hash of its settings
    DIR/sweep/sweep.json      all trials, best first; also table.csv, sweep.png, best.toml

No teacher runs in a trial, and test images are never looked at: trials are compared on validation.
A trial of another teacher or of other images than the run has now is left out, and trained again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.config.loading import NETS, PATHS, load_recipe
from edgedistill.config.recipe import Recipe
from edgedistill.config.task import task_of
from edgedistill.core.files import locked, remove, write_bytes, write_json
from edgedistill.environment.secret_values import SIGN_COMMAND
from edgedistill.errors import RecipeError, RunFolderError, UsageError
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.pipeline.runner import run_stages
from edgedistill.pipeline.sweep_axes import STUDENT, checked_values, refuse_other_teachers
from edgedistill.pipeline.sweep_plot import plot_trials
from edgedistill.pipeline.table import recipe_values, stage_named
from edgedistill.progress.reporter import Talk
from edgedistill.records.sweep import SweepRecord, TrialRecord, TrialResult
from edgedistill.records.training import Epoch

if TYPE_CHECKING:
    from edgedistill.training.fit import Subject
    from edgedistill.training.images import Images

Settings = dict[str, Any]


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
        self.metric = self._first.data.metric

    def recipe_of(self, settings: Settings) -> Recipe:
        return load_recipe(self.recipe_path, self.overrides, settings)

    def run(self, storage: str | None, trials: int | None) -> SweepRecord:
        """Train what has not been trained yet; returns what sweep.json holds."""
        from edgedistill.models.supply import require_students

        optuna = _optuna()
        shared = None if storage is None else _shared_storage(storage)
        left = (one for one in self.grid if not (self._place(one) / "trial.json").exists())
        require_students(map(self.recipe_of, left))
        before = "assist" if stage_named("assist").applies(self._first) else "logits"
        run_stages(self._first, self.run_dir, self.talk, only=before)
        self._artifacts = artifacts_of(RunFolder(self.run_dir), self._first)
        (self.folder / "trials").mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            study_name=self._study_name(),
            direction="maximize",
            load_if_exists=True,
            storage=shared or f"sqlite:///{self.folder.resolve() / 'study.db'}",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
        )
        self._forget_killed(study)
        if trials is None:
            for settings in self.grid:
                self._grid_trial(study, settings)
        else:
            study.sampler = optuna.samplers.TPESampler(seed=self._first.distill.seed)
            for _ in range(trials):
                trial = study.ask(self._distributions())
                settings = {key: json.loads(label) for key, label in trial.params.items()}
                self._train(study, trial, settings)
        return self._write()

    def _grid_trial(self, study: Any, settings: Settings) -> None:
        import optuna

        if self._result(settings) is not None:
            self.talk.say(f"  {_words(settings)}: done already")
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            labels = {key: json.dumps(value) for key, value in settings.items()}
            study.sampler = optuna.samplers.PartialFixedSampler(labels, optuna.samplers.RandomSampler(seed=0))
        self._train(study, study.ask(self._distributions()), settings)

    def _train(self, study: Any, trial: Any, settings: Settings) -> None:
        """One training, reported to the study after each epoch; pruned when below the median."""
        import optuna

        from edgedistill.models.build import parameter_count
        from edgedistill.training.fit import CHECKPOINT

        finished = self._result(settings)
        if finished is not None:
            study.tell(trial, finished.value)
            return
        out = self._place(settings)
        out.mkdir(exist_ok=True)
        with locked(out / ".lock", make=True, wait=False) as ours:
            if not ours:
                self.talk.say(f"  {_words(settings)}: another process works on it")
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                return
            trial.set_user_attr("place", out.name)

            epochs: list[Epoch] = []

            def on_epoch(epoch: Epoch) -> None:
                epochs.append(epoch)
                trial.report(epoch.metric(self.metric), epoch.epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned

            work = self._begun(settings, out)
            try:
                value, count, pruned = *self._trained(*work, on_epoch), False
            except optuna.TrialPruned:
                value, count, pruned = epochs[-1].metric(self.metric), epochs[-1].epoch, True
            subject = work[2]
            record = TrialRecord(
                settings=settings,
                value=value,
                state="pruned" if pruned else "complete",
                epochs=count,
                model=subject.name,
                parameters=parameter_count(subject.model),
                artifacts=self._artifacts,
            )
            write_json(out / "trial.json", record.to_json())
            remove(out / CHECKPOINT)
            study.tell(trial, None if pruned else value, optuna.trial.TrialState.PRUNED if pruned else None)
        self.talk.say(f"  {_words(settings)}: {value:.4f} after {count} epochs ({record.state})")

    def _begun(self, settings: Settings, out: Path) -> tuple[StageContext, Images, Subject]:
        """The network of a trial and what it is trained on, before its first step."""
        from edgedistill.pipeline.inputs import open_images
        from edgedistill.pipeline.student import last_teacher, student_lesson
        from edgedistill.training.fit import Subject, device_of, new_network

        recipe = self.recipe_of(settings)
        context = StageContext("distill", recipe, RunFolder(self.run_dir), out, self.talk)
        distill, student = recipe.distill, recipe.student
        device, images = device_of(recipe.run), open_images(context)
        task = task_of(student)
        model = new_network(student, images.classes, distill.seed, task)
        cache = last_teacher(context, images)
        lesson = student_lesson(context, images, cache, model, distill.seed, device)
        title = f"trial {out.name}"
        return context, images, Subject(student.model, student.weights, model, lesson, 0, title, task=task)

    def _trained(self, context: StageContext, images: Images, subject: Subject, on_epoch) -> tuple[float, int]:
        from edgedistill.training.fit import device_of, train_and_save

        distill, device = context.recipe.distill, device_of(context.recipe.run)
        trained = train_and_save(images, subject, distill, distill.views, device, context.out, context.talk, on_epoch)
        return trained.network.validation.metric(self.metric), trained.network.epochs

    def _write(self) -> SweepRecord:
        """All trials of these artifacts, best first, as a table, a picture, a recipe and, last, sweep.json."""
        records = (_trial(path) for path in (self.folder / "trials").glob("*/trial.json"))
        trials = [record.result() for record in records if record and record.artifacts == self._artifacts]
        trials.sort(key=lambda trial: (trial.state != "complete", -trial.value, str(trial.settings)))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        keys = sorted({key for trial in trials for key in trial.settings})
        writer.writerow([*keys, f"validation_{self.metric}", "state", "epochs"])
        for trial in trials:
            settings = [trial.settings.get(key, "") for key in keys]
            writer.writerow([*settings, trial.value, trial.state, trial.epochs])
        write_bytes(self.folder / "table.csv", text.getvalue().encode())
        write_bytes(self.folder / "best.toml", self._best_toml(trials[0]).encode())
        plot_trials(trials, keys, self.metric, self.folder / "sweep.png")
        record = SweepRecord(
            metric=f"validation {self.metric}",
            images="validation, never test",
            seeds=1,
            artifacts=self._artifacts,
            trials=trials,
            best=trials[0],
        )
        write_json(self.folder / "sweep.json", record.to_json())
        return record

    def _best_toml(self, best: TrialResult) -> str:
        """The recipe's own text with the best settings in it, its paths made absolute; secrets are left out."""
        import tomlkit

        document = tomlkit.parse(self.recipe_path.read_text(encoding="utf-8"))
        recipe = self.recipe_of(best.settings)
        values = recipe.model_dump(mode="json")
        values["deploy"]["ssh_config"] = recipe.deploy.ssh_config  # of this computer: no dump has it
        given = [text.partition("=")[0].strip() for text in self.overrides]
        stated = [
            f"{section}.{key}" for section, keys in PATHS.items() for key in keys if key in document.get(section, {})
        ]
        for name in [*stated, *given, *best.settings]:
            section, _, key = name.partition(".")
            if name != SIGN_COMMAND:
                document.setdefault(section, tomlkit.table())[key] = values[section][key]
        for key in (key for key in NETS if key in document.get("distill", {})):  # their files are relative too
            document["distill"][key] = [
                {name: value for name, value in net.items() if value is not None} for net in values["distill"][key]
            ]
        section, _, key = SIGN_COMMAND.partition(".")
        head = f"# Best of `edgedistill sweep` by validation {self.metric}: {best.value:.4f}, one seed\n"
        if getattr(recipe.deploy, key):
            document.get(section, {}).pop(key, None)
            head += f"# {SIGN_COMMAND} is left out, since it may hold a secret: give it again, by --set or here\n"
        return head + tomlkit.dumps(document)

    def _distributions(self) -> dict[str, Any]:
        """Values as JSON text: Optuna's storage takes no lists."""
        import optuna

        return {
            key: optuna.distributions.CategoricalDistribution([json.dumps(value) for value in values])
            for key, values in self.axes.items()
        }

    def _study_name(self) -> str:
        """One study for one grid on one teacher: Optuna refuses other values of a key in the same one."""
        return f"sweep-{_digest([self.axes, self._artifacts])}"

    def _forget_killed(self, study: Any) -> None:
        """Trials that were under way when their process was killed: their lock is free."""
        import optuna

        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            place = self.folder / "trials" / str(trial.user_attrs.get("place", ""))
            if not (place / ".lock").exists():
                continue
            with locked(place / ".lock", wait=False) as free:
                if free:
                    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def _place(self, settings: Settings) -> Path:
        recipe = self.recipe_of(settings)
        with_all = {stage: recipe_values(stage_named(stage), recipe) for stage in ("data", "teacher", "distill")}
        return self.folder / "trials" / _digest(with_all)

    def _result(self, settings: Settings) -> TrialRecord | None:
        record = _trial(self._place(settings) / "trial.json")
        return record if record is not None and record.artifacts == self._artifacts else None


def artifacts_of(run: RunFolder, recipe: Recipe) -> dict[str, str]:
    """Digests of what all trials of a sweep have in common: their images and their teachers.

    Raises:
        RunFolderError: one of them is not there.
    """
    common = (stage_named(name) for name in ("data", "teacher", "synthesise", "assist"))
    return {stage.name: run.digest(stage.name) for stage in common if stage.applies(recipe)}


def text_from_sweep(sweep: SweepRecord, folder: Path) -> str:
    """The trials as lines, best first, and where the best recipe is."""
    lines = [
        f"{trial.value:.4f}  {_words(trial.settings)}  ({trial.state}, {trial.epochs} epochs)" for trial in sweep.trials
    ]
    head = f"{sweep.metric}, one seed each"
    return "\n".join([head, *lines, f"best: {folder / 'best.toml'}"])


def _trial(path: Path) -> TrialRecord | None:
    """trial.json; None where there is none, or one of an older release, which did not name its artifacts."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return TrialRecord.from_json(values, f"{path}; remove it to train it again") if "artifacts" in values else None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _words(settings: Settings) -> str:
    return ", ".join(f"{key.partition('.')[2]} {value}" for key, value in settings.items())


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
        raise RecipeError(f"{error.name} is missing: pip install 'edgedistill[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
