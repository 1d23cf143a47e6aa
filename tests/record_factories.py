"""Records for tests that are about a few of their keys: the others get a neutral value."""

import types
import typing
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from edgedistill.records.artifacts import ARTIFACTS
from edgedistill.records.base import Record
from edgedistill.records.provenance import Kind, Provenance
from edgedistill.records.report import ReportRecord
from edgedistill.records.stages import StageRecords
from edgedistill.reporting import assemble
from edgedistill.reporting.page import html_from_report
from edgedistill.reporting.summary import summary_table

_NEUTRAL = {int: 0, float: 0.0, bool: False, str: "", list: [], dict: {}}


def record_with(kind: type[Record], values: dict[str, Any]) -> Record:
    """The record with these keys (JSON), and a neutral value for each required key that they leave out."""
    return kind.from_json(_filled(kind, values), kind.__name__)


def records_of(stages: dict[str, dict[str, Any]]) -> StageRecords:
    """From the JSON of some stages, each of some keys."""
    found = {
        name: record_with(kind, stages.get(name, {})) if name in stages or name not in OPTIONAL else None
        for name, kind in ARTIFACTS.items()
        if name != "report"
    }
    return StageRecords(**found)


def report_of(stages: dict[str, dict[str, Any]], *arguments: Any, **named: Any) -> dict[str, Any]:
    """report.json."""
    return assemble.report_from_stages(records_of(stages), *arguments, **named).to_json()


def page_of(report: dict[str, Any], *arguments: Any) -> str:
    """The page of report.json."""
    return html_from_report(ReportRecord.from_json(report, "report.json"), *arguments)


def summary_of(report: dict[str, Any]) -> str:
    """The table of report.json."""
    return summary_table(ReportRecord.from_json(report, "report.json"))


def unchecked(annotation: Any, value: Any) -> Any:
    """A record of JSON whose numbers are of a class of the test's own, which no record would take."""
    origin, arguments = _parts(annotation)
    if origin is Provenance and isinstance(value, str):
        return Provenance.from_text(value)
    if isinstance(origin, type) and issubclass(origin, BaseModel) and isinstance(value, dict):
        fields = {field.alias or name: field for name, field in origin.model_fields.items()}
        found = {key: unchecked(fields[key].annotation, item) for key, item in value.items() if key in fields}
        return origin.model_construct(**found)
    if origin is list and isinstance(value, list) and arguments:
        return [unchecked(arguments[0], item) for item in value]
    if origin is dict and isinstance(value, dict) and arguments:
        return {key: unchecked(arguments[1], item) for key, item in value.items()}
    return value


def _filled(kind: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    fields = kind.model_fields
    found = {key: _value(fields[key].annotation, value) if key in fields else value for key, value in values.items()}
    absent = {
        key: _neutral(field.annotation)
        for key, field in fields.items()
        if field.is_required() and not {key, field.alias} & set(values)
    }
    return found | absent


def _parts(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Origin and arguments, of what stands inside `Annotated` and beside `None`."""
    if get_origin(annotation) is typing.Annotated:
        return _parts(get_args(annotation)[0])
    if get_origin(annotation) in (typing.Union, types.UnionType):
        others = [part for part in get_args(annotation) if part is not type(None)]
        several = len([part for part in others if isinstance(part, type) and issubclass(part, BaseModel)]) > 1
        return (object, ()) if several else _parts(others[0])
    return get_origin(annotation) or annotation, get_args(annotation)


def _value(annotation: Any, value: Any) -> Any:
    origin, arguments = _parts(annotation)
    if isinstance(origin, type) and issubclass(origin, BaseModel) and isinstance(value, dict):
        return _filled(origin, value)
    if origin is list and isinstance(value, list) and arguments:
        return [_value(arguments[0], item) for item in value]
    if origin is dict and isinstance(value, dict) and arguments:
        return {key: _value(arguments[1], item) for key, item in value.items()}
    return value


def _neutral(annotation: Any) -> Any:
    if type(None) in get_args(annotation):
        return None
    origin, arguments = _parts(annotation)
    if origin is typing.Literal:
        return arguments[0]
    if origin is Provenance:
        return str(Provenance(Kind.UNKNOWN))
    return _filled(origin, {}) if issubclass(origin, BaseModel) else _NEUTRAL[origin]


OPTIONAL = {"schedule", "synthesise", "assist", "curve"}  # stages that a recipe may not have
