"""classify: classify images, videos and cameras."""

import argparse
import re
import sys

from edgedistill_device.engine.runners import open_runner
from edgedistill_device.errors import JetsonError
from edgedistill_device.inference.picture import FLIPS
from edgedistill_device.json_text import json_text
from edgedistill_device.manifest import read_manifest
from edgedistill_device.text import plain
from edgedistill_device.verbs import bundle_options

HELP = "images in, classes out"


def options(parser):
    bundle_options(parser)
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="image, folder, video, csi://0, v4l2:///dev/video0, rtsp://HOST/PATH, file://PATH",
    )
    parser.add_argument("--top", type=_count, default=5, help="classes shown (default 5)")
    parser.add_argument(
        "--overlay", metavar="FILE", help="video with the class drawn in: .mp4, .avi or rtp://HOST:PORT"
    )
    parser.add_argument(
        "--gallery",
        metavar="DIR",
        help="of a bundle that answers with the nearest enrolled image: photographs, DIR/CLASS/*, or a gallery.npz",
    )
    parser.add_argument("--stats", metavar="FILE", help="write a small JSON file, replaced each second")
    parser.add_argument("--whole", action="store_true", help="make nothing small that `frames` has accepted")
    camera_options(parser)


def camera_options(parser):
    """Options of the verbs that open cameras and videos."""
    parser.add_argument(
        "--camera",
        type=_camera,
        default=(1280, 720, 30),
        metavar="WxH@FPS",
        help="asked of a CSI or USB camera (default 1280x720@30)",
    )
    parser.add_argument(
        "--flip",
        choices=list(FLIPS),
        default="none",
        metavar="HOW",
        help="turn what a camera or video shows: %s" % (", ".join(list(FLIPS)[1:]),),
    )


def _count(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("expected 1 or more, got %r" % (text,))
    return int(text)


def _camera(text):
    match = re.match(r"^(\d+)x(\d+)@(\d+)$", text)
    if not match:
        raise argparse.ArgumentTypeError("expected WIDTHxHEIGHT@FPS, got %r" % (text,))
    return tuple(int(value) for value in match.groups())


def run(args):
    from edgedistill_device.inference.answers import decision_for
    from edgedistill_device.inference.classify import Asked, classify
    from edgedistill_device.inference.frame_path import Accepted, read_verdicts
    from edgedistill_device.inference.progress import Progress
    from edgedistill_device.inference.smoothing import rule_of

    manifest, progress = read_manifest(args.bundle), Progress(args.stats)
    with open_runner(args.backend, args.bundle, manifest, verified=True) as runner:
        verdicts, why_not = (None, "") if args.whole else read_verdicts(args.bundle, runner)
        if why_not:
            sys.stderr.write(plain("edgedistill_device classify: " + why_not) + "\n")
        accepted = Accepted(manifest.preprocess, verdicts)
        decision = decision_for(args.bundle, manifest, runner, args.gallery)
        asked = Asked(args.top, args.camera, args.flip, args.overlay, accepted, decision, rule_of(manifest))
        progress.begin()
        try:
            classify(args.sources, manifest, runner, asked, progress)
        except JetsonError:
            print(json_text(_summary(progress, runner, accepted), sort_keys=False))
            raise
        summary = _summary(progress, runner, accepted)
    latency = ", latency %(p50).1f ms (median)" % summary["latency_ms"] if summary["latency_ms"] else ""
    sys.stderr.write("%(frames)d frames, %(dropped)d dropped, %(fps).1f FPS" % summary + latency + "\n")
    return json_text(summary, sort_keys=False)


def _summary(progress, runner, accepted):
    return dict(progress.summary(runner.provenance), made_small=accepted.used)
