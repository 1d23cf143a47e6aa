"""doctor: check what this board has and lacks, and say what to do; on any computer, without a bundle."""

from edgedistill_device.json_text import json_text

HELP = "what this board has and lacks"


def options(parser):
    parser.add_argument("--root", default="edgedistill", help="where the releases lie (default: edgedistill)")


def run(args):
    from edgedistill_device import doctor

    checks = doctor.checks(args.root)
    doctor.show(checks)
    return json_text(doctor.report(checks))
