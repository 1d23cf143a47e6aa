"""One line for a person from one pydantic error."""

from __future__ import annotations

import difflib
from typing import Any, get_args

from pydantic import BaseModel

from edgedistill.core.text import printable
from edgedistill.environment.secret_values import shown_value


def fault_line(fault: Any, model: type[BaseModel], whole: str) -> str:
    """What was expected, and what came.

    Args:
        fault: from `ValidationError.errors()`.
        model: that was validated.
        whole: what a key outside a table is a key of, such as "the recipe".
    """
    return printable(_fault_text(fault, model, whole))


def _fault_text(fault: Any, model: type[BaseModel], whole: str) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        *parents, key = (str(part) for part in fault["loc"])
        keys = _keys_of(model, parents)
        near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
        meant = f"did you mean {near[0]!r}? " if near else ""
        place = f"[{'.'.join(parents)}]" if parents else whole
        return f"{place} has no key {key!r}; {meant}it has: {', '.join(keys)}"
    if fault["type"] == "missing":
        return f"{where} is missing"
    if fault["type"] == "value_error":
        return f"{fault['ctx']['error']}"
    message = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{where}: {message}, got {shown_value(where, fault['input'])}"


def _keys_of(model: type[BaseModel], parents: list[str]) -> list[str]:
    for parent in parents:
        annotation = model.model_fields[parent].annotation
        models = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type)]
        models = [one for one in models if issubclass(one, BaseModel)]
        if not models:
            return []
        model = models[0]
    return sorted(model.model_fields)
