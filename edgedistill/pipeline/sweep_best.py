"""best.toml of a sweep: the recipe's own text with the best settings in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit

from edgedistill.config.loading import NETS, PATHS
from edgedistill.config.recipe import Recipe
from edgedistill.environment.secret_values import SIGN_COMMAND


def best_toml(text: str, recipe: Recipe, overrides: Sequence[str], settings: Mapping[str, Any], head: str) -> str:
    """The text of a recipe with the best settings in it, its paths made absolute; secrets are left out.

    Args:
        text: TOML, as the user wrote it.
        recipe: `text` with `overrides` and `settings`, validated.
        overrides: `section.key=value`, of the command line.
        settings: `section.key` -> value, of the best trial.
        head: first line, a comment.
    """
    document = tomlkit.parse(text)
    values = recipe.model_dump(mode="json")
    values["deploy"]["ssh_config"] = recipe.deploy.ssh_config  # of this computer: no dump has it
    given = [override.partition("=")[0].strip() for override in overrides]
    stated = [f"{section}.{key}" for section, keys in PATHS.items() for key in keys if key in document.get(section, {})]
    for name in [*stated, *given, *settings]:
        section, _, key = name.partition(".")
        if name != SIGN_COMMAND:
            document.setdefault(section, tomlkit.table())[key] = values[section][key]
    for key in (key for key in NETS if key in document.get("distill", {})):  # their files are relative too
        document["distill"][key] = [
            {name: value for name, value in net.items() if value is not None} for net in values["distill"][key]
        ]
    section, _, key = SIGN_COMMAND.partition(".")
    if getattr(recipe.deploy, key):
        document.get(section, {}).pop(key, None)
        head += f"# {SIGN_COMMAND} is left out, since it may hold a secret: give it again, by --set or here\n"
    return head + tomlkit.dumps(document)
