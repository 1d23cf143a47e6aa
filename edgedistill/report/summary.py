"""The short table at the end of a run."""

from __future__ import annotations

from typing import Any


def summary_table(report: dict[str, Any]) -> str:
    """Plain text, at most 100 columns."""
    rows = [("", "model", "top-1", "balanced", "params", "MACs", "ONNX")]
    for name in ("teacher", "baseline", "student"):
        net = report[name]
        rows.append((
            name, net["model"], f"{net['top1_fraction']:.1%}",
            f"{net['balanced_accuracy_fraction']:.1%}", f"{net['parameters'] / 1e6:.2f} M",
            f"{net['macs'] / 1e6:.1f} M", f"{net['file_bytes'] / 1e6:.1f} MB",
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in rows]  # fmt: skip
    gain, device = report["gain"], report["device"]
    low, high = gain["top1_points_interval"]
    ladder = ", ".join(f"{name} {step['top1_fraction']:.1%}"
                       for name, step in report["accuracy_ladder"].items())  # fmt: skip
    published = report["published"]
    board = published["reason"] or ", ".join(
        f"{row['fps']} FPS ({row['source']})" for row in published["rows"]
    )
    return "\n".join([
        *lines,
        "",
        f"retention   {report['retention_fraction']:.1%} of the teacher's {_words(report['metric'])}",
        f"gain        {report['gain_over_baseline_points']:+.1f} points of {_words(report['metric'])} over "
        "the baseline",
        f"            {gain['top1_points']:+.1f} points of top-1, 95 % interval {low:+.1f} to {high:+.1f}. "
        f"{gain['sentence']}",
        f"ratios      size {report['size_ratio']:.1f} x, MACs {report['macs_ratio']:.1f} x smaller than the teacher",
        f"ladder      {ladder} (top-1; fp16 and int8 simulated in ONNX Runtime)",
        f"here        {device['fps']['host']:.0f} FPS network, {device['fps']['end_to_end']:.0f} FPS from the file "
        f"({device['provenance']})",
        f"{device['target']:<11} {board}",
        *(f"note        {line}" for line in report["warnings"]),
    ])  # fmt: skip


def _words(metric: str) -> str:
    return metric.removesuffix("_fraction").replace("_", " ").replace("top1", "top-1")
