"""The parts of report.json about speed and money: what hosts measured, what others published, what is predicted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import WithJsonSchema

from edgedistill.records.base import Fraction, Number, Record
from edgedistill.records.benchmark import BenchMemory, Clocks, Machine, Power, PowerMode, Temperatures, Throttle
from edgedistill.records.board_answers import BoardPart, VerifyAnswer
from edgedistill.records.provenance import ProvenanceField

Column = list[Number | None] | None
"""A value a reading, null where it lacks one; null where none was read."""


class Speedup(Record):
    """Teacher's over student's time in one runtime on one computer; ratio null with a reason."""

    ratio: Number | None
    reason: str
    teacher_p50_ms: Number | None = None
    student_p50_ms: Number | None = None
    provenance: ProvenanceField | None = None


class ReportTarget(Record):
    """The board that the recipe names, and its budget."""

    name: str
    title: str
    requested: str
    executed: str
    reason: str
    wanted_fps: Number | None
    wanted_memory_mib: Number | None
    wanted_retention_fraction: Number | None


class Latency(Record):
    """Milliseconds for one image, one at a time, nearest rank; a percentile is null with too few runs."""

    runs: int
    p50_ms: Number | None
    p90_ms: Number | None
    p95_ms: Number | None
    p99_ms: Number | None
    max_ms: Number
    mean_ms: Number


class DeviceLatency(Record):
    """By scope."""

    compute: Latency | None
    host: Latency
    end_to_end: Latency


class DeviceFps(Record):
    """Images a second."""

    host: Number
    """1 / p50, network alone."""
    end_to_end: Number
    """1 / p50, from the image file."""
    pipelined: Number
    """Throughput, the next image prepared meanwhile."""


class LayerTime(Record):
    """One layer."""

    name: str
    kind: str | None
    median_ms: Number
    share: Fraction
    """Of sum_ms."""


class LayerTimes(Record):
    """From a profiler, in a run of its own: the sum is not the latency."""

    layers: list[LayerTime]
    """In the order they run in."""
    sum_ms: Number
    runs: int


class TracedLoop(Record):
    """A loop of the benchmark, in seconds since it began."""

    scope: str
    start_s: Number
    end_s: Number


class Trace(Record):
    """What was read over the time of the benchmark."""

    loops: list[TracedLoop]
    at_s: list[Number]
    """Of each reading; what follows is as long."""
    temperatures_c: dict[str, Column]
    gpu_mhz: Column
    cpu_mhz: Column
    """Of the fastest core."""
    input_mw: Column
    """Of the whole input."""
    available_mib: Column
    """Of the system."""


class Conditions(BoardPart):
    """What the figures were taken under."""

    state: str
    """locked, unlocked, throttled or unknown."""
    clocks_mhz: Clocks
    power_mode: PowerMode
    temperatures_c: Temperatures
    throttle: Throttle
    absent: dict[str, str]
    """What is not there, and why."""


_Said = WithJsonSchema({"additionalProperties": True, "type": "object"})
"""An object of the board's benchmark, whose keys docs/board.md describes and not the report's schema."""


class ReportDevice(Record):
    """What one host said of the bundle. Its own objects are those of its benchmark: docs/board.md."""

    target: str
    requested: str
    executed_on_target: str
    reason: str
    executed: str
    """Precision that this host computed in."""
    host: str
    """`local`, or the board's name for ssh."""
    backend: str
    machine: Annotated[Machine, _Said]
    latency_ms: DeviceLatency
    fps: DeviceFps
    memory: Annotated[BenchMemory, _Said]
    """MiB."""
    conditions: Annotated[Conditions, _Said]
    """Clocks, power mode, temperatures, throttling, and what could not be read."""
    power: Annotated[Power, _Said]
    verify: Annotated[VerifyAnswer, _Said]
    layer_times: LayerTimes | None = None
    """Null with a reason in conditions.absent."""
    trace: Trace | None = None
    """Null with a reason in conditions.absent; only in `devices`."""
    samples_ms: dict[str, list[Number]] | None = None
    """Scope -> every timed call in its order; only in `devices`."""
    samples_start_s: dict[str, list[Number]] | None = None
    """Loop -> when each timed call began, in seconds since the benchmark began; only in `devices`."""
    provenance: ProvenanceField
    warnings: list[str]


class Published(Record):
    """Measurements of others of the same network, size, precision and board."""

    of: str
    rows: list[dict[str, str]]
    others: list[dict[str, str]]
    """With another size, precision or power mode: `differs` says which."""
    reason: str


class Predicted(Record):
    """What `edgedistill predict` expects of the student's file on the target."""

    fps: Number | None
    fps_low: Number | None
    fps_high: Number | None
    interval_share: Fraction | None
    memory_mib: Number | None
    extrapolated: bool
    """Unlike the networks that were published: the interval may not hold."""
    notes: list[str]
    provenance: ProvenanceField
    reason: str
    int8_speedup: Number | None = None
    """FP16's time over INT8's for one image; null where the board has no INT8 or nothing is predicted."""


class Int8Verdict(Record):
    """Whether INT8 is worth it for the student on the target."""

    speedup: Number | None
    """As `Predicted.int8_speedup`."""
    drop_points: Number | None
    """Loss of top-1 on the test images, simulated."""
    worth: bool | None
    """Null where it cannot be said."""
    sentence: str


class SweptStudent(Record):
    """A trial of the sweep, or the run's own student."""

    own: bool
    """This run's own student."""
    front: bool
    """No other one is cheaper and as accurate."""
    settings: dict[str, Any]
    """Recipe key -> value, on top of the recipe."""
    model: str
    parameters: int
    value: Number
    state: Literal["complete", "pruned"]
    epochs: int
    latency_ms: Number | None
    """Predicted for the target."""
    latency_ms_low: Number | None
    latency_ms_high: Number | None
    extrapolated: bool


class Swept(Record):
    """Trials of `edgedistill sweep` on this run's teacher beside its own student."""

    metric: str
    images: int
    """Validation images that all are judged on."""
    cost: Literal["latency_ms", "parameters"]
    """What the front is against."""
    cost_provenance: ProvenanceField
    not_predicted: str
    """Why the front is not against the time; empty when it is."""
    provenance: ProvenanceField
    """Of the values."""
    reason: str
    """Why no students are here; empty when they are."""
    students: list[SweptStudent]


class CostItem(Record):
    """A part of a sum."""

    what: str
    per_month: Number
    how: str
    provenance: ProvenanceField


class CostSide(Record):
    """A machine for the teacher, or a board for the student."""

    per_month: Number | None
    items: list[CostItem]
    missing: list[str]
    """Recipe keys without which there is no sum."""


class RunningCost(Record):
    """What a month costs."""

    currency: str | None
    hours_per_month: Number
    teacher: CostSide
    student: CostSide
    saving_per_month: Number | None
    payback_months: Number | None
    sentence: str
