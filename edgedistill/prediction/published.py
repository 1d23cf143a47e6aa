"""What others published of a network on a board: exact matches, and how the other rows of it differ."""

from __future__ import annotations

from collections.abc import Iterator

from edgedistill.prediction.published_rows import NETWORKS, boards, published, slower_modes
from edgedistill_device.preprocess_spec import size_of


def published_rows(target: str, model: str, precision: str, image_px: int | tuple[int, int]) -> list[dict[str, str]]:
    """Rows for exactly this board, network, precision and size; [] when nothing is published.

    Args:
        target: name in edgedistill/targets.
        model: timm or torchvision name, with or without the tag of its weights.
        precision: `fp32`, `fp16` or `int8`, as executed, not as requested.
        image_px: side, or (height, width).

    Returns:
        Rows of the table, all values as text: device, model, input_hw, batch, precision, runtime,
        runtime_version, fps, latency_ms ("" where not stated), source.
    """
    return [row for row, differs in _of(target, model, precision, image_px) if not differs]


def other_rows(target: str, model: str, precision: str, image_px: int | tuple[int, int]) -> list[dict[str, str]]:
    """Rows of this network on this board that answer another question; arguments as above.

    Returns:
        Rows of the table with one more value, `differs`: `256x256, FP32`, what was not asked.
    """
    return [
        {**row, "differs": ", ".join(differs)} for row, differs in _of(target, model, precision, image_px) if differs
    ]


def _of(
    target: str, model: str, precision: str, image_px: int | tuple[int, int]
) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Rows of this network on this board, each with how it differs from what is asked."""
    network, (height, width) = model.partition(".")[0], size_of(image_px)
    for row in published():
        board, mode = slower_modes().get(row["device"], (boards().get(row["device"]), ""))
        if board != target or NETWORKS.get(row["model"]) != network:
            continue
        differs = [
            f"{what} not stated" if row[key] == "not stated" else row[key]
            for key, what, asked in (
                ("input_hw", "size", f"{height}x{width}"),
                ("precision", "precision", precision.upper()),
            )
            if row[key] != asked
        ]
        yield row, [*differs, *([f"power mode {mode}"] if mode else [])]
