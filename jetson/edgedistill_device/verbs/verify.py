"""verify: compare this board's outputs with the workstation's."""

from edgedistill_device.engine.runners import open_runner
from edgedistill_device.engine.verify import verify
from edgedistill_device.json_text import json_text
from edgedistill_device.manifest import read_manifest
from edgedistill_device.verbs import bundle_options as options  # noqa: F401

HELP = "compare with the workstation's outputs"


def run(args):
    manifest = read_manifest(args.bundle)
    with open_runner(args.backend, args.bundle, manifest) as runner:
        result = verify(args.bundle, manifest, runner)
        print("agrees with the workstation on %(images)d images" % result)
        return json_text(
            dict(
                result,
                verb="verify",
                model=manifest.model,
                requested=manifest.precision_requested,
                provenance=runner.provenance,
            ),
        )
