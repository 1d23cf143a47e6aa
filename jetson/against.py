"""Two bundles against each other on one board: both in memory, in turns, so that drift hits both.

A round is A B B A, each letter a block of calls: what changes steadily within a round (heat, clocks)
weighs as much on one as on the other. The ratio is the median of the rounds' ratios, its interval
goes from one of them to another (order statistics, as for any median), so it needs no assumption on
how they are distributed, only that rounds are independent of each other.
"""

import os
import time
from contextlib import ExitStack, contextmanager

from jetson import engine_file, sampler, telemetry
from jetson.bench import SETTLE, Turn, keep_samples, measure_ms, summary_ms
from jetson.conditions import conditions, warnings
from jetson.errors import BenchError, DeviceMemoryError
from jetson.preprocess import Preparer
from jetson.runners import open_runner

VERSION = 1
MOST_ROUNDS, FEWEST_ROUNDS = 20, 6  # with five, even the widest interval covers less than 95 %
CONFIDENCE = 0.95
ROOM_MIB = 64  # for the second one's buffers, beside its engine
_NO_ROOM = (
    "both engines do not fit into the memory together (%s); stop other programs, or time each "
    "with bench alone"
)


@contextmanager
def both(backend, first, second):
    """Two entered runners.

    Args:
        first, second: (folder, manifest).

    Raises:
        BenchError: they do not fit into the memory together.
    """
    with ExitStack() as opened:
        one = opened.enter_context(open_runner(backend, *first, verified=True))
        if backend == "tensorrt":
            _check_room(second[0])
        try:
            two = opened.enter_context(open_runner(backend, *second, verified=True))
        except (MemoryError, DeviceMemoryError) as error:
            raise BenchError(_NO_ROOM % (error,))
        yield one, two


def compare(folder, first, second, images, runs, clock=time.perf_counter, root="/"):
    """Time two entered runners in turns.

    Args:
        folder: whose `work` folder keeps the raw samples, round by round.
        first, second: (manifest, runner).
        images: paths of image files, the same for both.
        runs: timed calls of each, in each scope; rounded down to whole rounds.
        root: where /sys and /proc hang.

    Returns:
        JSON-able: version, verb (bench), order, rounds, calls in a block, settle; `a` and `b` with
        model, backend, provenance, requested, executed, engine_sha256 and a summary per scope
        (compute_ms is None where one of both does not time itself); `ratio` {scope: a_over_b, low,
        high, coverage_fraction, faster ("a", "b" or None) or None}; machine and conditions.

    Raises:
        BenchError: too few runs.
    """
    if runs < 2 * FEWEST_ROUNDS:
        raise BenchError(
            "--against needs --runs of at least %d, got %d" % (2 * FEWEST_ROUNDS, runs)
        )
    rounds = min(MOST_ROUNDS, runs // 2)
    calls = runs // (2 * rounds)
    clocks, mode, watch = sampler.clocks(root), sampler.power_mode(), sampler.Sampler(root)
    sides = [_Side(manifest, runner, images) for manifest, runner in (first, second)]
    for whole in (False, True):
        for side in sides:
            side.warm(whole)
        for _ in range(rounds):
            for number in (0, 1, 1, 0):
                sides[number].block(whole, calls, clock)
            for side in sides:
                side.end_round()
            watch.tick()
    watch.finish()
    found = conditions(watch, clocks, mode)
    has_compute = all(side.rounds["compute_ms"] for side in sides)
    scopes = (("compute_ms",) if has_compute else ()) + ("host_ms", "end_to_end_ms")
    return dict(
        found, version=VERSION, verb="bench", order="ABBA", rounds=rounds, calls=calls,
        settle=SETTLE, a=sides[0].said(scopes), b=sides[1].said(scopes),
        ratio=dict(
            {"compute_ms": None},
            **{scope: ratio(sides[0].rounds[scope], sides[1].rounds[scope]) for scope in scopes}
        ),
        machine=telemetry.machine(), memory=telemetry.memory(), warnings=warnings(found),
        samples_file=keep_samples(folder, "against_samples.json", {
            "a": sides[0].rounds, "b": sides[1].rounds,
        }),
    )  # fmt: skip


def ratio(first, second):
    """What one takes of the other's time.

    Args:
        first, second: [[ms of each call of the round]], round by round.

    Returns:
        a_over_b, low, high, coverage_fraction of that interval, and who is faster: None when the
        interval holds 1.

    Source: the interval of a median by order statistics, e.g. Le Boudec, Performance Evaluation of
    Computer and Communication Systems, 2010, theorem 2.1.
    """
    ratios = sorted(_median(ours) / _median(theirs) for ours, theirs in zip(first, second))
    number, tail, term, place = len(ratios), 0.0, 0.5 ** len(ratios), 0
    while tail + term <= (1 - CONFIDENCE) / 2:  # P(fewer than `place` of them below the median)
        tail, term, place = tail + term, term * (number - place) / (place + 1.0), place + 1
    if place == 0:
        raise BenchError("%d rounds give no interval; expected %d" % (number, FEWEST_ROUNDS))
    low, high = ratios[place - 1], ratios[number - place]
    faster = "a" if high < 1 else "b" if low > 1 else None
    return {"a_over_b": _median(ratios), "low": low, "high": high,
            "coverage_fraction": 1 - 2 * tail, "faster": faster}  # fmt: skip


def _check_room(folder):
    """On a Jetson too little is no error but the kernel's OOM killer: ask before."""
    name = str(engine_file.read_record(folder)["engine"])
    path = os.path.join(engine_file.engine_folder(folder), name)
    size = os.path.getsize(path) if os.path.isfile(path) else 0  # then the runner says so
    need = ROOM_MIB + 2 * (size >> 20)  # its bytes as they are read, and again on the GPU
    available = telemetry.memory()["available_mib"]
    if available is not None and available < need:
        raise BenchError(_NO_ROOM % ("%d MiB are available, %d needed" % (available, need),))


class _Side(object):
    """One bundle: its calls, and its times by round."""

    def __init__(self, manifest, runner, images):
        self._manifest, self._runner = manifest, runner
        self._turn = Turn(images, manifest.preprocess.sixteen_bit)
        self._prepare = Preparer(manifest.preprocess)
        self._prepare(self._turn.read())
        self.rounds = {"compute_ms": [], "host_ms": [], "end_to_end_ms": []}
        self._round = {name: [] for name in self.rounds}
        self._timed_itself = False

    def warm(self, whole):
        measure_ms(self._call(whole), 5 * SETTLE, 0)
        self._timed_itself = getattr(self._runner, "last_compute_ms", None) is not None

    def block(self, whole, calls, clock):
        scope = "end_to_end_ms" if whole else "host_ms"
        also = self._note if self._timed_itself and not whole else None
        self._round[scope] += measure_ms(self._call(whole), SETTLE, calls, clock, also)

    def end_round(self):
        for name, samples in self._round.items():
            if samples:
                self.rounds[name].append(samples)
        self._round = {name: [] for name in self.rounds}

    def said(self, scopes):
        flat = {name: [ms for samples in rounds for ms in samples]
                for name, rounds in self.rounds.items()}  # fmt: skip
        found = {name: summary_ms(flat[name]) if name in scopes else None for name in flat}
        return dict(
            found, model=self._manifest.model, backend=type(self._runner).__name__,
            provenance=self._runner.provenance, requested=self._manifest.precision_requested,
            executed=self._runner.executed, engine_sha256=self._runner.engine_sha256,
        )  # fmt: skip

    def _note(self):
        self._round["compute_ms"].append(self._runner.last_compute_ms)

    def _call(self, whole):
        runner, prepare = self._runner, self._prepare
        if whole:
            return lambda: runner.infer(prepare(self._turn.read()))
        return lambda: runner.infer(prepare.batch)


def _median(values):
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2.0
