"""python3 -m edgedistill_device VERB. The last line on stdout is one JSON.

build, verify, bench, frames, classify, gallery and health work on the bundle whose folder they are run from; the
others on the board's own folder, --root.
"""

import argparse
import importlib
import io
import os
import sys

from edgedistill_device import imports
from edgedistill_device.errors import JetsonError
from edgedistill_device.text import plain

VERBS = tuple(
    (name, "edgedistill_device.verbs." + name)
    for name in (
        "build",
        "verify",
        "bench",
        "frames",
        "classify",
        "gallery",
        "health",
        "want",
        "accept",
        "activate",
        "rollback",
        "status",
        "prune",
        "serials",
        "unpack",
        "doctor",
    )
)
# The others answer where numpy is broken, too.
WITH_NUMPY = ("build", "verify", "bench", "frames", "classify", "gallery", "health")


def import_verbs(argv):
    """[(name, module)] of the verb that is asked for, which loads faster than all; of all verbs where none is.

    Raises:
        PackageError: numpy, which is needed for it, is absent or broken.
    """
    asked = [verb for verb in VERBS if argv[:1] == [verb[0]]]
    if not asked or asked[0][0] in WITH_NUMPY:
        imports.load("numpy", imports.NUMPY_MEND)
    return [(name, importlib.import_module(module)) for name, module in asked or VERBS]


def build_parser(argv=()):
    """The parser for these arguments; raises as `import_verbs`."""
    parser = argparse.ArgumentParser(prog="python3 -m edgedistill_device", description=__doc__)
    parsers = parser.add_subparsers(dest="verb", metavar="VERB")
    parsers.required = True  # not an argument of add_subparsers on Python 3.6
    for name, module in import_verbs(list(argv)):
        verb = parsers.add_parser(name, help=module.HELP)
        module.options(verb)
        verb.set_defaults(run=module.run)
    return parser


def main(argv=None):
    try:
        parser = build_parser(sys.argv[1:] if argv is None else argv)
    except imports.PackageError as error:
        sys.stderr.write(
            "edgedistill_device: %s; on the board: %s; python3 -m edgedistill_device.doctor says more\n"
            % (error.why, error.mend)
        )
        return 1
    args = parser.parse_args(argv)
    os.umask(os.umask(0o077) | 0o022)  # others must not write into what is served, whatever the login says
    try:
        print(args.run(args))
        sys.stdout.flush()
    except JetsonError as error:
        sys.stderr.write("edgedistill_device %s: %s\n" % (args.verb, plain(str(error))))
        return 1
    except BrokenPipeError:  # who read our lines has gone
        return 1
    except (IOError, OSError) as error:  # a full disk, stdout's perhaps
        sys.stderr.write("edgedistill_device %s: %s\n" % (args.verb, plain(str(error))))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("edgedistill_device %s: stopped\n" % (args.verb,))
        return 1
    return 0


def _open_streams():
    """Streams that take every character and are there: ssh may bring no locale, a daemon none of them."""
    out = sys.stdout
    if out is not None:
        sys.stdout = io.TextIOWrapper(out.buffer, out.encoding, "backslashreplace", line_buffering=out.line_buffering)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="ascii"))  # noqa: SIM115


if __name__ == "__main__":
    _open_streams()
    code = main()
    try:
        sys.stdout.flush()
    except (IOError, OSError):  # it was said; Python's own last flush must not say so again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
