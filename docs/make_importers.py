"""Make operators.csv, attributes.csv and types.csv of the pre-flight from a clone of onnx/onnx-tensorrt.

usage: python docs/make_importers.py CLONE

operators.csv: for each operator, Y where an importer of the release is registered, N where none is, ? where
NVIDIA documents one whose source was not read. Notes are kept as they are.
attributes.csv: for each operator, the attributes that the importer of each release reads. What it does
not read has no effect on the board, whatever the file says.
types.csv: for each operator, the types that docs/operators.md of that release names.
Only names are taken. A body is followed into the helper functions that get the node or its attributes.

No clone that could be had reaches beyond 10.10, so the columns of 10.16 and 11.4 are that source and, on top,
`LATER`: what was read by hand, each with where. CLONE must hold all of COMMITS: 8.2-GA and 8.5-GA are branches of
onnx/onnx-tensorrt, the two commits of 10 are what NVIDIA/TensorRT v10.3.0 and v10.10.0 name as parsers/onnx.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import onnx

_10_10 = "3b9c961a4318cea6fa1fa5f064562064eb27a9bd"
COMMITS = {
    "trt_8_2": "f42daeee49f2517a954c5601f0f76bef9ed94b62",
    "trt_8_5": "fdeeaca87ad2eef316aafb016e1822502f383eea",
    "trt_8_6": "ee0b139bc68567a89618c1d84dcd461cc144aad4",
    "trt_10_3": "62bdde2a04fcd53c2409cb895ee18db445b7e755",
    "trt_10_16": _10_10,
    "trt_11_4": _10_10,
}
_FLOATS = "BFLOAT16 FLOAT FLOAT16"
# operator -> (attributes read, or None: its source was not read; types). 10.16: docs/operators.md at 6bde659 (what
# NVIDIA/TensorRT v10.16 names), Attention in onnxOpImporters.cpp there and AttentionHelpers.cpp at fa5aa9f (10.15);
# RMSNormalization, Swish and TensorScatter in onnxOpImporters.cpp at 5ab48c5 (11.0).
_LATER_10_16 = {
    "Attention": ("is_causal kv_num_heads q_num_heads scale", f"{_FLOATS} FLOAT8E4M3FN INT8"),
    "BlackmanWindow": ("output_datatype periodic", "FLOAT FLOAT16"),
    "HammingWindow": ("output_datatype periodic", "FLOAT FLOAT16"),
    "HannWindow": ("output_datatype periodic", "FLOAT FLOAT16"),
    "Pow": ("", f"{_FLOATS} INT32 INT64"),  # from 10.12
    "RMSNormalization": ("axis epsilon stash_type", _FLOATS),
    "RotaryEmbedding": (None, _FLOATS),
    "TensorScatter": ("axis mode", f"{_FLOATS} INT32"),
}
# 11.4: docs/operators.md at 7c51a63 (11.1, the newest that could be read) and NVIDIA's release notes of 11.2 to 11.4.
_LATER_11_4 = _LATER_10_16 | {
    "DFT": (None, ""),  # from 11.2; its types are not documented
    "GridSample": ("align_corners mode padding_mode", _FLOATS),  # five dimensions and BFLOAT16 from 11.2
    "Swish": ("alpha", _FLOATS),  # from 11.0
}
LATER = {"trt_10_16": _LATER_10_16, "trt_11_4": _LATER_11_4}
FOLDER = Path(__file__).parent.parent / "edgedistill" / "onnx_model"
# Importers that hand the whole node to another importer, or read a name out of a variable.
DELEGATES = {
    "ReduceL2": "ReduceSum",
    "ReduceLogSum": "ReduceSum",
    "ReduceLogSumExp": "ReduceSum",
    "Scatter": "ScatterElements",
}
BY_VARIABLE = {
    "RandomNormal": {"mean", "scale"},
    "RandomNormalLike": {"mean", "scale"},
    "RandomUniform": {"low", "high"},
    "RandomUniformLike": {"low", "high"},
}
_IMPORTER = re.compile(r"DEFINE(?:_BUILTIN)?_OP_(?:IMPORTER|CHECKER)\((\w+)\)\s*\{")
_FUNCTION = re.compile(r"^[\w:<>,&*\s]+?\b(\w+)\([^;{}]*\)\s*(?:const)?\s*\{", re.MULTILINE)
_READ = re.compile(r'(?:attrs|\})\s*\.\s*(?:get|count|at|type)\s*(?:<[^()]*?>)?\s*\(\s*"(\w+)"')


def main(clone: str) -> None:
    shown = {column: _show(clone, commit) for column, commit in COMMITS.items()}
    reads, types, importers = {}, {}, {}
    for column, files in shown.items():
        later = LATER.get(column, {})
        reads[column] = attributes_read(files) | {op: read or "" for op, (read, _) in later.items()}
        types[column] = documented_types(files["docs/operators.md"]) | {op: kinds for op, (_, kinds) in later.items()}
        registered = dict.fromkeys(registered_importers(files), "Y")
        importers[column] = registered | {op: "?" if read is None else "Y" for op, (read, _) in later.items()}
    operators = _write_operators(importers)
    _write("attributes.csv", operators, reads)
    _write("types.csv", operators, types)


def _write_operators(importers: dict[str, dict[str, str]]) -> list[str]:
    """The operators of the file and those that came since, sorted; notes stay."""
    with (FOLDER / "operators.csv").open(encoding="utf-8") as file:
        notes = {row["op"]: row["note"] for row in csv.DictReader(file)}
    operators = sorted({*notes, *(op for later in LATER.values() for op in later)}, key=str.lower)
    with (FOLDER / "operators.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["op", *importers, "note"])
        for op in operators:
            writer.writerow([op, *(importers[column].get(op, "N") for column in importers), notes.get(op, "")])
    return operators


def _show(clone: str, commit: str) -> dict[str, str]:
    """{path: text} of the sources of a commit, and its table of operators."""
    names = _git(clone, "ls-tree", "--name-only", commit).split()
    names = [name for name in names if name.endswith((".cpp", ".hpp"))] + ["docs/operators.md"]
    return {name: _git(clone, "show", f"{commit}:{name}") for name in names}


def _git(clone: str, *words: str) -> str:
    done = subprocess.run(["git", "-C", clone, *words], check=True, capture_output=True)  # noqa: S607 - from PATH
    return done.stdout.decode("utf-8", "replace")


def attributes_read(files: dict[str, str]) -> dict[str, str]:
    """{operator: names of attributes that its importer reads, sorted}."""
    importers: dict[str, str] = {}
    functions: dict[str, str] = {}
    for name, text in files.items():
        if name.endswith(".md"):
            continue
        plain = _without_comments(text)
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


def registered_importers(files: dict[str, str]) -> set[str]:
    plain = "".join(_without_comments(text) for name, text in files.items() if not name.endswith(".md"))
    return set(re.findall(r"DEFINE_BUILTIN_OP_IMPORTER\((\w+)\)\s*\{", plain))


def _without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", re.sub(r"//[^\n]*", "", text), flags=re.DOTALL)


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
    words = {
        "FP32": "FLOAT",
        "FP16": "FLOAT16",
        "BF16": "BFLOAT16",
        "INF64": "INT64",
        "FP8": "FLOAT8E4M3FN",
        "FP4": "FLOAT4E2M1",
    }
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
