"""Compare the students of a run's sweep with the run's own student: cost and accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgedistill.config.recipe import Recipe
from edgedistill.core.files import read_json
from edgedistill.core.pareto import pareto_front
from edgedistill.errors import RecipeError, RunFolderError
from edgedistill.prediction.model import Prediction, predict
from edgedistill.prediction.user_measurements import NOTHING
from edgedistill.records.layout import SWEEP
from edgedistill.records.report_speed import Swept
from edgedistill.records.stages import StageRecords
from edgedistill.records.sweep import SweepRecord, TrialResult
from edgedistill.records.training import DistillRecord

COUNTED = "counted: parameters of the network"
_TIMES = ("latency_ms", "latency_ms_low", "latency_ms_high")


def load_sweep(run_dir: Path) -> SweepRecord | None:
    """Read sweep.json of a run folder; None without a sweep.

    Raises:
        RunFolderError: it is damaged.
    """
    file = run_dir / SWEEP
    try:
        values = read_json(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(f"{file} is not a sweep ({error}); remove it and run the sweep again") from None
    return SweepRecord.from_json(values, f"{file} is not a sweep; remove it and run the sweep again")


def swept_of(
    sweep: SweepRecord | None, artifacts: dict[str, str], stages: StageRecords, recipe: Recipe
) -> Swept | None:
    """Return every trial and the run's own student with accuracy and cost; None without a sweep.

    The cost is the predicted time on the target if all students have a prediction, else the number of
    parameters. The user's own measurements are ignored, so that equal runs give equal reports.

    Args:
        sweep: sweep.json.
        artifacts: `sweep.artifacts_of` the run; the trials must have the same teacher and data.
        stages: those before `report`.

    Returns:
        The students, best first. A time is None when it is not predicted.
    """
    if sweep is None:
        return None
    metric = recipe.data.metric
    values: dict[str, Any] = {
        "metric": metric,
        "images": stages.data.images["val"],
        "cost": "parameters",
        "cost_provenance": COUNTED,
        "not_predicted": "",
        "reason": "",
        "students": [],
        "provenance": "measured: PyTorch on this computer, validation images, one seed each",
    }
    if sweep.artifacts != artifacts or sweep.metric != f"validation {metric}":
        values["reason"] = (
            "its trials were taught by another teacher, on other images or judged by another metric than this run's; "
            "run the sweep again"
        )
        return Swept.from_json(values, SWEEP)
    classes = len(stages.data.classes)
    students = [_own(stages.distill, metric), *(_of_trial(trial) for trial in sweep.trials)]
    predictions = {
        model: _predicted(model, classes, recipe) for model in sorted({student["model"] for student in students})
    }
    for student in students:
        prediction = predictions[student["model"]]
        student |= {key: getattr(prediction, key, None) for key in _TIMES}
        student["extrapolated"] = isinstance(prediction, Prediction) and prediction.extrapolated
    first = predictions[students[0]["model"]]
    reasons = [why for why in predictions.values() if isinstance(why, str)]
    if reasons:
        values["not_predicted"] = reasons[0]
    elif isinstance(first, Prediction):
        values |= {"cost": "latency_ms", "cost_provenance": first.provenance}
    whole = [student for student in students if student["state"] == "complete"]
    front = pareto_front(whole, lambda student: student[values["cost"]], lambda student: student["value"])
    students.sort(
        key=lambda student: (
            student["state"] != "complete",
            -student["value"],
            not student["own"],
            str(student["settings"]),
        )
    )
    values["students"] = [{**student, "front": any(student is other for other in front)} for student in students]
    return Swept.from_json(values, SWEEP)


def _own(distilled: DistillRecord, metric: str) -> dict[str, Any]:
    return {
        "settings": {},
        "value": distilled.validation.metric(metric),
        "state": "complete",
        "epochs": distilled.epochs,
        "model": distilled.model,
        "parameters": distilled.parameters,
        "own": True,
    }


def _of_trial(trial: TrialResult) -> dict[str, Any]:
    return {**{key: value for key, value in trial.to_json().items() if key != "against_own_points"}, "own": False}


def _predicted(model: str, classes: int, recipe: Recipe) -> Prediction | str:
    """Predict a student by its name, or return why there is no prediction."""
    target = recipe.target
    try:
        return predict(model, target.device, target.precision, recipe.data.image_px, classes, NOTHING)
    except RecipeError as error:
        return str(error)
