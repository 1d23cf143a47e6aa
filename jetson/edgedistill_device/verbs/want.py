"""want: check whether this bundle is accepted, and list the files to send."""

from edgedistill_device.json_text import json_text
from edgedistill_device.verbs import admission_options as options  # noqa: F401

HELP = "check the manifest in incoming/ID and tell which files to send"


def run(args):
    from edgedistill_device.releases.incoming import want

    result = want(args.root, args.release, args.allow_downgrade)
    print("%d files to send" % (len(result["files"]),))
    return json_text(result)
