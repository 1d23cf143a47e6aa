"""serials: show the serials that refuse older bundles, and repair them."""

from edgedistill_device.json_text import json_text
from edgedistill_device.verbs import root_options

HELP = "mend the record of serials: after damage, or after a clock was far ahead"


def options(parser):
    root_options(parser)
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--rebuild", action="store_true", help="from what lies on the board; no serial is lowered")
    way.add_argument(
        "--as-current",
        action="store_true",
        help="let the current release be the newest; what had a higher serial is withdrawn",
    )


def run(args):
    from edgedistill_device.releases.serials import lower_to_current, rebuild

    result = lower_to_current(args.root) if args.as_current else rebuild(args.root)
    for key_id, serial in sorted(result["highest_serial"].items()):
        print("%s: serial %d" % (key_id, serial))
    return json_text(result)
