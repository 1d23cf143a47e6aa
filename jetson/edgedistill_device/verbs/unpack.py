"""unpack: unpack a bundle that came as one file."""

from edgedistill_device.json_text import json_text
from edgedistill_device.verbs import root_options

HELP = "check the signature of an archive and unpack it into incoming/ID"


def options(parser):
    root_options(parser)
    parser.add_argument("archive", metavar="ARCHIVE", help="NAME.edb.tar, or - for stdin")


def run(args):
    from edgedistill_device.releases.unpack import open_archive, unpack

    with open_archive(args.archive) as file:
        result = unpack(file, args.root)
    print("%(files)d files, %(bytes)d bytes; next: accept %(id)s" % result)
    return json_text(result)
