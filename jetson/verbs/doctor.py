"""doctor: what this board has, what it lacks, and what to do; on any computer, without a bundle."""

import json

from jetson import doctor

HELP = "what this board has and lacks"


def options(parser):
    parser.add_argument(
        "--root", default="edgedistill", help="where the releases lie (default: edgedistill)"
    )


def run(args):
    found = doctor.checks(args.root)
    doctor.show(found)
    return json.dumps(doctor.report(found), sort_keys=True)
