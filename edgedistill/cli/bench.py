"""bench: measure one network on a board, or two side by side."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.cli.board_options import board_from_args, ssh_options
from edgedistill.cli.screen import show
from edgedistill.core.text_table import table_lines, terminal_width
from edgedistill_device.benchmark.benchreport import FEWEST_RUNS, MOST_RUNS
from edgedistill_device.engine.runners import BACKENDS

if TYPE_CHECKING:
    from edgedistill.records.benchmark import BenchAnswer

SLOWEST = 3  # layers that are named


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", type=Path, nargs="?", metavar="WHAT", help="MODEL.onnx, a run folder, or a bundle folder"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("A", "B"),
        help="measure two of them in turns and compare: medians, their ratio and its interval",
    )
    parser.add_argument("--host", help="SSH host, as in `ssh HOST` (default: this computer)")
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        help="runtime (default: tensorrt on a board; onnxruntime here, as a stand-in)",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16"),
        default="fp16",
        help="precision to build an ONNX file in (default: %(default)s)",
    )
    parser.add_argument(
        "--runs",
        type=int,
        default=200,
        help=f"number of timed inferences, {FEWEST_RUNS} to {MOST_RUNS} (default: %(default)s)",
    )
    parser.add_argument("--python", help="Python interpreter on the board (default: python3)")
    ssh_options(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only results, no progress")


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.boards import bench

    result = bench(
        args.what,
        compare=args.compare,
        host=args.host,
        backend=args.backend,
        precision=args.precision,
        runs=args.runs,
        **board_from_args(args),
    )
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        show(text_from_compare(result) if args.compare else text_from_bench(result, terminal_width()))
    return 0


def text_from_bench(result: dict, width: int | None = None) -> str:
    """A short table for a terminal.

    Args:
        result: JSON of a `TimedBundle`.
        width: columns of the terminal; None: any.
    """
    from edgedistill.records.benchmark import SCOPES
    from edgedistill.records.deployment import TimedBundle

    timed = TimedBundle.model_validate(result)
    report = timed.bench
    rows: list[tuple[str, ...]] = [("ms", "p50", "p90", "p95", "p99", "max")]
    for scope in SCOPES:
        times = report.times(scope)
        if times is not None:
            values = (times.p50_ms, times.p90_ms, times.p95_ms, times.p99_ms, times.max_ms)
            cells = ("-" if value is None else f"{value:.2f}" for value in values)
            rows.append((scope.removesuffix("_ms"), *cells))
    fps = report.fps
    alone = "" if fps.host is None else f"{fps.host:.1f} the network alone, "
    lines = [
        f"{report.model} on {timed.host}: {timed.executed}, {timed.provenance}",
        *table_lines(rows, range(1, 6), width),
        f"FPS: {alone}{fps.end_to_end:.1f} from the image file, {fps.pipelined:.1f} pipelined",
    ]
    if report.power is not None and report.power.energy_mj is not None:
        lines.append(f"{report.power.energy_mj:.1f} mJ an image, pipelined, of {report.power.input_rail}")
    if report.layer_times is not None:
        slowest = sorted(report.layer_times.layers, key=lambda layer: -layer.median_ms)[:SLOWEST]
        names = ", ".join(f"{layer.name[:40]} {layer.median_ms:.3f} ms" for layer in slowest)
        lines.append(f"slowest of {len(report.layer_times.layers)} layers, profiled apart: {names}")
    return "\n".join([*lines, *_conditions(report)])


def _conditions(report: BenchAnswer) -> list[str]:
    """Whether to believe the figures, and which there are not."""
    warnings = "; ".join(report.warnings or ())
    lines = [warnings] if warnings else []
    if report.state != "locked":
        lines = [f"do not quote these figures: {warnings or f'clocks {report.state}'}"]
    if report.absent:
        lines.append(f"not measured: {', '.join(sorted(report.absent))} (--json says why)")
    return lines


def text_from_compare(result: dict) -> str:
    """The same for two.

    Args:
        result: JSON of a `CompareAnswer`.
    """
    from edgedistill.records.benchmark import SCOPES, CompareAnswer

    report = CompareAnswer.model_validate(result)
    a, b = report.a, report.b
    lines = [
        f"A {a.model} ({a.executed}), B {b.model} ({b.executed}) on {report.host}, "
        f"{a.provenance}; {report.rounds} rounds {report.order}"
    ]
    if report.state != "locked":
        lines.append(f"clocks {report.state}: the ratio is fair, do not quote the times")
    for scope in SCOPES:
        ratio, of_a, of_b = report.ratio.of(scope), a.times(scope), b.times(scope)
        if ratio is not None and of_a is not None and of_b is not None:
            faster = {"a": "A is faster", "b": "B is faster"}.get(ratio.faster or "", "no difference was seen")
            interval = f"{ratio.low:.3f} to {ratio.high:.3f}, {100 * ratio.coverage_fraction:.0f} %"
            times = f"A {of_a.p50_ms:.3f} ms, B {of_b.p50_ms:.3f} ms"
            lines.append(f"  {scope.removesuffix('_ms'):10} {times}, A/B {ratio.a_over_b:.3f} ({interval}): {faster}")
    return "\n".join(lines)
