"""Print docs/boards.md, the targets and which JetPack brings what: python docs/make_boards.py > docs/boards.md"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgedistill.config.target import Release, Target, releases, targets
from edgedistill_device.board.jetpacks import JETPACKS, JetPack, of_board, release_of
from edgedistill_device.engine.precision import AMAX, HALF, QDQ, choose
from edgedistill_device.imports import OLDEST_TENSORRT, tensorrt_is_too_old

HEAD = """# Boards and JetPacks

Made by `python docs/make_boards.py > docs/boards.md`; do not edit. The rows are those of
`jetson/edgedistill_device/board/jetpacks.py`, which `doctor`, `check --json` and `target.tensorrt`
read too, and of the files in `edgedistill/config/targets/`, each of which names its sources. Where no
source was found a cell is empty. **No board was asked.**
"""
TARGETS = """
## Targets

`--target NAME`, or `target.device` of a recipe. `orin-nx` is the smallest board whose name begins so.
Not measured: no published measurement of the board is used here, and a run says so; `estimate` and
`choose` refuse it or, of Orin NX, predict it from others of its kind of chip ([predict.md](predict.md)).
Any TensorRT of the last column can be named as `target.tensorrt`; 11.4 supports JetPack 7.2.2 and
is not what it brings.

| target | board | sm | precisions | memory, MiB | TensorRT assumed | measured | JetPack | TensorRT it can have |
|---|---|---|---|---|---|---|---|---|"""
PRECISION = """
## What is executed, by which file

What `build` chooses on each board with what its JetPack brings, by the rules that run there
(`jetson/edgedistill_device/engine/precision.py`), for a bundle of that TensorRT with INT8 that passed its gate: the
precision, then the bundle's file and how TensorRT is told. A builder may still choose other kernels: the engine's
layers are counted, and the report has what they are. Where no TensorRT is known the row is left out.

| target | JetPack | TensorRT | asked FP16 | asked INT8 |
|---|---|---|---|---|"""
JETPACK = """
## JetPacks

| JetPack | L4T | TensorRT | CUDA | Python | boards | read in |
|---|---|---|---|---|---|---|"""


def _span(rows: list[JetPack]) -> str:
    return rows[0].name if len(rows) == 1 else f"{rows[0].name} to {rows[-1].name}"


def _by_tensorrt(target: str) -> list[list[JetPack]]:
    """A board's JetPacks, those together that bring the same TensorRT."""
    found: dict[str, list[JetPack]] = {}
    for row in of_board(target):
        if row.tensorrt:
            found.setdefault(row.tensorrt, []).append(row)
    return list(found.values())


def _executed(target: Target, row: JetPack) -> tuple[str, str]:
    """Cells of FP16 and INT8."""
    if tensorrt_is_too_old(row.tensorrt):
        refused = f"refused: TensorRT before {'.'.join(map(str, OLDEST_TENSORRT))}"
        return refused, refused
    release = releases()[release_of(row)]
    return _cell(target, release, row, "fp16"), _cell(target, release, row, "int8")


def _cell(target: Target, release: Release, row: JetPack, asked: str) -> str:
    flags = not release.typed
    features = {"tensorrt": row.tensorrt, "fp16_flag": flags, "int8_flag": flags, "calibrator": flags}
    files = {AMAX, QDQ, *((HALF,) if release.typed else ())}
    choice = choose(asked, target.sm, features | {"fast_fp16": None, "fast_int8": None}, files)
    how = choice.int8_by or ("types in the file" if release.typed else "builder flag")
    return f"{choice.executed.upper()}: `{choice.onnx}`, {how}"


def main() -> None:
    print(HEAD + TARGETS)
    for name, target in targets().items():
        rows = of_board(name)
        span = f"{rows[0].name} to {rows[-1].name}" if rows else ""
        measured = "yes" if target.published else "no" if target.release else "here"
        cells = (
            *(f"`{name}`", target.title, str(target.sm or ""), ", ".join(target.precisions)),
            *(str(target.memory_mib or ""), target.tensorrt, measured, span, ", ".join(target.possible_tensorrt)),
        )
        print(f"| {' | '.join(cells)} |")
    print(PRECISION)
    boards: dict[tuple[str, ...], list[str]] = {}
    for name, target in targets().items():
        for rows in _by_tensorrt(name):
            cells = (_span(rows), rows[0].tensorrt or "", *_executed(target, rows[0]))
            boards.setdefault(cells, []).append(f"`{name}`")
    for cells, names in sorted(boards.items(), key=lambda item: [int(n) for n in item[0][1].split(".")]):
        print(f"| {' | '.join((', '.join(names), *cells))} |")
    print(JETPACK)
    for row in JETPACKS:
        cells = (row.name, row.l4t, row.tensorrt, row.cuda, row.python, ", ".join(row.boards), row.source)
        print(f"| {' | '.join(cell or '' for cell in cells)} |")


if __name__ == "__main__":
    main()
