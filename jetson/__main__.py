"""python3 -m jetson VERB, from the bundle's folder. The last line on stdout is one JSON."""

import argparse
import json
import os
import re
import sys

from jetson import benchreport, telemetry, trtexec
from jetson.bench import PERCENTILES, bench, runs_for
from jetson.board import BUILD_TIMEOUT_S
from jetson.engine_file import require_verified
from jetson.errors import BenchError, JetsonError
from jetson.manifest import read_manifest
from jetson.runners import BACKENDS, open_runner
from jetson.verify import golden_images, verify


def build_parser():
    parser = argparse.ArgumentParser(prog="python3 -m jetson", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    verbs.required = True  # not an argument of add_subparsers on Python 3.6
    made = {}
    for name, text in (
        ("build", "build the TensorRT engine on this board"),
        ("verify", "compare with the workstation's outputs"),
        ("bench", "time it"),
        ("classify", "images in, classes out"),
    ):
        made[name] = verbs.add_parser(name, help=text)
        made[name].add_argument("--bundle", default=".", help="folder (default: this one)")
        made[name].add_argument(
            "--backend", choices=BACKENDS, default="tensorrt", help="default: tensorrt"
        )
    made["build"].add_argument(
        "--timeout-s", type=int, default=BUILD_TIMEOUT_S, help="give up after (default %d)" % (BUILD_TIMEOUT_S,)
    )
    made["build"].add_argument(
        "--workspace-mib", type=int, help="of the first attempt (default: from what is free)"
    )
    made["bench"].add_argument("--runs", type=int, default=200, help="timed calls (default 200)")
    made["bench"].add_argument(
        "--percentile", type=int, choices=PERCENTILES, help="refuse fewer runs than this one needs"
    )
    made["bench"].add_argument(
        "--compare", choices=("trtexec",), help="run the board's own trtexec beside it"
    )
    _classify_options(made["classify"])
    return parser


def _classify_options(verb):
    verb.add_argument(
        "sources", nargs="+", metavar="SOURCE",
        help="image, folder, video, csi://0, v4l2:///dev/video0, rtsp://HOST/PATH, file://PATH",
    )  # fmt: skip
    verb.add_argument("--top", type=int, default=5, help="classes shown (default 5)")
    verb.add_argument("--overlay", metavar="FILE", help="video file with the class drawn in")
    verb.add_argument("--stats", metavar="FILE", help="small JSON, written anew each second")
    verb.add_argument(
        "--camera", type=_camera, default=(1280, 720, 30), metavar="WxH@FPS",
        help="asked of a CSI or USB camera (default 1280x720@30)",
    )  # fmt: skip


def _camera(text):
    match = re.match(r"^(\d+)x(\d+)@(\d+)$", text)
    if not match:
        raise argparse.ArgumentTypeError("expected WIDTHxHEIGHT@FPS, got %r" % (text,))
    return tuple(int(value) for value in match.groups())


def main(argv=None):
    args = build_parser().parse_args(argv)
    try:
        print(_line(args))
    except JetsonError as error:
        sys.stderr.write("jetson %s: %s\n" % (args.verb, _ascii(str(error))))
        return 1
    except BrokenPipeError:  # who read our lines has gone; Python's last flush must not say so again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("jetson %s: stopped\n" % (args.verb,))
        return 1
    return 0


def _line(args):
    manifest = read_manifest(args.bundle)
    if args.verb == "build":
        return _build(args, manifest)
    if args.verb == "bench":
        return _bench(args, manifest)
    if args.verb == "classify":
        return _classify(args, manifest)
    with open_runner(args.backend, args.bundle, manifest) as runner:
        found = verify(args.bundle, manifest, runner)
        print("agrees with the workstation on %(images)d images" % found)
        return json.dumps(
            dict(found, verb="verify", model=manifest.model, executed=runner.executed,
                 requested=manifest.precision_requested, provenance=runner.provenance),
            sort_keys=True,
        )  # fmt: skip


def _build(args, manifest):
    if args.backend == "tensorrt":
        from jetson.build import build  # here, as no other verb needs its modules

        record = build(args.bundle, manifest, workspace_mib=args.workspace_mib, timeout_s=args.timeout_s)
        print("%(executed)s engine, %(requested)s requested, built in %(build_seconds).0f s" % record)
        return json.dumps(dict(record, verb="build"), sort_keys=True)
    with open_runner(args.backend, args.bundle, manifest) as runner:  # that it opens is all there is
        print("ONNX Runtime loads model.onnx and needs no engine")
        return json.dumps(
            {"verb": "build", "engine": None, "requested": manifest.precision_requested,
             "executed": runner.executed, "provenance": runner.provenance}, sort_keys=True,
        )  # fmt: skip


def _bench(args, manifest):
    needed = runs_for(args.percentile) if args.percentile else 0
    if args.runs < needed:
        raise BenchError(
            "--percentile %d needs --runs of at least %d, got %d"
            % (args.percentile, needed, args.runs)
        )
    if args.backend == "tensorrt":
        require_verified(args.bundle)
    baseline = telemetry.memory()
    with open_runner(args.backend, args.bundle, manifest) as runner:
        images = golden_images(args.bundle)
        report = bench(args.bundle, manifest, runner, images, args.runs, baseline=baseline)
        engine = getattr(runner, "engine_path", None)
    if args.compare:  # after ours has given the memory back
        report["trtexec"] = trtexec.compare(engine)
    _table(report)
    return benchreport.line_from_report(report)


def _classify(args, manifest):
    from jetson.classify import Progress, classify

    progress = Progress(args.stats)
    with open_runner(args.backend, args.bundle, manifest) as runner:
        progress.begin()
        try:
            classify(args.sources, manifest, runner, args.top, args.camera, args.overlay, progress)
        except JetsonError:
            print(json.dumps(progress.summary(runner.provenance)))
            raise
        summary = progress.summary(runner.provenance)
    sys.stderr.write("%(frames)d frames, %(dropped)d dropped, %(fps).1f FPS\n" % summary)
    return json.dumps(summary)


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
    print("FPS: %(host).1f the network alone, %(end_to_end).1f from the file, "
          "%(pipelined).1f pipelined" % report["fps"])  # fmt: skip
    if report["power"]["energy_mj"] is not None:
        print("%.1f mJ an image, pipelined, of %s" % (
            report["power"]["energy_mj"], report["power"]["input_rail"]))  # fmt: skip
    for name, reason in sorted(report["absent"].items()):
        print("no %s: %s" % (name, reason))
    if report["trtexec"] is not None:
        _trtexec_rows(report["trtexec"])


def _trtexec_rows(found):
    if found["summary"] is None:
        print("no trtexec: %s" % (found["reason"],))
        return
    for scope in ("compute_ms", "latency_ms"):
        row = found["summary"].get(scope, {})
        if row:
            print("trtexec %s: p50 %.2f ms, p99 %.2f ms" % (scope[:-3], row["p50_ms"], row["p99_ms"]))
    print("trtexec throughput: %.1f a second" % (found["summary"]["throughput_qps"],))


def _ascii(text):
    """ssh without a locale gives Python 3.6 an ASCII stderr."""
    return text.encode("ascii", "backslashreplace").decode("ascii")


if __name__ == "__main__":
    sys.exit(main())
