"""`edgedistill students`: which networks can be students, and what each board's parser says of them.

The networks are those of families.py. The answer is stored in students.json, with the date and the libraries it was
made with; `edgedistill students --refresh` makes it again. Weights are random, so nothing here is about accuracy.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from edgedistill.config.target import load_target
from edgedistill.core.text_table import table_lines

STORED = "students.json"
IMAGE_PX, CLASSES, SEED = 224, 1000, 0


def stored() -> dict[str, Any]:
    """The table that the package brings."""
    text = (resources.files("edgedistill.models") / STORED).read_text(encoding="utf-8")
    return json.loads(text)


def students(target_name: str, table: dict[str, Any] | None = None) -> dict[str, Any]:
    """The table for one board: target, tensorrt, made, libraries, compiler, rows.

    Args:
        table: of all boards, as `stored` gives it; the stored one when None.

    Raises:
        RecipeError: no such board.
    """
    target, table = load_target(target_name), table or stored()
    rows = []
    for row in table["rows"]:
        verdict = row["preflight"].get(target.tensorrt) if target.tensorrt else None
        rows.append({**{k: v for k, v in row.items() if k != "preflight"}, "preflight": verdict})
    facts = {key: value for key, value in table.items() if key != "rows"}
    return {"target": target.name, "tensorrt": target.tensorrt, **facts, "rows": rows}


def text_from_students(table: dict[str, Any], width: int | None = None) -> str:
    """A row for each network, why some do not fit, and what the verdicts rest on.

    Args:
        table: as `students` gives it.
        width: columns of the terminal; None: any.
    """
    release = f"TensorRT {table['tensorrt']}" if table["tensorrt"] else "no TensorRT"
    rows, reasons = [("model", "params", "MACs", "export", release, "compile")], []
    for row in table["rows"]:
        size = (f"{row['parameters'] / 1e6:.2f} M", f"{row['macs'] / 1e6:.0f} M") if row["macs"] else ("", "")
        parts = (row["export"], row["preflight"], row["compile"])
        rows.append((row["model"], *size, *map(verdict_word, parts)))
        reasons += [f"{row['model']}: {part['reason']}" for part in parts if part and part.get("reason")]
    lines = [*table_lines(rows, right=(1, 2), width=width), *reasons]
    libraries = ", ".join(f"{name} {version}" for name, version in table["libraries"].items())
    lines.append(
        f"made {table['made']} at {table['image_px']} px with random weights, in {table['seconds']:.0f} s "
        f"({libraries}); export is proved in ONNX Runtime, the pre-flight is rules read from the "
        f"parser's source, the compiler was {table['compiler']}: no board was asked"
    )
    return "\n".join(lines)


def verdict_word(part: dict[str, Any] | None) -> str:
    return part["verdict"] if part else "not asked"
