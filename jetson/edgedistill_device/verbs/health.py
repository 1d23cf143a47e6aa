"""health: the check that `activate` runs on the release that it has just made current."""

from edgedistill_device.engine.runners import open_runner
from edgedistill_device.json_text import json_text
from edgedistill_device.manifest import read_manifest
from edgedistill_device.verbs import bundle_options as options  # noqa: F401

HELP = "goldens and latency budget in one go; nothing is written"


def run(args):
    from edgedistill_device.releases.health import examine

    manifest = read_manifest(args.bundle)
    with open_runner(args.backend, args.bundle, manifest, verified=True) as runner:
        result = examine(args.bundle, manifest, runner)
        print("%d images agree, median %.2f ms" % (result["images"], result["end_to_end_ms"]["p50_ms"]))
        return json_text(
            dict(result, verb="health", model=manifest.model, provenance=runner.provenance),
        )
