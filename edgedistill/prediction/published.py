"""What others published of a network on a board: exact matches, and how the other rows of it differ."""

from __future__ import annotations

from collections.abc import Iterator

from edgedistill.prediction.latency import hardware
from edgedistill.prediction.published_rows import OTHER_HEAD, boards, network_of, published
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
        runtime_version, fps, latency_ms, watts ("" where not stated), grade, source.
    """
    return [{**row} for row, differs in _of(target, model, precision, image_px) if not differs]


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
        board, mode = boards().get(row["device"], ("", ""))
        if board != target or network_of(row) != network:
            continue
        usual = hardware()[board].usual_mode
        differs = [
            f"{what} not stated" if row[key] == "not stated" else f"batch {row[key]}" if key == "batch" else row[key]
            for key, what, asked in (
                ("input_hw", "size", f"{height}x{width}"),
                ("precision", "precision", precision.upper()),
                ("batch", "batch", "1"),
            )
            if row[key] != asked
        ]
        differs += [f"power mode {mode}"] if mode not in ("", usual) else []
        yield row, differs + ([OTHER_HEAD] if row["model"].endswith(f"({OTHER_HEAD})") else [])


def published_of(target: str) -> list[dict[str, str]]:
    """All rows of a board, each with the power mode that its name states, "" where none, as `mode`.

    Args:
        target: name in config/targets.
    """
    return [
        {"mode": mode, **row}
        for row in published()
        for board, mode in [boards().get(row["device"], ("", ""))]
        if board == target
    ]


def boards_with_rows() -> list[str]:
    """Names of the boards that the table has rows of."""
    return sorted({boards()[row["device"]][0] for row in published() if row["device"] in boards()})
