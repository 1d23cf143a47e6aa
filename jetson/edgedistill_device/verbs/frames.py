"""frames: may pictures be made small before the CPU works on them?"""

import argparse
import re

from edgedistill_device.engine.runners import open_runner
from edgedistill_device.errors import StreamError
from edgedistill_device.json_text import json_text
from edgedistill_device.manifest import CLASSIFICATION, EMBEDDING, MULTILABEL, REGRESSION, read_manifest
from edgedistill_device.verbs import bundle_options
from edgedistill_device.verbs.classify import camera_options

HELP = "try whether JPEG files may be decoded and frames scaled in a cheaper way, for classify to use"


def options(parser):
    bundle_options(parser)
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="camera or video whose frames are tried, as for classify; none: the golden JPEG files alone",
    )
    parser.add_argument(
        "--frames",
        metavar="PICTURES",
        help="folder, video or camera whose pictures are tried as frames (default: the golden images)",
    )
    parser.add_argument(
        "--most-changed",
        type=_fraction,
        metavar="FRACTION",
        help="of the pictures, those whose first class may change (default 0.01: none of fewer than 100)",
    )
    camera_options(parser)


def _fraction(text):
    if not re.match(r"^(0|0?\.\d+)$", text):
        raise argparse.ArgumentTypeError("expected a fraction below 1, as 0.02, got %r" % (text,))
    return float(text)


def run(args):
    from edgedistill_device.engine.verify import golden_images, golden_labels
    from edgedistill_device.inference.frame_path import write_verdicts
    from edgedistill_device.inference.frame_verdicts import frames_verdict, jpeg_verdict
    from edgedistill_device.inference.parity import MOST_CHANGED

    manifest = read_manifest(args.bundle)
    if manifest.task != CLASSIFICATION:
        answers = {REGRESSION: "figures", MULTILABEL: "several labels", EMBEDDING: "the nearest enrolled image"}
        raise StreamError(
            "frames asks how often the first class changes, this bundle answers with %s: its pictures stay whole"
            % answers[manifest.task]
        )
    most_changed = MOST_CHANGED if args.most_changed is None else args.most_changed
    paths, labels = golden_images(args.bundle), golden_labels(args.bundle)
    with open_runner(args.backend, args.bundle, manifest, verified=True) as runner:
        verdicts = {"jpeg": jpeg_verdict(paths, labels, manifest.preprocess, runner, most_changed)}
        _say("JPEG files", verdicts["jpeg"])
        if args.source is not None:
            pictures = (args.frames, None) if args.frames else (paths, labels)
            source, asked = args.source, (args.camera, args.flip)
            key, verdict = frames_verdict(source, asked, pictures, manifest.preprocess, runner, most_changed)
            _say("frames, %s" % (key,), verdict)
            verdicts["frames"] = {key: verdict}
        write_verdicts(args.bundle, runner, verdicts)
        return json_text(dict(verdicts, verb="frames", model=manifest.model, provenance=runner.provenance))


def _say(what, verdict):
    for candidate in verdict["candidates"]:
        how = candidate["how"]
        size = "%gx the needed size" % (how["times"],)
        if "method" in how:
            size += ", %dx%d, method %d" % (how["width"], how["height"], how["method"])
        if "images" not in candidate:
            print("%s, %s: %s" % (what, size, candidate["why"]))
            continue
        labelled = candidate["top1_fraction"] is not None
        top1 = "top-1 %(top1_fraction).3f, whole %(top1_fraction_whole).3f; " % candidate if labelled else ""
        print(
            "%s, %s: %.1f %% of %d first classes agree (at least %.1f %%); %sCPU %.2f ms, whole %.2f: %s"
            % (
                what,
                size,
                100 * candidate["top1_agreement_fraction"],
                candidate["images"],
                100 * candidate["least_agreement_fraction"],
                top1,
                candidate["cpu_ms"],
                candidate["cpu_ms_whole"],
                "passes" if candidate["passes"] else "refused",
            )
        )
    how = verdict["accepted"]
    print("%s: %s" % (what, "whole, %s" % (verdict["why"],) if how is None else "made small, %gx" % (how["times"],)))
