"""What `bench` says, on a board or on this computer: figures, and the conditions that they were taken under.

The form is that of edgedistill_device/benchmark/benchreport.py and ab_bench.py.
"""

from __future__ import annotations

from typing import Any, Literal

from edgedistill.records.base import Number
from edgedistill.records.board_answers import BoardAnswer, BoardPart, Figure, Times
from edgedistill.records.provenance import ProvenanceField

Scope = Literal["compute_ms", "host_ms", "end_to_end_ms"]
"""The network alone, with copies, and from the image file."""
SCOPES: tuple[Scope, ...] = ("compute_ms", "host_ms", "end_to_end_ms")
Samples = dict[str, list[Number]]
"""Scope to milliseconds of each call; `SCOPE_start_s` to the seconds at which each began."""


class FramesPerSecond(BoardPart):
    """Images per second, one by one or with the next image prepared meanwhile."""

    host: Figure | None = None
    end_to_end: Figure
    pipelined: Figure


class Machine(BoardPart):
    """What ran, without host names."""

    machine: str | None = None
    system: str | None = None
    python: str | None = None
    cpu: str | None = None
    board: str | None = None
    l4t: str | None = None


class Clocks(BoardPart):
    """MHz: lowest, highest, now."""

    cpu: list[list[Number]] = []
    gpu: list[Number] | None = None
    emc: list[Number] | None = None
    emc_locked: bool | None = None


class PowerMode(BoardPart):
    """Of nvpmodel."""

    name: str | None = None
    number: int | None = None


class Temperatures(BoardPart):
    """Degrees Celsius by zone."""

    before: dict[str, Number] | None = None
    after: dict[str, Number] | None = None
    peak: dict[str, Number] | None = None


class Throttle(BoardPart):
    """Signs that the board was held back."""

    over_current_events: dict[str, int] | None = None
    cooling: list[str] = []
    slowest_gpu_mhz: Number | None = None
    below_its_lock: bool | None = None


class BenchMemory(BoardPart):
    """MiB of the process and of the system, before the network was loaded and at the most."""

    process_before_mib: Number | None = None
    process_peak_mib: Number | None = None
    available_before_mib: Number | None = None
    available_least_mib: Number | None = None
    available_delta_mib: Number | None = None
    nvmap_before_mib: Number | None = None
    nvmap_most_mib: Number | None = None
    nvmap_delta_mib: Number | None = None
    method: str | None = None


class MemoryNow(BoardPart):
    """MiB of the system and of the process, read once."""

    available_mib: Number | None = None
    nvmap_mib: Number | None = None
    process_peak_mib: Number | None = None


class Power(BoardPart):
    """Milliwatts, and millijoules an image."""

    mean_mw: dict[str, Number] | None = None
    samples: int | None = None
    input_rail: str | None = None
    input_mw: Number | None = None
    energy_mj: Number | None = None
    reason: str | None = None
    """Why a figure is absent."""


class LayerTime(BoardPart):
    """One layer, profiled apart from the timing."""

    name: str
    kind: str | None
    median_ms: Number
    share: Number
    """Of the sum over the layers."""


class LayerTimes(BoardPart):
    """All layers in the order that they run in."""

    layers: list[LayerTime]
    sum_ms: Number
    runs: Number


class Loop(BoardPart):
    """One timed loop, in seconds of the bench."""

    scope: str
    start_s: Number
    end_s: Number


class Trace(BoardPart):
    """Readings over time, a column each; None where a reading, or all of a column, is absent."""

    loops: list[Loop]
    at_s: list[Number]
    temperatures_c: dict[str, list[Number | None] | None]
    gpu_mhz: list[Number | None] | None
    cpu_mhz: list[Number | None] | None
    input_mw: list[Number | None] | None
    available_mib: list[Number | None] | None


class Trtexec(BoardPart):
    """What the board's own trtexec said of the same engine."""

    summary: dict[str, Any] | None = None
    reason: str | None = None
    command: str | None = None


class Ratio(BoardPart):
    """A's time over B's, with its interval."""

    a_over_b: Figure
    low: Figure
    high: Figure
    p_value: Figure | None = None
    level: Figure | None = None
    coverage_fraction: Figure
    faster: str | None
    """`a`, `b`, or None where no difference was seen."""


class Trial(BoardPart):
    """One way of building or running the engine that was tried against the fastest before it."""

    tried: str
    kept: bool
    reason: str | None = None
    """Why it was not measured, or not kept although it was faster."""
    ratio: Ratio | None = None
    """`a` is what was kept before."""


class Execution(BoardPart):
    """How the engine was run."""

    cuda_graph: bool
    mapped_memory: bool


class UnderConditions(BoardAnswer):
    """A measurement, and what the board was like meanwhile."""

    machine: Machine | None = None
    state: str
    """locked, unlocked, throttled or unknown: whether to believe the figures."""
    clocks_mhz: Clocks | None = None
    power_mode: PowerMode | None = None
    temperatures_c: Temperatures | None = None
    throttle: Throttle | None = None
    absent: dict[str, str] | None = None
    """What is not there, and why."""
    samples_file: str | None = None


class BenchAnswer(UnderConditions):
    """`bench`: the report of edgedistill_device/benchmark/benchreport.py."""

    version: int
    model: str | None = None
    backend: str | None = None
    provenance: ProvenanceField
    requested: str | None = None
    executed: str | None = None
    compute_ms: Times | None = None
    """None where the backend does not time its own computing."""
    host_ms: Times
    end_to_end_ms: Times
    fps: FramesPerSecond
    memory: BenchMemory | None = None
    power: Power | None = None
    trtexec: Trtexec | None = None
    warmup: int | None = None
    warnings: list[str] | None = None
    layer_times: LayerTimes | None = None
    trace: Trace | None = None
    execution: Execution | None = None
    """None without an engine."""
    tuning: list[Trial] | None = None
    """What was tried to make it faster; None where nothing was."""

    def times(self, scope: Scope) -> Times | None:
        return getattr(self, scope)


class ComparedSide(BoardPart):
    """One of two networks."""

    model: str
    backend: str | None = None
    provenance: ProvenanceField
    requested: str | None = None
    executed: str | None
    engine_sha256: str | None = None
    compute_ms: Times | None = None
    host_ms: Times
    end_to_end_ms: Times

    def times(self, scope: Scope) -> Times | None:
        return getattr(self, scope)


class Ratios(BoardPart):
    """By scope; None where one of both does not time itself."""

    compute_ms: Ratio | None = None
    host_ms: Ratio
    end_to_end_ms: Ratio

    def of(self, scope: Scope) -> Ratio | None:
        return getattr(self, scope)


class CompareAnswer(UnderConditions):
    """`bench --against`: two networks in turns (edgedistill_device/benchmark/ab_bench.py)."""

    host: str
    """Given here, not by the board."""
    version: int
    order: str
    rounds: int
    calls: int | None = None
    settle: int | None = None
    smallest_difference: Number | None = None
    smallest_difference_ms: Number | None = None
    a: ComparedSide
    b: ComparedSide
    ratio: Ratios
    memory: MemoryNow | None = None
    warnings: list[str] = []
