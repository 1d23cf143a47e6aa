"""rollback: serve the previous release again."""

from edgedistill_device.json_text import json_text
from edgedistill_device.verbs import health_options, root_options

HELP = "serve the previous release again, if it passes its health check"


def options(parser):
    root_options(parser)
    parser.add_argument(
        "--leave",
        metavar="ID",
        help="only if this one is current: a repeated command does nothing more",
    )
    health_options(parser)


def run(args):
    from edgedistill_device.releases.health_check import TIMEOUT_S
    from edgedistill_device.releases.store import rollback

    result = rollback(args.root, args.leave, args.health_timeout_s or TIMEOUT_S)
    print("%s is current, previous: %s" % (result["id"], result["previous"]))
    return json_text(result)
