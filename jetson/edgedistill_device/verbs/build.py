"""build: build the engine on this board; a backend without engines checks that it opens the model."""

from edgedistill_device.board.identity import BUILD_TIMEOUT_S
from edgedistill_device.engine.runners import backend_named
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
    backend = backend_named(args.backend)
    line, record = backend.build(args.bundle, manifest, args.workspace_mib, args.timeout_s)
    print(line)
    return json_text(dict(record, verb="build"))
