"""How long the suite runs: TORTURE=short (in `make test`), minutes (`make torture`), long; and its seed."""

import os
import random

MODE = os.environ.get("TORTURE", "short")
MODES = ("short", "minutes", "long")
SEED = int(os.environ.get("TORTURE_SEED", "1"))
if MODE not in MODES:
    raise SystemExit(f"TORTURE={MODE}: expected one of {', '.join(MODES)}")


def rounds(short, minutes, long):
    """The number for this mode."""
    return (short, minutes, long)[MODES.index(MODE)]


def chance(name):
    """A generator of this test's own: equal for equal TORTURE_SEED, whatever ran before."""
    return random.Random(f"{SEED} {name}")
