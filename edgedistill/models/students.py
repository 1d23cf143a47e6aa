"""`edgedistill students`: which networks can be students, and what each board's parser says of them.

The answer is stored in students.json, with the date and the libraries it was made with; `refresh`
makes it again. Weights are random, so nothing here is about accuracy.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from edgedistill.config.target import load_target

STORED = "students.json"
IMAGE_PX, CLASSES, SEED = 224, 1000, 0

STUDENTS = (
    "mobilenetv1_100",
    "mobilenetv1_100h",
    "mobilenetv1_125",
    "mobilenetv2_035",
    "mobilenetv2_050",
    "mobilenetv2_075",
    "mobilenetv2_100",
    "mobilenetv2_110d",
    "mobilenetv2_120d",
    "mobilenetv2_140",
    "mobilenetv3_small_050",
    "mobilenetv3_small_075",
    "mobilenetv3_small_100",
    "mobilenetv3_large_075",
    "mobilenetv3_large_100",
    "mobilenetv3_rw",
    "tf_mobilenetv3_small_075",
    "tf_mobilenetv3_small_100",
    "tf_mobilenetv3_small_minimal_100",
    "tf_mobilenetv3_large_075",
    "tf_mobilenetv3_large_100",
    "tf_mobilenetv3_large_minimal_100",
    "mobilenetv4_conv_small_035",
    "mobilenetv4_conv_small_050",
    "mobilenetv4_conv_small",
    "mobilenetv4_conv_medium",
    "mobilenetv4_conv_blur_medium",
    "mobilenetv4_conv_aa_medium",
    "mobilenetv4_conv_large",
    "mobilenetv4_conv_aa_large",
    "mobilenetv4_hybrid_medium_075",
    "mobilenetv4_hybrid_medium",
    "mobilenetv4_hybrid_large_075",
    "mobilenetv4_hybrid_large",
    "efficientnet_b0",
    "tf_efficientnet_b0",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "tf_efficientnet_lite0",
    "tf_efficientnet_lite1",
    "tf_efficientnet_lite2",
    "squeezenet1_0",
    "squeezenet1_1",
    "ghostnet_050",
    "ghostnet_100",
    "ghostnet_130",
    "mnasnet_small",
    "mnasnet_050",
    "mnasnet_075",
    "mnasnet_100",
    "mnasnet_140",
    "fbnetc_100",
    "lcnet_035",
    "lcnet_050",
    "lcnet_075",
    "lcnet_100",
    "lcnet_150",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
    "regnetx_002",
    "resnet18",
    "mobileone_s0",
    "repvgg_a0",
)


def stored() -> dict[str, Any]:
    """What the last refresh found."""
    text = (resources.files("edgedistill.models") / STORED).read_text(encoding="utf-8")
    return json.loads(text)


def students(target_name: str) -> dict[str, Any]:
    """The stored table for one board: target, tensorrt, made, libraries, compiler, rows.

    Raises:
        RecipeError: no such board.
    """
    target, table = load_target(target_name), stored()
    rows = []
    for row in table["rows"]:
        verdict = row["preflight"].get(target.tensorrt) if target.tensorrt else None
        rows.append({**{k: v for k, v in row.items() if k != "preflight"}, "preflight": verdict})
    kept = {key: value for key, value in table.items() if key != "rows"}
    return {"target": target.name, "tensorrt": target.tensorrt, **kept, "rows": rows}


def text_from_students(table: dict[str, Any]) -> str:
    release = f"TensorRT {table['tensorrt']}" if table["tensorrt"] else "no TensorRT"
    lines = [f"{'model':34}{'M params':>9}{'M MACs':>8}  {'export':10}{release:16}compile"]
    for row in table["rows"]:
        size = (f"{row['parameters'] / 1e6:9.2f}", f"{row['macs'] / 1e6:8.0f}") if row["macs"] else ("", "")
        preflight, compiled = row["preflight"], row["compile"]
        lines.append(
            f"{row['model']:34}{size[0]:>9}{size[1]:>8}  {verdict_word(row['export']):10}"
            f"{verdict_word(preflight):16}{verdict_word(compiled)}"
        )
        lines += [f"  {part['reason']}" for part in (row["export"], preflight, compiled) if part and part.get("reason")]
    libraries = ", ".join(f"{name} {version}" for name, version in table["libraries"].items())
    lines.append(
        f"made {table['made']} at {table['image_px']} px with random weights, in {table['seconds']:.0f} s "
        f"({libraries}); export is proved in ONNX Runtime, the pre-flight is rules read from the "
        f"parser's source, the compiler was {table['compiler']}: no board was asked"
    )
    return "\n".join(lines)


def verdict_word(part: dict[str, Any] | None) -> str:
    return part["verdict"] if part else "not asked"


def stored_path() -> Path:
    """Where `--refresh` writes: beside this module."""
    return Path(str(resources.files("edgedistill.models") / STORED))
