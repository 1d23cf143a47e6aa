"""Where a training's curves go beside summary.csv: TensorBoard, MLflow, Weights & Biases, by one small interface.

Each tool decides by its own settings where that is and whether it needs a network (docs/training.md). What it is told:
the figures of each epoch, and the recipe without paths, hosts and keys. A tool that fails ends no training.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgedistill.core.files import locked, read_json, write_json
from edgedistill.environment.requirements import install_command
from edgedistill.errors import RecipeError

_IDS = "tracked.json"  # of a training: tool -> the id under which a resumed training goes on
_PACKAGES = {"mlflow": ("mlflow-skinny", "sqlalchemy", "alembic"), "wandb": ("wandb",)}  # modules: tool and its store
_PARAMETERS_AT_ONCE = 100  # that MLflow takes


@dataclass(frozen=True)
class Tracked:
    """What a tool is told of a training beside its curves.

    Attributes:
        folder: of the training, in the run folder.
        run: name of the run folder.
        name: of the training in it.
        recipe: JSON-able, without paths.
    """

    folder: Path
    run: str
    name: str
    recipe: dict[str, Any]

    def id_of(self, tool: str) -> str | None:
        """None before the tool has seen this training."""
        path = self.folder / _IDS
        return read_json(path).get(tool) if path.exists() else None

    def keep_id(self, tool: str, value: str) -> None:
        path = self.folder / _IDS
        write_json(path, {**(read_json(path) if path.exists() else {}), tool: value})


class Tracker(Protocol):
    """One training in one tool; made when the first epoch has ended."""

    def log(self, epoch: int, figures: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class _TensorBoard:
    """Event files in `tensorboard/` of the training's folder."""

    def __init__(self, tracked: Tracked, first_epoch: int):
        from torch.utils.tensorboard import SummaryWriter

        # After a resume the earlier epochs are told again: those of the file before are hidden.
        self._events = SummaryWriter(tracked.folder / "tensorboard", purge_step=first_epoch)

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._events.add_scalar(name, value, epoch)
        self._events.flush()

    def close(self) -> None:
        self._events.close()


class _MLflow:
    """A run of the experiment that is named after the run folder, or by $MLFLOW_EXPERIMENT_NAME."""

    def __init__(self, tracked: Tracked, first_epoch: int):
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own seven take minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        from mlflow import MlflowClient, get_tracking_uri

        known = tracked.id_of("mlflow")
        # Trainings begin at the same time, and two that find no database, or no experiment, would both make one.
        with _alone_at(get_tracking_uri()):
            self._client = MlflowClient()
            number = None if known else self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", tracked.run))
        self._id = known or self._new_run(number, tracked)
        self._last = int(self._client.get_run(self._id).data.metrics.get("epoch", 0))

    def _experiment(self, name: str) -> Any:
        """Its number."""
        from mlflow.exceptions import MlflowException

        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return self._client.create_experiment(name)
            except MlflowException:  # on a server another computer may have made it meanwhile
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        return experiment.experiment_id

    def _new_run(self, experiment: Any, tracked: Tracked) -> str:
        """Its id, which is kept for a resumed training."""
        from mlflow.entities import Param

        number: str = self._client.create_run(experiment, run_name=tracked.name).info.run_id
        parameters = [Param(key, str(value)) for key, value in _flat(tracked.recipe).items()]
        for start in range(0, len(parameters), _PARAMETERS_AT_ONCE):
            self._client.log_batch(number, params=parameters[start : start + _PARAMETERS_AT_ONCE])
        tracked.keep_id("mlflow", number)
        return number

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        if epoch > self._last:
            now_ms = int(1000 * time.time())
            all_figures = {**figures, "epoch": epoch}
            self._client.log_batch(self._id, [Metric(key, value, now_ms, epoch) for key, value in all_figures.items()])

    def close(self) -> None:
        self._client.set_terminated(self._id)


class _WandB:
    """A run of the project `edgedistill`, or of $WANDB_PROJECT, in the group of the run folder."""

    def __init__(self, tracked: Tracked, first_epoch: int):
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        known = tracked.id_of("wandb") or secrets.token_hex(4)
        tracked.keep_id("wandb", known)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "edgedistill"),
            group=tracked.run,
            name=tracked.name,
            id=known,
            resume="allow",
            config=tracked.recipe,
            settings=wandb.Settings(
                silent=True,
                console="off",
                login_timeout=15,  # a question on the terminal must not hold a training for ever
                disable_git=True,
                save_code=False,
                host="",  # else the computer's name
                x_disable_meta=True,  # command line, user, computer
                x_disable_stats=True,
                x_save_requirements=False,
            ),
        )

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        if epoch >= self._run.step:
            self._run.log({**figures, "epoch": epoch}, step=epoch)

    def close(self) -> None:
        self._run.finish()


_TOOLS: dict[str, Callable[[Tracked, int], Tracker]] = {
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "wandb": _WandB,
}


class Trackers:
    """All tools of a training as one.

    Args:
        tools: of `_TOOLS`.
        tracked: the training.
        say: told of a tool that fails, which then hears no more.
    """

    def __init__(self, tools: Iterable[str], tracked: Tracked, say: Callable[[str], None]):
        self._tools, self._tracked, self._say = [*tools], tracked, say
        self._open: dict[str, Tracker] = {}

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """The figures of an epoch; after a resume those of the earlier ones come again."""
        for tool in [*self._tools]:
            self._try(tool, functools.partial(self._log, tool, epoch, figures))

    def close(self) -> None:
        for tool, tracker in self._open.items():
            self._try(tool, tracker.close)

    def _log(self, tool: str, epoch: int, figures: Mapping[str, float]) -> None:
        if tool not in self._open:
            self._open[tool] = _TOOLS[tool](self._tracked, epoch)
        self._open[tool].log(epoch, figures)

    def _try(self, tool: str, work: Callable[[], None]) -> None:
        if tool not in self._tools:
            return
        try:
            work()
        except Exception as error:  # servers and their clients raise many types
            reason = (str(error).strip().splitlines() or [""])[0][:200]
            self._say(f"  {tool}: {type(error).__name__}: {reason}; the training goes on without it")
            self._tools.remove(tool)


@contextlib.contextmanager
def _alone_at(store: str) -> Iterator[None]:
    """While the block lasts no other process of ours on this computer is at the same database; a server needs no lock.

    Args:
        store: as `MLFLOW_TRACKING_URI`; of the file of an SQLite database the lock lies beside it.
    """
    kind, _, place = store.partition(":///")
    if kind != "sqlite" or not place or place.startswith(":memory:"):
        yield
        return
    with locked(Path(place.partition("?")[0] + ".lock"), make=True):
        yield


def require_trackers(tools: Iterable[str]) -> None:
    """Check before the training that what it shall be told to is installed.

    Args:
        tools: `run.trackers`.

    Raises:
        RecipeError: a tool is not installed.
    """
    for tool in tools:
        if importlib.util.find_spec(tool) is None:
            raise RecipeError(
                f"run.trackers names {tool!r}, which is not installed: {install_command(*_PACKAGES[tool])}"
            )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"distill": {"epochs": 3}}` as `{"distill.epochs": 3}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
