"""Two bundles against each other on one board: both in memory, in turns, so that drift hits both.

A round is A B B A or B A A B, each letter a block of calls: what changes steadily within a round (heat,
clocks) weighs as much on one as on the other. Which of the two it is was drawn beforehand, as many of one
as of the other; so where the bundles are equal, each round's ratio is as likely above 1 as below, whatever
the machine does meanwhile: the sign test of the rounds then errs as rarely as it says, with no assumption
on distributions or on rounds being independent. The ratio is the median of the rounds' ratios, its interval
goes from one of them to another (order statistics, as for any median).
"""

import random
import time
from contextlib import ExitStack, contextmanager

from edgedistill_device.benchmark.bench import SETTLE, Turn, keep_samples, measure_ms, summary_ms
from edgedistill_device.board import sampler, telemetry
from edgedistill_device.board.conditions import conditions, warnings
from edgedistill_device.engine.runners import backend_named, open_runner
from edgedistill_device.errors import BenchError, DeviceMemoryError
from edgedistill_device.preprocess import Preparer

VERSION = 1
MOST_ROUNDS, FEWEST_ROUNDS = 20, 6  # with five, even the widest interval covers less than 95 %
LEVEL = 0.05  # how often at most a bundle against itself gets a verdict, in any of its scopes
# Two sessions of one bundle differ for as long as they live, by where their memory lies: 0.1 us of a network
# of 7 us on an idle computer, more where other programs use its caches. Less than either is no difference.
SMALLEST, SMALLEST_MS = 0.02, 0.005
ORDER = "ABBA"  # or its mirror, see above
ROOM_MIB = 64  # for the second one's buffers, beside its engine
_NO_ROOM = "both engines do not fit into the memory together (%s); stop other programs, or time each with bench alone"


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
        _check_room(backend_named(backend).engine_mib(second[0]))
        try:
            two = opened.enter_context(open_runner(backend, *second, verified=True))
        except (MemoryError, DeviceMemoryError) as error:
            raise BenchError(_NO_ROOM % (error,))
        yield one, two


def compare(folder, first, second, images, runs, clock=time.perf_counter, root="/", seed=None):
    """Time two entered runners in turns.

    Args:
        folder: whose `work` folder keeps the raw samples, round by round.
        first, second: (manifest, runner).
        images: paths of image files, the same for both.
        runs: timed calls of each, in each scope; rounded down to whole rounds.
        root: where /sys and /proc hang.
        seed: of the lot that draws the rounds' order; None: another one each time.

    Returns:
        JSON-able: version, verb (bench), order, rounds, calls in a block, settle, smallest_difference (a fraction),
        smallest_difference_ms; `a` and `b` with model, backend, provenance, requested, executed, engine_sha256
        and a summary per scope (compute_ms is None where one of both does not time itself); `ratio` {scope: of
        `ratio`, or None}; machine and conditions.

    Raises:
        BenchError: too few runs.
    """
    if runs < 2 * FEWEST_ROUNDS:
        raise BenchError("--against needs --runs of at least %d, got %d" % (2 * FEWEST_ROUNDS, runs))
    rounds = min(MOST_ROUNDS, runs // 2)
    calls = runs // (2 * rounds)
    clocks, mode, watch = sampler.clocks(root), sampler.power_mode(), sampler.Sampler(root)
    sides = [Side(manifest, runner, images) for manifest, runner in (first, second)]
    lot = random.Random(seed)  # noqa: S311 - for the order of rounds
    for whole in (False, True):
        take_turns(sides, whole, rounds, calls, clock, lot, watch.tick)
    watch.finish()
    measured_conditions = conditions(watch, clocks, mode)
    has_compute = all(side.rounds["compute_ms"] for side in sides)
    scopes = (("compute_ms",) if has_compute else ()) + ("host_ms", "end_to_end_ms")
    return dict(
        measured_conditions,
        version=VERSION,
        verb="bench",
        order=ORDER,
        rounds=rounds,
        calls=calls,
        settle=SETTLE,
        smallest_difference=SMALLEST,
        smallest_difference_ms=SMALLEST_MS,
        a=sides[0].summaries(scopes),
        b=sides[1].summaries(scopes),
        ratio=dict(
            {"compute_ms": None},
            **{scope: ratio(sides[0].rounds[scope], sides[1].rounds[scope], len(scopes)) for scope in scopes},
        ),
        machine=telemetry.machine(),
        memory=telemetry.memory(),
        warnings=warnings(measured_conditions),
        samples_file=keep_samples(
            folder,
            "against_samples.json",
            {
                "a": sides[0].rounds,
                "b": sides[1].rounds,
            },
        ),
    )


def take_turns(sides, whole, rounds, calls, clock, lot, tick=None):
    """Time two sides in rounds of A B B A or B A A B, drawn by lot.

    Args:
        sides: two of Side, whose `rounds` grow.
        whole: from the image file, or the network alone.
        calls: of a block.
        tick: called before each round, outside of the timing.
    """
    for side in sides:
        side.warm(whole, 5 * SETTLE)
    for start in drawn(rounds, lot):
        if tick is not None:
            tick()
        for number in (1 - start, start):  # what the reading threw out of the caches comes back unseen
            sides[number].warm(whole, SETTLE)
        for number in (start, 1 - start, 1 - start, start):
            sides[number].block(whole, calls, clock)
        for side in sides:
            side.end_round()


def drawn(rounds, lot):
    """Which bundle begins each round, 0 or 1, each equally often (of an odd number one more), in random order."""
    order = [number % 2 for number in range(rounds)]
    if rounds % 2:
        order[-1] = lot.randrange(2)
    lot.shuffle(order)
    return order


def ratio(first, second, questions=1):
    """The ratio of the two times, with its interval.

    Args:
        first, second: [[ms of each call of the round]], round by round.
        questions: how many such ratios are looked at together: each gets its part of LEVEL.

    Returns:
        a_over_b, low, high, coverage_fraction of that interval; p_value, two-sided, of the sign test that
        as many rounds differ by more than SMALLEST and SMALLEST_MS as not; level, up to which it decides;
        faster: "a", "b", or None when it does not decide.

    Raises:
        BenchError: fewer rounds than FEWEST_ROUNDS.

    Source: the interval of a median by order statistics, e.g. Le Boudec, Performance Evaluation of
    Computer and Communication Systems, 2010, theorem 2.1; sign test: Conover, Practical Nonparametric
    Statistics, 3rd edition, section 3.4; parts of the level: Bonferroni.
    """
    medians = [(_median(ours), _median(theirs)) for ours, theirs in zip(first, second)]
    ratios = sorted(ours / theirs for ours, theirs in medians)
    number, level = len(ratios), LEVEL / questions
    if number < FEWEST_ROUNDS:
        raise BenchError("%d rounds give no interval; expected %d" % (number, FEWEST_ROUNDS))
    place = 1  # at FEWEST_ROUNDS the widest interval, which covers 1 - 2 / 2**6
    while 2 * _tail(number, place) <= level:
        place += 1
    low, high = ratios[place - 1], ratios[number - place]
    beyond = {
        "a": sum(_is_slower(theirs, ours) for ours, theirs in medians),
        "b": sum(_is_slower(ours, theirs) for ours, theirs in medians),
    }
    clearer = max("ab", key=beyond.get)
    p_value = min(1.0, 2 * _tail(number, number - beyond[clearer]))
    return {
        "a_over_b": _median(ratios),
        "low": low,
        "high": high,
        "p_value": p_value,
        "level": level,
        "coverage_fraction": 1 - 2 * _tail(number, place - 1),
        "faster": clearer if p_value <= level else None,
    }


def _is_slower(one_ms, other_ms):
    """Whether the difference is larger than that between two sessions of one bundle."""
    return one_ms > other_ms * (1 + SMALLEST) and one_ms > other_ms + SMALLEST_MS


def _tail(number, most):
    """The probability that at most `most` of `number` fair coins show heads."""
    term, total = 0.5**number, 0.0
    for heads in range(most + 1):
        total, term = total + term, term * (number - heads) / (heads + 1.0)
    return total


def _check_room(engine_mib):
    """Check the memory first: on a Jetson a lack of it is not an error but the kernel's OOM killer.

    Args:
        engine_mib: of the second one; None: not known.
    """
    if engine_mib is None:
        return
    need = ROOM_MIB + 2 * engine_mib  # its bytes as they are read, and again on the GPU
    available = telemetry.memory()["available_mib"]
    if available is not None and available < need:
        raise BenchError(_NO_ROOM % ("%d MiB are available, %d needed" % (available, need),))


class Side(object):
    """One bundle, or one way of running it: its calls, and its times by round, `rounds` {scope: [[ms]]}."""

    def __init__(self, manifest, runner, images):
        self._manifest, self._runner = manifest, runner
        self._turn = Turn(images, manifest.preprocess.sixteen_bit)
        self._prepare = Preparer(manifest.preprocess)
        self._prepare(self._turn.read())
        self.rounds = {"compute_ms": [], "host_ms": [], "end_to_end_ms": []}
        self._round = {name: [] for name in self.rounds}
        self._timed_itself = False

    def warm(self, whole, calls):
        measure_ms(self._call(whole), calls, 0)
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

    def summaries(self, scopes):
        flat = {name: [ms for samples in rounds for ms in samples] for name, rounds in self.rounds.items()}
        summaries = {name: summary_ms(flat[name]) if name in scopes else None for name in flat}
        return dict(
            summaries,
            model=self._manifest.model,
            backend=type(self._runner).__name__,
            provenance=self._runner.provenance,
            requested=self._manifest.precision_requested,
            executed=self._runner.executed,
            engine_sha256=self._runner.engine_sha256,
        )

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
