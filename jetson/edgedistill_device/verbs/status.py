"""status: show the active release and all others."""

from edgedistill_device.json_text import json_text
from edgedistill_device.verbs import root_options

HELP = "what is served and what lies here"


def options(parser):
    root_options(parser)
    parser.add_argument("--recover", action="store_true", help="first go back from a switch that was never proved")


def run(args):
    from edgedistill_device.releases.store import status

    result = status(args.root, args.recover)
    marks = {result["current"]: "current", result["previous"]: "previous"}
    for row in result["releases"]:
        print(
            "%s %-8s %s serial %s, %s"
            % (
                row["id"],
                marks.get(row["id"], ""),
                row["model"],
                row["serial"],
                row["executed"] if row["verified"] else "not verified",
            )
        )
    if result["current"] is not None and not result["proven"]:
        print("current is not proved")
    for line in result["problems"] + result["warnings"]:
        print(line)
    return json_text(result)
