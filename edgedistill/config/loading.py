"""From a TOML file, overrides and Python values to a recipe; every fault in a line of its own."""

from __future__ import annotations

import datetime
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from edgedistill.config.faults import fault_line
from edgedistill.config.recipe import Recipe
from edgedistill.core.text import printable
from edgedistill.environment.secret_values import without_secrets
from edgedistill.errors import RecipeError

# Keys that name files: relative to the recipe's own folder.
PATHS = {
    "data": ("train", "val", "test", "unlabelled"),
    "decide": ("unknown",),
    "run": ("cache_dir",),
    "teacher": ("weights", "classes"),
    "student": ("weights", "classes"),
    "deploy": ("ssh_config",),
}
NETS = ("teachers", "assistants")  # keys of [distill] with tables that have a teacher's keys


def load_recipe(path: Path, overrides: Iterable[str] = (), settings: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe file and apply `section.key=value` overrides on top, then `section.key` -> value.

    Paths in [data], [teacher] and [student] that are relative mean: relative to the recipe.

    Raises:
        RecipeError: unreadable file, unknown key, value out of range.
    """
    table = _table_from_file(path)
    base = path.parent.resolve()
    for override in overrides:
        apply_override(table, override)
    for name, value in (settings or {}).items():
        set_key(table, name, value, f"{name} = {value!r}")
    return recipe_from_table(_with_absolute_paths(table, base), source=str(path))


def recipe_from_sections(sections: Mapping[str, Any], file: Path | None, overrides: Iterable[str] = ()) -> Recipe:
    """Sections as Python values, on top of a file when there is one.

    Args:
        sections: name -> keys; relative paths in them mean: relative to the working directory.
        file: a recipe, whose own paths are relative to itself.
        overrides: `section.key=value` on top of the file and below the sections; paths as of the file, and
            relative to the working directory without one.

    Raises:
        RecipeError: as `load_recipe`.
    """
    table = {} if file is None else _table_from_file(file)
    for override in overrides:
        apply_override(table, override)
    table = _with_absolute_paths(table, Path.cwd() if file is None else file.parent.resolve())
    given = {
        name: {key: os.fspath(value) if isinstance(value, os.PathLike) else value for key, value in keys.items()}
        if isinstance(keys, Mapping)
        else keys
        for name, keys in sections.items()
    }
    for name, keys in _with_absolute_paths(given, Path.cwd()).items():
        below = table.get(name, {})
        table[name] = {**below, **keys} if isinstance(below, dict) and isinstance(keys, dict) else keys
    return recipe_from_table(table, source="recipe" if file is None else str(file))


def _table_from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe; make one with `edgedistill new --train DIR {path}`") from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: a folder; expected a recipe, a file like parts.toml") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: not a readable TOML file: {error}") from None


def recipe_from_table(table: dict[str, Any], source: str) -> Recipe:
    """Validate a nested dict; `source` begins every error line."""
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        faults = [fault_line(fault, Recipe, "the recipe") for fault in error.errors(include_url=False)]
        raise RecipeError("\n".join(f"{printable(source)}: {fault}" for fault in faults)) from None


def apply_override(table: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    _, dot, key = name.strip().partition(".")
    (shown,) = without_secrets([override])
    if not (equals and dot and key):
        raise RecipeError(f"--set {shown}: expected section.key=value, like distill.temperature=2")
    value = value_from_text(text)
    if isinstance(value, int | float | datetime.date | datetime.time) and _takes_text(name.strip()):
        value = text.strip()
    set_key(table, name.strip(), value, f"--set {shown}")


def _takes_text(name: str) -> bool:
    """Whether `section.key` holds text and nothing else, so that 2024, 3.11 and true are words there."""
    section, _, key = name.partition(".")
    sections = Recipe.model_fields
    model = sections[section].annotation if section in sections else None
    fields = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
    return key in fields and _types_in(fields[key].annotation) <= {str, type(None)}


def _types_in(annotation: Any) -> set[Any]:
    """The members of a union, without what `Annotated` adds."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _types_in(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return set().union(*map(_types_in, get_args(annotation)))
    return {annotation}


def set_key(table: dict[str, Any], name: str, value: Any, source: str) -> None:
    """Put a value at `section.key`; `said` begins the refusal where the section is a value itself."""
    section, _, key = name.partition(".")
    table.setdefault(section, {})
    if not isinstance(table[section], dict):
        raise RecipeError(f"{source}: [{section}] is not a section of the recipe")
    table[section][key] = value


def value_from_text(text: str) -> Any:
    """A TOML value; what is none is the text itself, so that words need no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _with_absolute_paths(table: dict[str, Any], base: Path) -> dict[str, Any]:
    """Recipe paths are relative to the recipe file, so that a run can be started anywhere."""
    for section, keys in PATHS.items():
        values = table.get(section)
        if not isinstance(values, dict):
            continue
        for key in keys:
            value = values.get(key)
            if value == "":  # as a path it would be the working directory
                _refuse_without(section, key)
                values[key] = None
            elif isinstance(value, str) and not (key == "weights" and _is_no_file(value)):
                values[key] = _absolute(value, base, f"{section}.{key}")
    distill = table.get("distill")
    if not isinstance(distill, dict):
        return table
    for name in NETS:
        nets = distill.get(name)
        if isinstance(nets, list | tuple):
            distill[name] = [
                _with_absolute_paths({"teacher": dict(net)}, base)["teacher"] if isinstance(net, dict) else net
                for net in nets
            ]
    return table


def _refuse_without(section: str, key: str) -> None:
    """
    Raises:
        RecipeError: the key needs a path.
    """
    fields = Recipe.model_fields[section].annotation.model_fields  # type: ignore[union-attr]
    if type(None) not in _types_in(fields[key].annotation):
        raise RecipeError(f"{section}.{key} is empty: expected a path; name one, or leave the key out for its default")


def _is_no_file(weights: str) -> bool:
    return weights in {"hub", "scratch"} or weights.startswith("package:")


def _absolute(value: str, base: Path, key: str) -> str:
    try:
        return str((base / Path(value).expanduser()).resolve())
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, a loop, ~nobody
        raise RecipeError(f"{key} = {value!r} is not a path: {error}") from None
