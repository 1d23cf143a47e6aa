"""`edgedistill sweep`: settings of the student on one cached teacher, by Optuna.

    DIR/sweep/study.db        Optuna's study; several processes, or machines by --storage, share it
    DIR/sweep/trials/ID/      one training; trial.json is written last, ID is a hash of its settings
    DIR/sweep/sweep.json      all trials, best first; also table.csv, sweep.png, best.toml

No teacher runs in a trial, and test images are never looked at: trials are compared on validation.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import itertools
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgedistill.callable_module import call_as_verb
from edgedistill.config import PATHS, Recipe, load_recipe, value_from_text
from edgedistill.errors import RecipeError
from edgedistill.pipeline import StageContext, run_stages
from edgedistill.run_folder import RunFolder, write_bytes, write_json
from edgedistill.stages import recipe_values, stage_named, stages_of
from edgedistill.sweep_plot import plot_trials
from edgedistill.talk import Talk

call_as_verb(__name__)

Settings = dict[str, Any]


class Sweep:
    """One grid over one recipe.

    Args:
        recipe_path: TOML.
        overrides: `section.key=value`, for all trials.
        over: `section.key=a,b,c` each.
        run_dir: of the recipe; its teacher and cache are used, or made first.
        talk: where lines go.

    Raises:
        RecipeError: a key that the cached teacher depends on, a value out of range.
    """

    def __init__(
        self, recipe_path: Path, overrides: list[str], over: list[str], run_dir: Path, talk: Talk
    ):
        self.recipe_path, self.overrides = recipe_path, overrides
        self.run_dir, self.talk = run_dir, talk
        self.folder = run_dir / "sweep"
        self.axes = dict(_axis(text) for text in over)
        self.grid = [dict(zip(self.axes, values, strict=True))
                     for values in itertools.product(*self.axes.values())]  # fmt: skip
        recipes = [self.recipe_of(settings) for settings in self.grid]
        self._refuse_other_teachers(recipes)
        # Features are cached for all trials when one of them matches features.
        self._first = max(recipes, key=lambda recipe: recipe.distill.cache_features)
        self.metric = self._first.data.metric

    def recipe_of(self, settings: Settings) -> Recipe:
        own = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        return load_recipe(self.recipe_path, [*self.overrides, *own])

    def run(self, storage: str | None, trials: int | None) -> Path:
        """Train what has not been trained yet; returns sweep.json."""
        optuna = _optuna()
        before = "assist" if stage_named("assist").applies(self._first) else "logits"
        run_stages(self._first, self.run_dir, self.talk, only=before)
        (self.folder / "trials").mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            study_name="sweep", direction="maximize", load_if_exists=True,
            storage=storage or f"sqlite:///{self.folder.resolve() / 'study.db'}",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
        )  # fmt: skip
        self._forget_killed(study)
        if trials is None:
            for settings in self.grid:
                self._grid_trial(study, settings)
        else:
            study.sampler = optuna.samplers.TPESampler(seed=self._first.distill.seed)
            for _ in range(trials):
                trial = study.ask(self._distributions())
                self._train(study, trial, trial.params)
        return self._write()

    def _grid_trial(self, study: Any, settings: Settings) -> None:
        import optuna

        if self._result(settings) is not None:
            self.talk.say(f"  {_words(settings)}: done already")
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = optuna.samplers.PartialFixedSampler(
                settings, optuna.samplers.RandomSampler(seed=0)
            )
        self._train(study, study.ask(self._distributions()), settings)

    def _train(self, study: Any, trial: Any, settings: Settings) -> None:
        """One training, told to the study epoch by epoch; pruned when below the median."""
        import optuna

        known = self._result(settings)
        if known is not None:
            study.tell(trial, known["value"])
            return
        out = self._place(settings)
        out.mkdir(exist_ok=True)
        with _held(out / ".lock") as ours:
            if not ours:
                self.talk.say(f"  {_words(settings)}: another process works on it")
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                return
            trial.set_user_attr("place", out.name)

            last: dict[str, Any] = {}

            def told(row: dict[str, Any]) -> None:
                last.update(row)
                trial.report(row[f"eval_{self.metric}"], row["epoch"])
                if trial.should_prune():
                    raise optuna.TrialPruned

            try:
                value, epochs, state = *self._trained(settings, out, told), "complete"
            except optuna.TrialPruned:
                value, epochs, state = last[f"eval_{self.metric}"], last["epoch"], "pruned"
            write_json(out / "trial.json", {"settings": settings, "value": value, "state": state,
                                            "epochs": epochs})  # fmt: skip
            (out / "checkpoint.pt").unlink(missing_ok=True)
            pruned = state == "pruned"
            study.tell(trial, None if pruned else value,
                       optuna.trial.TrialState.PRUNED if pruned else None)  # fmt: skip
        self.talk.say(f"  {_words(settings)}: {value:.4f} after {epochs} epochs ({state})")

    def _trained(self, settings: Settings, out: Path, told) -> tuple[float, int]:
        from edgedistill.images import open_images
        from edgedistill.stages.distill import last_teacher, student_lesson
        from edgedistill.training_stage import Subject, device_of, new_network, train_and_save

        recipe = self.recipe_of(settings)
        context = StageContext(recipe, RunFolder(self.run_dir), out, self.talk)
        distill, student = recipe.distill, recipe.student
        device, images = device_of(recipe.run), open_images(context)
        model = new_network(student.model, student.weights, images.classes, distill.seed,
                            student.output)  # fmt: skip
        cache = last_teacher(context, images)
        lesson = student_lesson(context, images, cache, model, distill.seed, device)
        subject = Subject(student.model, student.weights, model, lesson, 0, f"trial {out.name}")
        result = train_and_save(context, images, subject, distill, distill.views, device, told)
        return result.values["validation"][self.metric], distill.epochs

    def _write(self) -> Path:
        """Everything that is known, best first; sweep.json last."""
        rows = [json.loads(path.read_text(encoding="utf-8"))
                for path in (self.folder / "trials").glob("*/trial.json")]  # fmt: skip
        rows.sort(key=lambda row: (row["state"] != "complete", -row["value"], str(row["settings"])))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        keys = sorted({key for row in rows for key in row["settings"]})
        writer.writerow([*keys, f"validation_{self.metric}", "state", "epochs"])
        for row in rows:
            settings = [row["settings"].get(key, "") for key in keys]
            writer.writerow([*settings, row["value"], row["state"], row["epochs"]])
        write_bytes(self.folder / "table.csv", text.getvalue().encode())
        write_bytes(self.folder / "best.toml", self._best_toml(rows[0]).encode())
        plot_trials(rows, keys, self.metric, self.folder / "sweep.png")
        result = {"metric": f"validation {self.metric}", "images": "validation, never test",
                  "seeds": 1, "trials": rows, "best": rows[0]}  # fmt: skip
        write_json(self.folder / "sweep.json", result)
        return self.folder / "sweep.json"

    def _best_toml(self, best: dict[str, Any]) -> str:
        """The recipe's own text with the best settings in it, its paths made absolute."""
        import tomlkit

        document = tomlkit.parse(self.recipe_path.read_text(encoding="utf-8"))
        recipe = self.recipe_of(best["settings"])
        values = recipe.model_dump(mode="json")
        values["deploy"]["ssh_config"] = recipe.deploy.ssh_config  # of this computer: no dump has it
        given = [text.partition("=")[0].strip() for text in self.overrides]
        stated = [f"{section}.{key}" for section, keys in PATHS.items() for key in keys
                  if key in document.get(section, {})]  # fmt: skip
        for name in [*stated, *given, *best["settings"]]:
            section, _, key = name.partition(".")
            document.setdefault(section, tomlkit.table())[key] = values[section][key]
        head = (f"# Best of `edgedistill sweep` by validation {self.metric}: {best['value']:.4f}, "
                "one seed\n")  # fmt: skip
        return head + tomlkit.dumps(document)

    def _refuse_other_teachers(self, recipes: list[Recipe]) -> None:
        """Every stage before the student must come out the same for all trials."""
        for recipe in recipes[1:]:
            for stage in stages_of(recipe):
                if stage.name not in {"data", "teacher", "synthesise", "logits", "assist"}:
                    continue
                ours, theirs = (recipe_values(stage, r) for r in (recipes[0], recipe))
                differing = [key for key in ours if ours[key] != theirs.get(key)
                             and key != "distill.cache_features"]  # fmt: skip
                if differing:
                    raise RecipeError(
                        f"--over: the stage {stage.name!r} depends on {differing[0]}; a sweep tries "
                        "what one cached teacher can serve: loss, temperature, weights, learning "
                        "rate, epochs; run this one as recipes of their own"
                    )

    def _distributions(self) -> dict[str, Any]:
        import optuna

        return {key: optuna.distributions.CategoricalDistribution(values)
                for key, values in self.axes.items()}  # fmt: skip

    def _forget_killed(self, study: Any) -> None:
        """Trials that were under way when their process was killed: their lock is free."""
        import optuna

        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            place = self.folder / "trials" / str(trial.user_attrs.get("place", ""))
            if not (place / ".lock").exists():
                continue
            with _held(place / ".lock") as free:
                if free:
                    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def _place(self, settings: Settings) -> Path:
        recipe = self.recipe_of(settings)
        with_all = {stage: recipe_values(stage_named(stage), recipe)
                    for stage in ("data", "teacher", "distill")}  # fmt: skip
        digest = hashlib.sha256(json.dumps(with_all, sort_keys=True).encode()).hexdigest()
        return self.folder / "trials" / digest[:16]

    def _result(self, settings: Settings) -> dict[str, Any] | None:
        try:
            return json.loads((self._place(settings) / "trial.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None


def text_from_sweep(result: dict[str, Any], folder: Path) -> str:
    """The trials as lines, best first, and where the best recipe is."""
    lines = [f"{row['value']:.4f}  {_words(row['settings'])}  "
             f"({row['state']}, {row['epochs']} epochs)" for row in result["trials"]]  # fmt: skip
    head = f"{result['metric']}, one seed each"
    return "\n".join([head, *lines, f"best: {folder / 'best.toml'}"])


def _axis(text: str) -> tuple[str, list[Any]]:
    name, equals, values = text.partition("=")
    if not (equals and values and name.startswith("distill.")):
        raise RecipeError(
            f"--over {text}: expected distill.key=a,b,c, like distill.temperature=2,4"
        )
    return name.strip(), [value_from_text(value.strip()) for value in values.split(",")]


def _words(settings: Settings) -> str:
    return ", ".join(f"{key.partition('.')[2]} {value}" for key, value in settings.items())


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Whether the lock is ours for the block; a kill frees it."""
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _optuna() -> Any:
    try:
        import optuna
        import tomlkit  # noqa: F401
    except ImportError as error:
        raise RecipeError(f"{error.name} is missing: pip install 'edgedistill[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
