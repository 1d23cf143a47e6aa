"""build: the TensorRT engine, on this board."""

from edgedistill_device.board.identity import BUILD_TIMEOUT_S
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.json_text import json_text
from edgedistill_device.manifest import read_manifest
from edgedistill_device.verbs import bundle_options

HELP = "build the TensorRT engine on this board"


def options(parser):
    bundle_options(parser)
    parser.add_argument(
        "--timeout-s", type=int, default=BUILD_TIMEOUT_S, help="give up after (default %d)" % (BUILD_TIMEOUT_S,)
    )
    parser.add_argument("--workspace-mib", type=int, help="of the first attempt (default: from what is free)")


def run(args):
    manifest = read_manifest(args.bundle)
    if args.backend == "tensorrt":
        from edgedistill_device.engine.build import build

        record = build(args.bundle, manifest, workspace_mib=args.workspace_mib, timeout_s=args.timeout_s)
        print("%(executed)s engine, %(requested)s requested, built in %(build_seconds).0f s" % record)
        return json_text(dict(record, verb="build"))
    with open_runner(args.backend, args.bundle, manifest) as runner:  # that it opens is all there is
        print("ONNX Runtime loads model.onnx and needs no engine")
        return json_text(
            {
                "verb": "build",
                "engine": None,
                "requested": manifest.precision_requested,
                "executed": runner.executed,
                "provenance": runner.provenance,
            }
        )
