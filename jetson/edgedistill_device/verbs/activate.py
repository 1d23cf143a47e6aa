"""activate: serve a release, if it passes its health check."""

from edgedistill_device.json_text import json_text
from edgedistill_device.verbs import health_options, root_options

HELP = "serve release ID; back to the one before when its health check fails"


def options(parser):
    root_options(parser, release=True)
    health_options(parser)


def run(args):
    from edgedistill_device.releases.health_check import TIMEOUT_S
    from edgedistill_device.releases.store import activate

    result = activate(args.root, args.release, args.health_timeout_s or TIMEOUT_S)
    print("%s is current, previous: %s" % (result["id"], result["previous"]))
    return json_text(result)
