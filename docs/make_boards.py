"""Print docs/boards.md, the targets and which JetPack brings what: python docs/make_boards.py > docs/boards.md"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgedistill.config.target import targets
from edgedistill_device.board.jetpacks import JETPACKS, of_board

HEAD = """# Boards and JetPacks

Made by `python docs/make_boards.py > docs/boards.md`; do not edit. The rows are those of
`jetson/edgedistill_device/board/jetpacks.py`, which `doctor`, `check --json` and `target.tensorrt`
read too, and of the files in `edgedistill/config/targets/`, each of which names its sources. Where no
source was found a cell is empty. **No board was asked.**
"""
TARGETS = """
## Targets

`--target NAME`, or `target.device` of a recipe. `orin-nx` is the smallest board whose name begins so.
Not measured: no published measurement of the board is used here, so `estimate` and `choose` refuse it,
and a run says so. Any TensorRT of the last column can be named as `target.tensorrt`; 11.4 supports
JetPack 7.2.2 and is not what it brings. Orin Nano's figures are those of its Super mode.

| target | board | sm | precisions | memory, MiB | TensorRT assumed | measured | JetPack | TensorRT it can have |
|---|---|---|---|---|---|---|---|---|"""
JETPACK = """
## JetPacks

| JetPack | L4T | TensorRT | CUDA | Python | boards | read in |
|---|---|---|---|---|---|---|"""


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
    print(JETPACK)
    for row in JETPACKS:
        cells = (row.name, row.l4t, row.tensorrt, row.cuda, row.python, ", ".join(row.boards), row.source)
        print(f"| {' | '.join(cell or '' for cell in cells)} |")


if __name__ == "__main__":
    main()
