"""bench: measure one network on a board, or two side by side."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgedistill.cli.board_options import board_from_args, ssh_options
from edgedistill_device.engine.runners import BACKENDS

SCOPES = ("compute_ms", "host_ms", "end_to_end_ms")


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
    parser.add_argument("--runs", type=int, default=200, help="number of timed inferences (default: %(default)s)")
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
        print(text_from_compare(result) if args.compare else text_from_bench(result))
    return 0


def text_from_bench(result: dict) -> str:
    """A short table for a terminal.

    Args:
        result: JSON of a `TimedBundle`.
    """
    from edgedistill.records.benchmark import SCOPES
    from edgedistill.records.deployment import TimedBundle

    timed = TimedBundle.model_validate(result)
    report = timed.bench
    lines = [f"{report.model} on {timed.host}: {timed.executed}, {timed.provenance}"]
    if report.state != "locked":
        lines.append(f"clocks {report.state}: do not quote these figures")
    for scope in SCOPES:
        times = report.times(scope)
        if times is not None:
            tail = "" if times.p99_ms is None else f", p99 {times.p99_ms:.2f}"
            lines.append(f"  {scope.removesuffix('_ms'):10} p50 {times.p50_ms:.2f} ms{tail}")
    lines.append(f"  pipelined  {report.fps.pipelined:.1f} FPS")
    return "\n".join(lines)


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
