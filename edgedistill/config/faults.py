"""One line for a person from one pydantic error."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel

from edgedistill.core.text import nearest_name, printable
from edgedistill.environment.secret_values import shown_value

_EXPECTED = {"dict_type": "expected a table", "model_type": "expected a table", "tuple_type": "expected a list"}
_BY_CLASS = {f"decide.{key}" for key in ("recall", "precision", "miss_cost", "false_alarm_cost")}


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
        near = nearest_name(key, keys, cutoff=0.5)
        meant = "" if near is None else f"did you mean {near!r}? "
        place = f"[{'.'.join(parents)}]" if parents else whole
        return f"{place} has no key {key!r}; {meant}it has: {', '.join(keys)}"
    if fault["type"] == "missing":
        return f"{where} is missing"
    if fault["type"] == "value_error":
        return f"{fault['ctx']['error']}"
    message = _EXPECTED.get(fault["type"]) or fault["msg"][0].lower() + fault["msg"][1:]
    if fault["type"] == "dict_type" and where in _BY_CLASS:
        message = f"expected a table that names the class, as in {_example(where, fault['input'])}"
    return f"{where}: {message}, got {shown_value(where, fault['input'])}"


def _example(where: str, value: Any) -> str:
    """A setting of this key that is a table, with the number that was given for no class."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else 0.9
    return f"--set '{where}={{ crack = {number} }}'"


def _keys_of(model: type[BaseModel], parents: list[str]) -> list[str]:
    for parent in parents:
        annotation = model.model_fields[parent].annotation
        models = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type)]
        models = [one for one in models if issubclass(one, BaseModel)]
        if not models:
            return []
        model = models[0]
    return sorted(model.model_fields)
