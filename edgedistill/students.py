"""`edgedistill students`: which networks can be students, and what each board's parser says of them.

The answer is stored in students.json, with the date and the libraries it was made with; `refresh`
makes it again. Weights are random, so nothing here is about accuracy.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import tempfile
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from edgedistill.callable_module import call_as_verb
from edgedistill.errors import EdgeDistillError
from edgedistill.run_folder import write_json
from edgedistill.target import load_target, releases

call_as_verb(__name__)

STORED = "students.json"
IMAGE_PX, CLASSES, SEED = 224, 1000, 0
_LIBRARIES = ("torch", "torchvision", "timm", "onnx", "onnxruntime", "onnxslim", "tensorrt-rtx")

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
    text = (resources.files("edgedistill") / STORED).read_text(encoding="utf-8")
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
            f"{row['model']:34}{size[0]:>9}{size[1]:>8}  {_word(row['export']):10}"
            f"{_word(preflight):16}{_word(compiled)}"
        )
        lines += [f"  {part['reason']}" for part in (row["export"], preflight, compiled) if part and part.get("reason")]
    libraries = ", ".join(f"{name} {version}" for name, version in table["libraries"].items())
    lines.append(
        f"made {table['made']} at {table['image_px']} px with random weights, in {table['seconds']:.0f} s "
        f"({libraries}); export is proved in ONNX Runtime, the pre-flight is rules read from the "
        f"parser's source, the compiler was {table['compiler']}: no board was asked"
    )
    return "\n".join(lines)


def _word(part: dict[str, Any] | None) -> str:
    return part["verdict"] if part else "not asked"


def refresh(path: Path, say: Callable[[str], None], names: tuple[str, ...] = STUDENTS) -> dict[str, Any]:
    """Export, check and compile every student anew, and write the table.

    Raises:
        RunFolderError: the file cannot be written.
    """
    from edgedistill.onnx_model.compile import COMPILERS, compiler_here

    started, rows = time.monotonic(), []
    for number, name in enumerate(names, start=1):
        rows.append(_examined(name))
        say(f"{number}/{len(names)} {name}: {_word(rows[-1]['export'])} ({time.monotonic() - started:.0f} s)")
    compiler = compiler_here()
    table = {
        "made": datetime.date.today().isoformat(),
        "seconds": round(time.monotonic() - started, 1),
        "image_px": IMAGE_PX,
        "classes": CLASSES,
        "seed": SEED,
        "libraries": {name: _version(name) for name in _LIBRARIES if _version(name)},
        "compiler": COMPILERS[compiler] if compiler else "none",
        "rows": rows,
    }
    write_json(path, table)
    return table


def stored_path() -> Path:
    """Where `--refresh` writes: beside this module."""
    return Path(str(resources.files("edgedistill") / STORED))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _examined(name: str) -> dict[str, Any]:
    from edgedistill.models.build import parameter_count
    from edgedistill.onnx_model.graph import count
    from edgedistill.onnx_model.preflight import check_onnx

    row: dict[str, Any] = {
        "model": name,
        "parameters": None,
        "macs": None,
        "export": None,
        "preflight": {},
        "compile": None,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        try:
            model = randomised(name)
            row["parameters"] = parameter_count(model)
            proof = _export(model, path)
        except EdgeDistillError as error:
            return {**row, "export": {"verdict": "fails", "reason": str(error)}}
        row["macs"] = count(path)["macs"]
        row["export"] = {
            "verdict": "proved",
            "relative_difference": proof["max_relative_difference"],
        }
        for release in releases():
            findings = check_onnx(path, load_target("jetson-nano", release))
            errors = [finding for finding in findings if finding.level == "error"]
            verdict = {
                "verdict": "does not fit" if errors else "fits",
                "warnings": len(findings) - len(errors),
            }
            if errors:
                verdict["reason"] = f"{len(errors)} faults, first at {errors[0].node}: {errors[0].why}"
            row["preflight"][release] = verdict
        row["compile"] = _compiled(path)
    return row


def randomised(name: str):
    """The model in eval mode, with random weights and random BatchNorm statistics of a fixed seed.

    Fresh statistics are 0 and 1, with which a normalisation that was folded wrongly goes unseen.
    """
    import torch

    from edgedistill.models.build import build_model

    torch.manual_seed(SEED)
    model = build_model(name, CLASSES).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.affine:
            with torch.no_grad():
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    return model


def _export(model, path: Path) -> dict[str, Any]:
    import numpy as np

    from edgedistill.onnx_model.export import onnx_from_model

    probe = np.random.default_rng(SEED).normal(size=(2, 3, IMAGE_PX, IMAGE_PX))
    return onnx_from_model(model, probe.astype(np.float32), path, {})


def _compiled(path: Path) -> dict[str, Any] | None:
    from edgedistill.onnx_model.compile import compile_onnx, compiler_here

    if compiler_here() is None:
        return None
    found = compile_onnx(path)
    reason = {} if found["verdict"] == "builds" else {"reason": "; ".join(found["said"])}
    return {"verdict": found["verdict"], "version": found["version"], **reason}
