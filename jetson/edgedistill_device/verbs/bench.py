"""bench: measure latency, throughput, memory and power."""

from edgedistill_device.benchmark import benchreport
from edgedistill_device.benchmark.bench import PERCENTILES, bench, runs_for
from edgedistill_device.board import telemetry
from edgedistill_device.engine import trtexec
from edgedistill_device.engine.engine_file import require_verified
from edgedistill_device.engine.execution import TUNE
from edgedistill_device.engine.runners import backend_named, open_runner
from edgedistill_device.engine.verify import golden_images
from edgedistill_device.errors import BenchError, JetsonError
from edgedistill_device.inference.frame_path import Accepted, read_verdicts
from edgedistill_device.json_text import json_text
from edgedistill_device.manifest import read_manifest
from edgedistill_device.verbs import bundle_options

HELP = "time it"
RUNS = (benchreport.FEWEST_RUNS, benchreport.MOST_RUNS)
SLOWEST = 3  # layers that the table names


def options(parser):
    bundle_options(parser)
    parser.add_argument("--runs", type=int, default=200, help="timed calls, %d to %d (default 200)" % RUNS)
    parser.add_argument("--percentile", type=int, choices=PERCENTILES, help="refuse fewer runs than this one needs")
    parser.add_argument("--against", metavar="BUNDLE", help="another bundle: both in memory, in turns, and the ratio")
    parser.add_argument(
        "--tune",
        choices=TUNE,
        default=TUNE[0],
        help="find the faster way of running a TensorRT engine: once an engine (default), again, with engines that "
        "are built otherwise, too (minutes each), or not at all",
    )
    parser.add_argument("--compare", choices=("trtexec",), help="also run the board's own trtexec, and compare")


def run(args):
    benchreport.require_runs(args.runs)
    manifest = read_manifest(args.bundle)
    needed = runs_for(args.percentile) if args.percentile else args.runs
    if args.runs < needed:
        raise BenchError("--percentile %d needs --runs of at least %d, got %d" % (args.percentile, needed, args.runs))
    require_verified(args.bundle, args.backend)
    if args.against is not None:
        return _against(args, manifest)
    tuning = _tuned(args, manifest)
    baseline = telemetry.memory()
    with open_runner(args.backend, args.bundle, manifest, verified=True) as runner:
        accepted = Accepted(manifest.preprocess, read_verdicts(args.bundle, runner)[0])
        images, least = golden_images(args.bundle), accepted.least()
        report = bench(args.bundle, manifest, runner, images, args.runs, baseline=baseline, least=least)
        report["warnings"] += [line + ", as `classify` does" for line in accepted.used]
        engine = getattr(runner, "engine_path", None)
        if backend_named(args.backend).builds:
            report.update(execution=dict(runner.execution._asdict()), tuning=tuning)
    if args.compare:  # after ours has given the memory back
        report["trtexec"] = trtexec.compare(engine)
    _table(report)
    return benchreport.line_from_report(report)


def _tuned(args, manifest):
    """[tune.trial] of the engine; None where there is none, or where it is left as it is."""
    if args.tune == "off" or not backend_named(args.backend).builds:
        return None
    from edgedistill_device.benchmark.tune import tune
    from edgedistill_device.benchmark.tune_build import tune_build

    built = tune_build(args.bundle, manifest) if args.tune == "build" else None
    return tune(args.bundle, manifest, args.tune != "once", built)


def _against(args, manifest):
    from edgedistill_device.benchmark import ab_bench

    if args.compare:
        raise BenchError("--against and --compare are two questions; ask one at a time")
    try:
        other = read_manifest(args.against)
        require_verified(args.against, args.backend)
    except JetsonError as error:
        raise BenchError("--against %s: %s" % (args.against, error))
    folders = (args.bundle, manifest), (args.against, other)
    with ab_bench.both(args.backend, *folders) as (one, two):
        report = ab_bench.compare(args.bundle, (manifest, one), (other, two), golden_images(args.bundle), args.runs)
    for line in report["warnings"]:
        print(line)
    for letter in "ab":
        side = report[letter]
        print(
            "%s: %s, %s, host p50 %.3f ms, end to end p50 %.3f ms"
            % (letter, side["model"], side["provenance"], side["host_ms"]["p50_ms"], side["end_to_end_ms"]["p50_ms"])
        )
    for scope in ("compute_ms", "host_ms", "end_to_end_ms"):
        if report["ratio"][scope] is not None:
            _ratio_row(scope[:-3], report["ratio"][scope])
    return json_text(report)


def _ratio_row(scope, ratio):
    word = {"a": "a is faster", "b": "b is faster", None: "no difference was seen"}
    print(
        "%-12s a / b = %.3f (%.3f to %.3f): %s"
        % (scope, ratio["a_over_b"], ratio["low"], ratio["high"], word[ratio["faster"]])
    )


def _table(report):
    if report["state"] in ("throttled", "unlocked"):
        print("%s: do not quote these figures" % (report["state"].upper(),))
    for line in report["warnings"]:
        print(line)
    print("%s, %s" % (report["model"], report["provenance"]))
    print("%-12s %8s %8s %8s %8s %8s" % ("ms", "p50", "p90", "p95", "p99", "max"))
    for scope in ("compute_ms", "host_ms", "end_to_end_ms"):
        row = report[scope]
        if row is None:
            continue
        values = [row[key] for key in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")]
        shown = ["%8.2f" % value if value is not None else "%8s" % "-" for value in values]
        print("%-12s %s" % (scope[:-3], " ".join(shown)))
    print(
        "FPS: %(host).1f the network alone, %(end_to_end).1f from the file, %(pipelined).1f pipelined" % report["fps"]
    )
    if report["power"]["energy_mj"] is not None:
        print("%.1f mJ an image, pipelined, of %s" % (report["power"]["energy_mj"], report["power"]["input_rail"]))
    for row in report.get("tuning") or ():
        _trial_row(row)
    if report["layer_times"] is not None:
        _slowest(report["layer_times"])
    for name, reason in sorted(report["absent"].items()):
        print("no %s: %s" % (name, reason))
    if report["trtexec"] is not None:
        _trtexec_rows(report["trtexec"])


def _trial_row(row):
    if row["ratio"] is None:
        print("%s: not used, %s" % (row["tried"], row["reason"]))
        return
    words = "used, " if row["kept"] else "not used: %s, " % (row["reason"],) if row["reason"] else "not used, "
    print("%s: %sthe time before was %.3f of it" % (row["tried"], words, row["ratio"]["a_over_b"]))


def _slowest(times):
    ordered = sorted(times["layers"], key=lambda layer: -layer["median_ms"])[:SLOWEST]
    shown = ", ".join(
        "%s %.3f ms" % (layer["name"].encode("ascii", "replace").decode()[:40], layer["median_ms"]) for layer in ordered
    )
    print("%d layers, profiled apart; the slowest: %s" % (len(times["layers"]), shown))


def _trtexec_rows(comparison):
    if comparison["summary"] is None:
        print("no trtexec: %s" % (comparison["reason"],))
        return
    for scope in ("compute_ms", "latency_ms"):
        row = comparison["summary"].get(scope, {})
        if row:
            print("trtexec %s: p50 %.2f ms, p99 %.2f ms" % (scope[:-3], row["p50_ms"], row["p99_ms"]))
    print("trtexec throughput: %.1f a second" % (comparison["summary"]["throughput_qps"],))
    for line in comparison["summary"]["warnings"]:
        print("trtexec: " + line)
