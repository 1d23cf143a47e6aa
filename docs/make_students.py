"""Print docs/students.md from the stored table and the predictions: python docs/make_students.py > docs/students.md"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["XDG_DATA_HOME"] = os.devnull  # what --learn stored on this computer would shift the predictions

import edgedistill  # noqa: E402
from edgedistill.config.target import targets  # noqa: E402
from edgedistill.errors import EdgeDistillError  # noqa: E402

HEAD = """# Students: size, ImageNet accuracy, predicted speed

Made by `python docs/make_students.py > docs/students.md`; do not edit. The same figures, from the commands:

```sh
edgedistill students --target jetson-nano
edgedistill choose --target jetson-nano --precision fp16 --rows 100
edgedistill choose --target orin-nano-8gb --precision fp16 --rows 100
```

All rows are for 224 px and 1,000 classes; `--image-px` and `--classes` of `choose` and `estimate` give yours.

- **Parameters, MACs** are counted in the exported ONNX file (made {made}, timm {timm}).
- **ImageNet top-1** is published for the weights in the hub, each source in `edgedistill/prediction/accuracy.csv`; in
  brackets where it was measured on larger images; empty where none was read. It is not the accuracy on your images.
- **FPS are predicted, not measured**, in FP16, the network alone, with the interval in brackets; `*` marks an
  extrapolation, for which the interval may not hold. [predict.md](predict.md) says how, and how far off it is. From:
{provenance}
- **TensorRT 8.2** is the check against the rules of the Nano's parser ([onnx.md](onnx.md)), not a run of it.

For {unknown} no usable measurement is published, so nothing is predicted."""


def imagenet(row: dict) -> str:
    known = row["imagenet"]
    if known is None:
        return ""
    shown = f"{known['top1_percent']:.1f}"
    return f"({shown})" if known["image_px"] > 1.1 * row["image_px"] else shown


def fps(row: dict | None) -> str:
    if row is None:
        return ""
    mark = "*" if any(note.startswith("extrapolated") for note in row["notes"]) else ""
    return f"{row['fps']:.0f}{mark} ({row['fps_low']:.0f} to {row['fps_high']:.0f})"


def predictions() -> tuple[dict[str, dict[str, dict]], list[str]]:
    """Target -> student -> prediction in FP16, and the targets without any."""
    predicted, unknown = {}, []
    for name, target in targets().items():
        if target.backend == "tensorrt":
            try:
                predicted[name] = {row["model"]: row for row in edgedistill.choose(name, "fp16")}
            except EdgeDistillError:
                unknown.append(f"`{name}`")
    return predicted, unknown


def main() -> None:
    table = edgedistill.students("jetson-nano")
    predicted, unknown = predictions()
    said = [next(iter(rows.values()))["provenance"].removeprefix("predicted: ") for rows in predicted.values()]
    print(
        HEAD.format(
            made=table["made"],
            timm=table["libraries"]["timm"],
            provenance="\n".join(f"  - {line}" for line in said),
            unknown=", ".join(unknown),
        )
    )
    columns = ["student", "parameters, M", "MACs, M", "ImageNet top-1, %", "TensorRT 8.2"]
    columns += [f"{title}, predicted FPS" for title in (targets()[name].title for name in predicted)]
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in table["rows"]:
        name = row["model"]
        known = predicted["jetson-nano"].get(name)
        cells = [f"`{name}`", f"{row['parameters'] / 1e6:.2f}", f"{row['macs'] / 1e6:.0f}"]
        cells += [imagenet(known) if known else "", row["preflight"]["verdict"]]
        cells += [fps(rows.get(name)) for rows in predicted.values()]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
