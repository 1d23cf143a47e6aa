"""Which way of running an engine is faster on this board: tried once an engine, kept where it was measured.

Each way is tried against the fastest one before it, in turns as ab_bench has them, and only when it gives the same
logits. It is tried in a process of its own, since a driver that takes no CUDA graph of a network may end the process.
What is kept goes into the engine's sidecar, and `verify` passes it as it will be served, or it is not kept.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from edgedistill_device.benchmark.ab_bench import MOST_ROUNDS, Side, ratio, take_turns
from edgedistill_device.engine import engine_file
from edgedistill_device.engine.build_child import be_killed_first
from edgedistill_device.engine.execution import PLAIN, Execution, words_of
from edgedistill_device.engine.runners import DEFAULT, open_runner
from edgedistill_device.engine.verify import golden_batches, golden_images, require_plain, verify
from edgedistill_device.errors import JetsonError
from edgedistill_device.json_text import json_text
from edgedistill_device.manifest import read_manifest

WAYS = {name: words_of(PLAIN._replace(**{name: True})) for name in Execution._fields}
CALLS = 10  # of a block
TIMEOUT_S = 600


def trial(tried, kept, reason=None, measured=None):
    """One thing that was tried, JSON-able.

    Args:
        tried: what, in words.
        reason: why it was not measured; None where it was.
        measured: of ab_bench.ratio, `a` being what was kept before.
    """
    return {"tried": tried, "kept": kept, "reason": reason, "ratio": measured}


def tune(bundle, manifest, again=False, built=None):
    """Measure the ways of running the engine in force, unless that was done.

    Args:
        bundle: whose last build has passed `verify`.
        again: also if it was done.
        built: of tune_build.tune_build, where that came before; None: what the sidecar has of it.

    Returns:
        [trial], of this time or of the time before.

    Raises:
        JetsonError: the engine does not pass as it did before.
    """
    record = engine_file.read_verified_engine(bundle, manifest)[0]
    if record["execution"] is not None and not again:
        return record["tuning"] or []
    if not os.access(engine_file.engine_folder(bundle), os.W_OK):
        return [trial("how the engine is run", False, "%s cannot be written" % engine_file.engine_folder(bundle))]
    sys.stderr.write("bench: measuring which way of running this engine is faster\n")
    if built is None:
        built = [row for row in record["tuning"] or [] if row["tried"] not in WAYS.values()]
    execution, trials = _in_a_child(bundle)
    return _keep(bundle, manifest, record, execution, built + trials)


def measure(runner, manifest, bundle, clock=time.perf_counter, seed=None, keep=None):
    """Try each way with an entered TensorRT runner.

    Args:
        bundle: whose goldens are run.
        seed: of the rounds' order; None: another one each time.
        keep: called with (execution, trials) before and after each.

    Returns:
        (the fastest Execution, [trial]).
    """
    fastest, trials, lot = PLAIN, [], random.Random(seed)  # noqa: S311 - for the order of rounds
    batches, images = golden_batches(bundle, manifest), golden_images(bundle)
    for name, words in WAYS.items():
        wanted = fastest._replace(**{name: True})
        if keep is not None:
            keep(fastest, trials + [trial(words, False, "it ended the process")])
        able, why = runner.can(wanted)
        if able != wanted:
            trials.append(trial(words, False, why))
        else:
            try:
                require_plain(runner, wanted, batches)
                sides = [Side(manifest, Run(runner, one), images) for one in (fastest, wanted)]
                take_turns(sides, False, MOST_ROUNDS, CALLS, clock, lot)
                found = ratio(*[side.rounds["host_ms"] for side in sides], questions=len(WAYS))
                trials.append(trial(words, found["faster"] == "b", None, found))
                fastest = wanted if found["faster"] == "b" else fastest
            except JetsonError as error:
                trials.append(trial(words, False, str(error)))
        if keep is not None:
            keep(fastest, trials)
    return fastest, trials


class Run(object):
    """A runner by one Execution, as Side takes it."""

    def __init__(self, runner, execution):
        self._runner, self._execution = runner, execution

    def infer(self, batch):
        return self._runner.infer_as(self._execution, batch)


def _in_a_child(bundle):
    """(Execution, [trial]) of `main` in a process of its own; what ended it early is among the trials."""
    folder = tempfile.mkdtemp(prefix="edgedistill-")
    path = os.path.join(folder, "result.json")
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", __name__, os.path.abspath(str(bundle)), path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
        )
        try:
            stderr = child.communicate(timeout=TIMEOUT_S)[1].decode("ascii", "replace")
        except BaseException as error:  # a Ctrl-C too: nothing of it may keep the GPU
            child.kill()
            child.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            stderr = "no end within %d s" % (TIMEOUT_S,)
        return _result(path, child.returncode, stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _result(path, code, stderr):
    try:
        with open(path, encoding="utf-8") as file:
            stored = json.load(file)
    except (IOError, OSError, ValueError):
        stored = {"execution": PLAIN._asdict(), "trials": []}
    if code:
        last = (stderr.strip().splitlines() or [""])[-1][:300]
        died = "it died of %s" % (signal.Signals(-code).name,) if code < 0 else last
        stored["trials"] = stored["trials"] or [trial("how the engine is run", False)]
        stored["trials"][-1]["reason"] = died or "exit code %d" % (code,)
    return Execution(**stored["execution"]), stored["trials"]


def _keep(bundle, manifest, record, execution, trials):
    """Write what was found into the sidecar, and verify the engine as it will be served."""
    for kept in (execution, PLAIN):
        options = {"builder": record["builder"], "execution": dict(kept._asdict()), "tuning": trials}
        engine_file.keep_options(bundle, record["engine_sha256"], **options)
        try:
            with open_runner(DEFAULT, bundle, manifest) as runner:
                verify(bundle, manifest, runner)
            return trials
        except JetsonError as error:
            if kept == PLAIN:
                raise
            of_a_way = [row["kept"] and row["tried"] in WAYS.values() for row in trials]
            trials = [dict(row, kept=False, reason=str(error)) if it else row for it, row in zip(of_a_way, trials)]
    raise AssertionError("the loop returns or raises")


def main(argv):
    """python3 -m edgedistill_device.benchmark.tune BUNDLE RESULT: `measure`, for `tune`."""
    be_killed_first()
    bundle, path = argv

    def keep(execution, trials):
        with open(path + ".tmp", "w", encoding="utf-8") as file:
            file.write(json_text({"execution": execution._asdict(), "trials": trials}))
        os.replace(path + ".tmp", path)

    try:
        manifest = read_manifest(bundle)
        with open_runner(DEFAULT, bundle, manifest, verified=True) as runner:
            keep(*measure(runner, manifest, bundle, keep=keep))
    except JetsonError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
