"""accept: make a release of a copied bundle."""

from edgedistill_device.json_text import json_text
from edgedistill_device.verbs import admission_options as options  # noqa: F401

HELP = "make a release of incoming/ID when every byte of it is what was signed"


def run(args):
    from edgedistill_device.releases.incoming import accept

    result = accept(args.root, args.release, args.allow_downgrade)
    print("%s, serial %d, signed by %s" % (result["id"], result["serial"], result["key_id"]))
    return json_text(result)
