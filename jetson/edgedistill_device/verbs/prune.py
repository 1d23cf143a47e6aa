"""prune: remove old releases."""

from edgedistill_device.json_text import json_text
from edgedistill_device.verbs import root_options

HELP = "remove old releases and copies that were given up"


def options(parser):
    root_options(parser)
    parser.add_argument(
        "--keep",
        type=int,
        default=3,
        metavar="N",
        help="releases that stay, newest first; current and previous always (default 3)",
    )


def run(args):
    from edgedistill_device.releases.store import prune

    result = prune(args.root, args.keep)
    print("%d releases removed, %d MiB freed" % (len(result["removed"]), result["freed_bytes"] >> 20))
    return json_text(result)
