"""Make attributes.csv and types.csv of the pre-flight from a clone of onnx/onnx-tensorrt.

usage: python docs/make_importers.py CLONE

attributes.csv: for each operator, the attributes that the importer of each release reads. What it does
not read has no effect on the board, whatever the file says.
types.csv: for each operator, the types that docs/operators.md of that branch names.
Only names are taken. A body is followed into the helper functions that get the node or its attributes.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import onnx

BRANCHES = {"trt_8_2": "8.2-GA", "trt_8_5": "8.5-GA", "trt_8_6": "8.6-GA", "trt_10": "10.1-GA"}
FOLDER = Path(__file__).parent.parent / "edgedistill" / "onnx_model"
# Importers that hand the whole node to another importer, or read a name out of a variable.
DELEGATES = {
    "ReduceL2": "ReduceSum", "ReduceLogSum": "ReduceSum", "ReduceLogSumExp": "ReduceSum",
    "Scatter": "ScatterElements",
}  # fmt: skip
BY_VARIABLE = {
    "RandomNormal": {"mean", "scale"}, "RandomNormalLike": {"mean", "scale"},
    "RandomUniform": {"low", "high"}, "RandomUniformLike": {"low", "high"},
}  # fmt: skip
_IMPORTER = re.compile(r"DEFINE(?:_BUILTIN)?_OP_(?:IMPORTER|CHECKER)\((\w+)\)\s*\{")
_FUNCTION = re.compile(r"^[\w:<>,&*\s]+?\b(\w+)\([^;{}]*\)\s*(?:const)?\s*\{", re.MULTILINE)
_READ = re.compile(r'(?:attrs|\})\s*\.\s*(?:get|count|at|type)\s*(?:<[^()]*?>)?\s*\(\s*"(\w+)"')


def main(clone: str) -> None:
    shown = {column: _show(clone, branch) for column, branch in BRANCHES.items()}
    operators = [row["op"] for row in csv.DictReader((FOLDER / "operators.csv").open())]
    reads = {column: attributes_read(files) for column, files in shown.items()}
    types = {column: documented_types(files["docs/operators.md"]) for column, files in shown.items()}
    _write("attributes.csv", operators, reads)
    _write("types.csv", operators, types)


def _show(clone: str, branch: str) -> dict[str, str]:
    """{path: text} of the sources at the top of a branch, and its table of operators."""
    names = _git(clone, "ls-tree", "--name-only", branch).split()
    names = [name for name in names if name.endswith((".cpp", ".hpp"))] + ["docs/operators.md"]
    return {name: _git(clone, "show", f"{branch}:{name}") for name in names}


def _git(clone: str, *words: str) -> str:
    done = subprocess.run(["git", "-C", clone, *words], check=True, capture_output=True)
    return done.stdout.decode("utf-8", "replace")


def attributes_read(files: dict[str, str]) -> dict[str, str]:
    """{operator: names of attributes that its importer reads, sorted}."""
    importers: dict[str, str] = {}
    functions: dict[str, str] = {}
    for name, text in files.items():
        if name.endswith(".md"):
            continue
        plain = re.sub(r"/\*.*?\*/", "", re.sub(r"//[^\n]*", "", text), flags=re.DOTALL)
        for pattern, into in ((_IMPORTER, importers), (_FUNCTION, functions)):
            for match in pattern.finditer(plain):
                body = _block(plain, match.end())
                into[match.group(1)] = into.get(match.group(1), "") + body
    found = {op: _names(body, functions, set()) for op, body in importers.items()}
    for op, other in DELEGATES.items():
        found[op] = found[op] | found[other]
    for op, names in BY_VARIABLE.items():
        if op in found:
            found[op] = found[op] | names
    return {op: " ".join(sorted(names)) for op, names in found.items()}


def _block(text: str, start: int) -> str:
    """What stands between a brace, whose end is `start`, and the one that closes it."""
    depth, end = 1, start
    while depth and end < len(text):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    return text[start:end]


def _names(body: str, functions: dict[str, str], seen: set[str]) -> set[str]:
    found = set(_READ.findall(body))
    for name in set(re.findall(r"\b(\w+)\s*\(", body)) - seen:
        inside = functions.get(name, "")
        if "attrs" in inside or "node" in inside:
            seen.add(name)
            found |= _names(inside, functions, seen)
    return found


def documented_types(table: str) -> dict[str, str]:
    """{operator: types, in ONNX's words} of those that the table says are supported."""
    words = {"FP32": "FLOAT", "FP16": "FLOAT16", "BF16": "BFLOAT16", "INF64": "INT64"}
    found = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) > 1 and cells[1].startswith("Y"):
            named = re.findall(r"[A-Z]+[0-9]*", cells[2]) if len(cells) > 2 else []
            found[cells[0]] = " ".join(sorted({words.get(name, name) for name in named}))
    return found


def _write(name: str, operators: list[str], by_column: dict[str, dict[str, str]]) -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    with (FOLDER / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["op", *by_column])
        for op in operators:
            row = [by_column[column].get(op, "") for column in by_column]
            if op in known and any(row):
                writer.writerow([op, *row])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
