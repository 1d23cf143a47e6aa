"""Artifacts are read by attribute: how many string keys of theirs are still read, by package."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from pydantic import BaseModel

import edgedistill
from edgedistill.config.task import EMBEDDING
from edgedistill.records.artifacts import ARTIFACTS, artifact_kind
from edgedistill.records.base import ArtifactStamp
from edgedistill.records.sweep import SweepRecord, TrialRecord

PACKAGE = Path(edgedistill.__file__).parent
# Of the packages that artifacts pass through: string keys that are also a field of some record. None is read of an
# artifact; they stand in the JSON of a comparison and in the points of a figure (`reporting`), in a stage's inputs, in
# the metadata of weights, in a checkpoint, in arrays by the name of a network. Lower a number when it falls.
MOST = {
    "stages": 27,  # `int8`, a key of the report, is the name of a precision too
    "pipeline": 6,
    "quantization": 2,
    "training": 14,
    "evaluation": 6,
    "data": 5,
    "bundles": 10,
    "reporting": 59,
    "api": 10,
}


def fields_of(kind: type[BaseModel], seen: set[type[BaseModel]]) -> set[str]:
    if kind in seen:
        return set()
    seen.add(kind)
    names = set(kind.model_fields)
    for field in kind.model_fields.values():
        for part in parts(field.annotation):
            names |= fields_of(part, seen)
    return names


def parts(annotation) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in parts(part)]


def known_keys() -> set[str]:
    seen: set[type[BaseModel]] = set()
    kinds = [*ARTIFACTS.values(), artifact_kind("evaluate", EMBEDDING), ArtifactStamp, SweepRecord, TrialRecord]
    return set().union(*(fields_of(kind, seen) for kind in kinds))


@pytest.fixture(scope="module")
def trees() -> list[tuple[str, ast.Module]]:
    files = sorted(PACKAGE.rglob("*.py"))
    return [(str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8"))) for path in files]


def key_read(node: ast.AST) -> str | None:
    """The text of `x["text"]` or `x.get("text")`."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and isinstance(node.slice, ast.Constant):
        return node.slice.value if isinstance(node.slice.value, str) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        first = node.args[0]
        return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
    return None


def test_no_more_keys_of_artifacts_are_read_as_text(trees):
    keys, found = known_keys(), Counter()
    for name, tree in trees:
        reads = [key_read(node) for node in ast.walk(tree)]
        found[name.partition("/")[0]] += sum(read in keys for read in reads if read is not None)
    assert {"top1_fraction", "kept_float", "parameters", "sha256"} <= keys
    over = {name: count for name, count in found.items() if count > MOST.get(name, count)}
    assert MOST.keys() <= found.keys()
    assert over == {}, "read a record's attribute, or lower the count elsewhere"


def test_a_stage_asks_for_records(trees):
    """`context.values("stage")` and `run.artifact("stage")` give text keys: every stage has a record."""
    found = set()
    for name, tree in trees:
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            if node.func.attr not in {"values", "artifact"}:
                continue
            owner = ast.unparse(node.func.value)
            if (owner, node.func.attr) in {("context", "values"), ("run", "artifact"), ("context.run", "artifact")}:
                found.add((name, ast.literal_eval(node.args[0])))
    assert found == set()
