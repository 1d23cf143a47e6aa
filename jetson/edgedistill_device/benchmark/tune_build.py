"""Engines that are built otherwise: each against the one in force, and kept where it was measured to be faster.

One is minutes of building on a board, so this is done when it is asked for (`bench --tune build`). It is built and
verified beside the bundle, in its work folder, and whatever happens there the engine in force stays as it is until a
faster one has passed.
"""

import os
import random
import shutil
import time

from edgedistill_device.benchmark.ab_bench import MOST_ROUNDS, Side, both, ratio, take_turns
from edgedistill_device.benchmark.tune import CALLS, Run, trial
from edgedistill_device.engine import engine_file
from edgedistill_device.engine.build import build
from edgedistill_device.engine.execution import PLAIN
from edgedistill_device.engine.runners import DEFAULT, open_runner
from edgedistill_device.engine.trt_api import BUILDER
from edgedistill_device.engine.verify import golden_images, verify
from edgedistill_device.errors import JetsonError
from edgedistill_device.manifest import NAME

# Each beside what was kept before. Level 5, the highest, tries all kernels; 32 timings tell kernels apart that are
# close to one another.
CANDIDATES = (("optimization_level", 5), ("timing_iterations", 32))
_WORDS = {"optimization_level": "optimization level %d", "timing_iterations": "%d timings a kernel"}
_BESIDE = os.path.join("work", "tune")


def tune_build(bundle, manifest, clock=time.perf_counter, seed=None):
    """Try CANDIDATES against the engine in force.

    Args:
        bundle: whose last build has passed `verify`.
        seed: of the rounds' order; None: another one each time.

    Returns:
        [trial]; the engine in force is the fastest, and how it is run is to be measured anew.

    Raises:
        JetsonError: there is no engine that can be compared, or the faster one does not pass where it is to be served.
    """
    record = engine_file.read_verified_engine(bundle, manifest)[0]
    settings, trials, lot = dict(record["builder"] or BUILDER), [], random.Random(seed)  # noqa: S311
    for name, value in CANDIDATES:
        words = _WORDS[name] % (value,)
        if settings[name] == value:
            continue
        beside = _copy_of(bundle)
        try:
            build(beside, manifest, compiler=record["compiler"], builder=dict(settings, **{name: value}))
            with open_runner(DEFAULT, beside, manifest) as runner:
                verify(beside, manifest, runner)
            found = _compared(bundle, beside, manifest, clock, lot)
            trials.append(trial(words, found["faster"] == "b", None, found))
            if found["faster"] == "b":
                _adopt(bundle, beside, manifest)
                settings[name] = value
        except JetsonError as error:
            trials.append(trial(words, False, str(error)))
        finally:
            shutil.rmtree(os.path.join(bundle, _BESIDE), ignore_errors=True)
    return trials


def _copy_of(bundle):
    """A folder in the bundle's work with links to all that a build and `verify` read."""
    beside = os.path.join(os.path.abspath(str(bundle)), _BESIDE)
    shutil.rmtree(beside, ignore_errors=True)  # left by a killed one
    os.makedirs(beside)
    for name in os.listdir(str(bundle)):
        if name in (NAME, "golden", "calibration.json") or name.endswith(".onnx"):
            os.symlink(os.path.join(os.path.abspath(str(bundle)), name), os.path.join(beside, name))
    return beside


def _compared(bundle, beside, manifest, clock, lot):
    """ratio of the engine in force, a, and the one beside it, b, both run plainly."""
    with both(DEFAULT, (bundle, manifest), (beside, manifest)) as runners:
        sides = [Side(manifest, Run(runner, PLAIN), golden_images(bundle)) for runner in runners]
        take_turns(sides, False, MOST_ROUNDS, CALLS, clock, lot)
    return ratio(*[side.rounds["host_ms"] for side in sides], questions=len(CANDIDATES))


def _adopt(bundle, beside, manifest):
    """Make the engine beside the last build, and verify it here."""
    record = engine_file.read_record(beside)
    staged = os.path.join(engine_file.engine_folder(beside), record["engine"])
    record = {key: value for key, value in record.items() if key not in ("version", "engine", "engine_sha256")}
    engine_file.publish(bundle, staged, record)
    with open_runner(DEFAULT, bundle, manifest) as runner:
        verify(bundle, manifest, runner)
