"""report.json: every figure of a run with where it comes from. docs/make_report_schema.py prints its JSON Schema.

Fractions are in 0..1, points are of 100, times in ms where the name says so. What is not known is null.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, WithJsonSchema

from edgedistill.records.base import ArtifactRecord, Fraction, Interval, Number, Record
from edgedistill.records.data import ValueSummary
from edgedistill.records.decision import DecisionFigures
from edgedistill.records.evaluation import Chance, LinkScores, MeasuredNetwork, RecallAt1
from edgedistill.records.export import Preflight
from edgedistill.records.gallery import GalleryFigures
from edgedistill.records.look_closer import LookCloser, Said
from edgedistill.records.pool_curve import PoolCurve
from edgedistill.records.provenance import ProvenanceField
from edgedistill.records.quantization import Fp16Finding, Int8Gate, LadderStep, PtqRecord, QadRecord, TypedFile
from edgedistill.records.report_speed import (
    Int8Verdict,
    Predicted,
    Published,
    ReportDevice,
    ReportTarget,
    RunningCost,
    Speedup,
    Swept,
)
from edgedistill.records.training import Epoch, PoolUse

VERSION = 2


class ReportNetwork(MeasuredNetwork):
    """A network on the test images."""

    model: str
    weights: str
    """Name of the file or source, without folders."""
    parameters: int
    macs: int
    """Multiply-adds of one image."""
    file_bytes: int
    """ONNX file, float32."""
    provenance: ProvenanceField


class MeanAndSpread(Record):
    """Over trainings with different seeds."""

    mean_points: Number
    sd_points: Number | None
    """Standard deviation; null of one seed."""


class OverSeeds(Record):
    """What the spread over trainings shows of the gain."""

    seeds: int
    baseline: MeanAndSpread
    student: MeanAndSpread
    gain: MeanAndSpread
    interval_points: Interval | None
    """95 % of the mean gain; null of one seed."""
    shown: bool | None
    """Whether the interval lies above zero; null of one seed."""
    sentence: str


class Gain(Record):
    """Student minus baseline, with its 95 % interval."""

    metric: str
    points: Number
    interval_points: Interval
    interval_method: str
    shown: bool
    sentence: str
    top1_points: Number
    top1_points_interval: Interval
    student_only_correct: int
    baseline_only_correct: int
    mcnemar_p: Number
    seeds: int
    over_seeds: OverSeeds


class ShownImage(Record):
    """A test image on which two networks part."""

    position: int
    """Among the test images."""
    sha256: str
    """Of the image file."""
    file: str = ""
    """The end of its path, as `shown_names` gives it; absent of older releases."""
    label: str
    first: Said
    second: Said


class Disagreement(Record):
    """Where two networks part on the test images."""

    names: list[str]
    images: int
    apart: int
    """Images with different classes."""
    both_right: int
    first_only_right: int
    second_only_right: int
    both_wrong_alike: int
    both_wrong_apart: int
    shown: list[ShownImage]


class SynthesisedImages(Record):
    """Images made from the teacher's weights."""

    images: int
    wanted_fraction: Fraction


class PlannedSteps(Record):
    """How many steps student and baseline were given, each of them in each of their trainings."""

    minutes: Number
    steps: int
    asked_steps: int
    """By the recipe without the minutes."""


class Taught(Record):
    """On how many images student and baseline were trained."""

    student_images: int
    baseline_images: int
    pool_images: int
    pool_of_train: int = 0
    """Of them, training images whose labels are not used."""
    class_weights: dict[str, Number] | None = None
    """Class -> the weight of its images in every loss."""
    best_epochs: dict[str, list[int]] | None = None
    """Network -> the epoch whose weights it has, and of how many; null: the last."""
    synthesised: SynthesisedImages | None
    pool: PoolUse | None = None
    """Null: the student learns from no image without a label."""
    pool_curve: PoolCurve | None = None
    """Null: the recipe has no `distill.pool_shares`."""
    planned: PlannedSteps | None = None
    """Null: the recipe sets no time."""


class StudentProof(Record):
    """The student's ONNX file in ONNX Runtime against PyTorch."""

    max_abs_difference: Number
    max_relative_difference: Number
    top1_agreement_fraction: Fraction
    opset: int
    ir: int


class Histories(Record):
    """A row for each epoch; eval_ figures are of the validation images."""

    teacher: list[Epoch]
    baseline: list[Epoch]
    student: list[Epoch]

    def of(self, name: str) -> list[Epoch]:
        """Of `teacher`, `baseline` or `student`."""
        return {"teacher": self.teacher, "baseline": self.baseline, "student": self.student}[name]


class ReportData(Record):
    """The images: as in data.json."""

    name: str = ""
    """Of the folder or list that the recipe trains on; absent of older releases."""
    classes: list[str]
    images: dict[str, int]
    counts: dict[str, dict[str, int]]
    majority_fraction: Fraction
    test_sha256: str = ""
    """Of the test images; absent of older releases."""
    exact_duplicates: int
    near_duplicate_groups: int
    images_in_groups: int
    leak_count: int
    leaks: list[list[Any]]
    unreadable_count: int
    quantities: list[ValueSummary] = []
    """Of a regression; absent of classes."""
    labels_per_image: Number | None = None
    """Mean number; absent where an image has one class, or figures."""
    groups: dict[str, int] = {}
    copies_left_out: dict[str, int] = {}
    torn_groups: int = 0


class ReportProvenance(Record):
    """What the report was made from."""

    run: str = ""
    """Name of the run folder; absent of older releases."""
    edgedistill: str
    commit: str | None
    date: str
    python: str
    machine: str
    packages: dict[str, Any]
    dependencies: dict[str, Any]
    recipe: dict[str, Any]
    recipe_sha256: str
    artifacts: dict[str, str]
    """Stage -> digest."""
    bundle_manifest_sha256: str
    bundle_signed: bool


class VerdictRow(Record):
    """A limit of the recipe."""

    what: str
    limit: str
    found: str | None
    outcome: Literal["met", "missed", "not measured"]
    provenance: str
    """Kind, a colon, how; or why it was not measured."""


class Verdict(Record):
    """The recipe's own budget; open: something of it was not measured."""

    outcome: Literal["met", "missed", "open"] | None
    rows: list[VerdictRow]
    sentence: str


StatusWord = Literal["not usable", "in doubt", "limit missed", "worse than without a teacher", "no gain shown", "good"]


class Status(Record):
    """Whether the student is of use: the first line of the page."""

    word: StatusWord
    line: str
    """The word, and where it has one, a colon and its cause."""
    sentences: list[str]
    """Of the word's finding first, then of any further one."""


class Absent(Record):
    """What a reader may look for and nobody measured."""

    what: str
    why: str


class Advice(Record):
    """What to try next."""

    idea: str = Field(alias="try")
    command: str


class NearestReport(Record):
    """A student without classes, whose answer is the class of the nearest enrolled image."""

    neighbours: int
    """Training images that vote for the class of a test image, where this report says top-1."""
    recall_at_1: dict[str, RecallAt1]
    """Network -> how often the nearest other test image is of the same class."""
    gallery: GalleryFigures


class ReportFigures(ArtifactRecord):
    """All figures of a report; what follows from them is in `ReportRecord`."""

    stage: ClassVar[str] = "report"

    version: Annotated[Literal[2], WithJsonSchema({"const": VERSION})]
    teacher: ReportNetwork
    baseline: ReportNetwork
    """The student trained without a teacher."""
    student: ReportNetwork
    metric: Literal["top1_fraction", "balanced_accuracy_fraction"]
    """What retention and gain are computed from."""
    test_images: int
    chance: Chance
    student_interval: Interval = []
    """Low and high, 95 %, of the student's metric; absent of older releases."""
    retention_fraction: Number | None
    """Student over teacher; null when the teacher has none right."""
    gain_over_baseline_points: Number
    gain: Gain
    method: str
    links: list[LinkScores]
    """Networks between teacher and student, and further teachers."""
    disagreements: list[Disagreement]
    taught: Taught
    teacher_agreement_fraction: Fraction
    size_ratio: Number
    """Teacher over student, bytes."""
    macs_ratio: Number
    """Teacher over student."""
    speedup: Speedup
    accuracy_ladder: dict[str, LadderStep]
    """By precision."""
    int8_gate: Int8Gate
    qad: QadRecord | None
    ptq: PtqRecord | None = None
    """What was tried on the weights that INT8 is made from; None where nothing was."""
    fp16_findings: list[Fp16Finding]
    decisions: DecisionFigures | None = None
    """How logits become answers; absent of older releases."""
    nearest: NearestReport | None = None
    """Of a student without classes; top-1 is that of the nearest training images then, and absent otherwise."""
    look_closer: LookCloser | None = None
    """Images that a person should look at; absent of older releases."""
    target: ReportTarget
    devices: list[ReportDevice]
    """Every host, boards first."""
    device: ReportDevice | None
    """The first of devices, without its samples."""
    published: Published
    predicted: Predicted | None
    int8: Int8Verdict | None = None
    """Null in reports of an older edgedistill."""
    swept: Swept | None = None
    """Null where there was no sweep."""
    preflight: Preflight
    proof: StudentProof
    typed: list[TypedFile] = []
    """Proofs of the files with typed tensors, for a TensorRT without precision flags; absent of older releases."""
    histories: Histories
    data: ReportData
    cost: dict[str, Number | str]
    """Wall time of each stage, and its `unit`."""
    trained_before: dict[str, Number] = {}
    """Stage -> seconds of its first training where that took longer than the stage: it went on before, beside another
    training or in a run that was interrupted. Absent of older releases."""
    running_cost: RunningCost | None
    """Null without prices in the recipe."""
    provenance: ReportProvenance

    def network(self, name: str) -> ReportNetwork:
        """`teacher`, `baseline` or `student`."""
        return {"teacher": self.teacher, "baseline": self.baseline, "student": self.student}[name]


class ReportRecord(ReportFigures):
    """Fractions are in 0..1, points are of 100, times in ms where the name says so. What is not known is null."""

    status: Status | None = None
    """Absent of older releases."""
    verdict: Verdict
    absent: list[Absent]
    warnings: list[str]
    advice: list[Advice]


def report_schema(record: type[ArtifactRecord] = ReportRecord, of: str = "") -> dict[str, Any]:
    """JSON Schema 2020-12 of report.json.

    Args:
        record: what stands in the file, of classes or of other outputs.
        of: the other outputs' name, "" of classes.
    """
    made = _plain(record.model_json_schema())
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:edgedistill:report:{VERSION}{of and ':' + of}",
        "title": f"edgedistill report.json{of and ' of ' + of}, version {VERSION}",
    }
    return head | {key: value for key, value in made.items() if key != "$defs"} | {"$defs": made["$defs"]}


def _plain(schema: Any) -> Any:
    """Without the titles and defaults that pydantic adds; `properties` may hold a key of these names."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    values = {}
    for key, value in schema.items():
        if key in {"properties", "$defs"}:
            values[key] = {name: _plain(item) for name, item in value.items()}
        elif key not in {"title", "default"}:
            values[key] = _plain(value)
    return values
