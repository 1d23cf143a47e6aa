"""bench: a board's figures for one network, or for two side by side."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgedistill.cli.board_options import ssh_options
from edgedistill.errors import UsageError
from edgedistill_device.engine.runners import BACKENDS

HELP = "a board's figures for an ONNX file or a run, without deploying it"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", type=Path, nargs="?", metavar="WHAT", help="MODEL.onnx, a run folder, or a bundle folder"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("A", "B"),
        help="two of them in turns: medians, their ratio and its interval",
    )
    parser.add_argument("--host", help="the board, any word that ssh accepts (default: this computer)")
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        help="default: tensorrt on a board, onnxruntime here, a stand-in",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16"),
        default="fp16",
        help="asked for a bare ONNX file (default: %(default)s)",
    )
    parser.add_argument("--runs", type=int, default=200, help="timed inferences (default: %(default)s)")
    parser.add_argument("--python", help="interpreter there (default: python3)")
    ssh_options(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only results")


def run(args: argparse.Namespace) -> int:
    if (args.what is None) == (args.compare is None):
        raise UsageError("expected one WHAT, or --compare A B")
    from edgedistill.deployment.timing import timed
    from edgedistill.progress.reporter import Talk

    found = timed(
        args.compare or [args.what],
        args.host,
        args.backend,
        args.precision,
        args.runs,
        args.python,
        args.ssh_config,
        Talk(args.quiet).say,
    ).to_json()
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        print(text_from_compare(found) if args.compare else text_from_bench(found))
    return 0


def text_from_bench(found: dict) -> str:
    """A short table for a terminal.

    Args:
        found: JSON of a `TimedBundle`.
    """
    from edgedistill.records.benchmark import SCOPES
    from edgedistill.records.deployment import TimedBundle

    timed = TimedBundle.model_validate(found)
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


def text_from_compare(found: dict) -> str:
    """The same for two.

    Args:
        found: JSON of a `CompareAnswer`.
    """
    from edgedistill.records.benchmark import SCOPES, CompareAnswer

    report = CompareAnswer.model_validate(found)
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
            faster = {"a": "A is faster", "b": "B is faster"}.get(ratio.faster, "no difference was seen")
            interval = f"{ratio.low:.3f} to {ratio.high:.3f}, {100 * ratio.coverage_fraction:.0f} %"
            times = f"A {of_a.p50_ms:.3f} ms, B {of_b.p50_ms:.3f} ms"
            lines.append(f"  {scope.removesuffix('_ms'):10} {times}, A/B {ratio.a_over_b:.3f} ({interval}): {faster}")
    return "\n".join(lines)
