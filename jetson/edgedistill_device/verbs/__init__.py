"""The board's commands: one module a verb.

Each has HELP (one line), options(parser), and run(args), which prints for people as it goes and
returns the last line of stdout, one JSON. What only that verb needs is imported inside run.
"""

import argparse
import os

from edgedistill_device.board.home import home_folder
from edgedistill_device.engine.runners import BACKENDS, DEFAULT
from edgedistill_device.releases import root


def bundle_options(parser):
    """Options of the verbs that work on one bundle."""
    parser.add_argument("--bundle", default=".", help="folder (default: this one)")
    parser.add_argument("--backend", choices=BACKENDS, default=DEFAULT, help="default: %s" % (DEFAULT,))


def root_options(parser, release=False):
    """Options of the agent's verbs, which work on the board's folder; `release`: and on one id."""
    home = home_folder()
    parser.add_argument(
        "--root",
        default=os.path.join(home, root.DEFAULT) if home else None,
        type=os.path.realpath,
        required=home is None,
        help="the board's folder (default: edgedistill in the home folder)",
    )
    if release:
        parser.add_argument("release", metavar="ID", help="16 hex digits of the manifest's SHA-256")


def health_options(parser):
    """Options of the verbs that ask for the health of what they make current."""
    parser.add_argument(
        "--health-timeout-s",
        type=_seconds,
        metavar="S",
        help="no answer within is a failure (default 180)",
    )


def _seconds(text):
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):  # of NaN both are false, and with it no answer would ever be late
        raise argparse.ArgumentTypeError("expected seconds, more than 0, got %r" % (text,))
    return seconds


def admission_options(parser):
    """Options of the verbs that accept a bundle."""
    root_options(parser, release=True)
    parser.add_argument("--allow-downgrade", action="store_true", help="take one that is older than one taken before")
