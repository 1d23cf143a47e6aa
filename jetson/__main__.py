"""python3 -m jetson VERB. The last line on stdout is one JSON.

build, verify, bench, classify and health work on the bundle whose folder they are run from; the
others on the board's own folder, --root.
"""

import argparse
import os
import sys

from jetson.errors import JetsonError

try:
    from jetson.verbs import (
        accept,
        activate,
        bench,
        build,
        classify,
        doctor,
        health,
        prune,
        rollback,
        status,
        unpack,
        verify,
        want,
    )
except ImportError as failure:  # numpy, which all verbs but one need
    sys.exit("jetson: %s; run: python3 -m jetson.doctor" % (failure,))

VERBS = (
    ("build", build), ("verify", verify), ("bench", bench), ("classify", classify), ("health", health),
    ("want", want), ("accept", accept), ("activate", activate), ("rollback", rollback),
    ("status", status), ("prune", prune), ("unpack", unpack), ("doctor", doctor),
)  # fmt: skip


def build_parser():
    parser = argparse.ArgumentParser(prog="python3 -m jetson", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    verbs.required = True  # not an argument of add_subparsers on Python 3.6
    for name, module in VERBS:
        verb = verbs.add_parser(name, help=module.HELP)
        module.options(verb)
        verb.set_defaults(run=module.run)
    return parser


def main(argv=None):
    args = build_parser().parse_args(argv)
    try:
        print(args.run(args))
    except JetsonError as error:
        sys.stderr.write("jetson %s: %s\n" % (args.verb, _plain(str(error))))
        return 1
    except BrokenPipeError:  # who read our lines has gone; Python's last flush must not say so again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("jetson %s: stopped\n" % (args.verb,))
        return 1
    return 0


def _plain(text):
    """One line of ASCII: a name may hold anything, and Python 3.6 over ssh has an ASCII stderr."""
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode("ascii") for c in text)


if __name__ == "__main__":
    sys.exit(main())
