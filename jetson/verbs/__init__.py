"""What the board can be asked: one module a verb.

Each has HELP (one line), options(parser), and run(args), which prints for people as it goes and
returns the last line of stdout, one JSON. What only that verb needs is imported inside run.
"""

from jetson.runners import BACKENDS


def bundle_options(parser):
    """Of the verbs that work on one bundle."""
    parser.add_argument("--bundle", default=".", help="folder (default: this one)")
    parser.add_argument(
        "--backend", choices=BACKENDS, default="tensorrt", help="default: tensorrt"
    )
