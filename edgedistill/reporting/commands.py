"""Build the commands that advice and warnings show."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

RUN, SWEEP = "edgedistill run ", "edgedistill sweep "


@dataclass(frozen=True)
class Command:
    """The command that made a run.

    Attributes:
        run: the command as it was typed, with its options; settings are appended.
    """

    run: str = RUN + "RECIPE.toml"

    def setting(self, **keys: Any) -> str:
        """Return the command of the same run with keys of the recipe set; `section__key=value`."""
        return self.with_settings(f"{name.replace('__', '.')}={_shown(value)}" for name, value in keys.items())

    def with_settings(self, settings: Iterable[str]) -> str:
        return " ".join([self.run, *(f"--set {shlex.quote(setting)}" for setting in settings)])

    def trying(self, key: str, values: Iterable[float], one: float) -> str:
        """Return a sweep over values, or a run with `one` of them if there is no recipe file to sweep."""
        if not self.run.startswith(RUN):
            return self.with_settings([f"{key}={one:g}"])
        return f"{SWEEP}{self.run.removeprefix(RUN)} --over {key}={','.join(f'{value:g}' for value in values)}"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
