"""python3 -m jetson VERB, from the bundle's folder. The last line on stdout is one JSON."""

import argparse
import json
import sys

from jetson import benchreport
from jetson.bench import bench
from jetson.build import TIMEOUT_S, build
from jetson.classify import classify, image_files
from jetson.errors import JetsonError
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
        "--timeout-s", type=int, default=TIMEOUT_S, help="give up after (default %d)" % (TIMEOUT_S,)
    )
    made["build"].add_argument(
        "--workspace-mib", type=int, help="of the first attempt (default: from what is free)"
    )
    made["bench"].add_argument("--runs", type=int, default=200, help="timed calls (default 200)")
    made["classify"].add_argument("images", nargs="+", help="image files or folders")
    made["classify"].add_argument("--top", type=int, default=5, help="classes shown (default 5)")
    return parser


def main(argv=None):
    args = build_parser().parse_args(argv)
    try:
        print(_line(args))
    except JetsonError as error:
        sys.stderr.write("jetson %s: %s\n" % (args.verb, _ascii(str(error))))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("jetson %s: stopped\n" % (args.verb,))
        return 1
    return 0


def _line(args):
    manifest = read_manifest(args.bundle)
    if args.verb == "build" and args.backend == "tensorrt":
        record = build(args.bundle, manifest, workspace_mib=args.workspace_mib, timeout_s=args.timeout_s)
        print("%(executed)s engine, %(requested)s requested, built in %(build_seconds).0f s" % record)
        return json.dumps(dict(record, verb="build"), sort_keys=True)
    with open_runner(args.backend, args.bundle, manifest) as runner:
        if args.verb == "build":  # that it was opened is all there is to build
            print("ONNX Runtime loads model.onnx and needs no engine")
            return json.dumps(
                {"verb": "build", "engine": None, "requested": manifest.precision_requested,
                 "executed": runner.executed, "provenance": runner.provenance}, sort_keys=True,
            )  # fmt: skip
        if args.verb == "bench":
            report = bench(args.bundle, manifest, runner, golden_images(args.bundle), args.runs)
            _table(report)
            return benchreport.line_from_report(report)
        if args.verb == "verify":
            found = verify(args.bundle, manifest, runner)
            print("agrees with the workstation on %(images)d images" % found)
            return json.dumps(
                dict(found, verb="verify", model=manifest.model, executed=runner.executed,
                     requested=manifest.precision_requested, provenance=runner.provenance),
                sort_keys=True,
            )  # fmt: skip
        files = [name for path in args.images for name in image_files(path)]
        lines = [json.dumps(classify(path, manifest, runner, args.top)) for path in files]
        if lines[:-1]:
            print("\n".join(lines[:-1]))
        return lines[-1]


def _table(report):
    print("%s, %s" % (report["model"], report["provenance"]))
    print("%-12s %8s %8s %8s %8s %8s" % ("ms", "p50", "p90", "p95", "p99", "max"))
    for scope in ("host_ms", "end_to_end_ms"):
        row = report[scope]
        values = [row[key] for key in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")]
        shown = ["%8.2f" % value if value is not None else "%8s" % "-" for value in values]
        print("%-12s %s" % (scope[:-3], " ".join(shown)))


def _ascii(text):
    """ssh without a locale gives Python 3.6 an ASCII stderr."""
    return text.encode("ascii", "backslashreplace").decode("ascii")


if __name__ == "__main__":
    sys.exit(main())
