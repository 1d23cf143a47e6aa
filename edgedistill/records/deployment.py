"""What is kept of deployments: deploy.json of the stage, the receipt of a board, fleet.json of a roll-out."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from edgedistill.records.base import ArtifactRecord, Record
from edgedistill.records.benchmark import BenchAnswer, Samples
from edgedistill.records.board_answers import (
    AcceptAnswer,
    ActivateAnswer,
    AgentFile,
    BuildAnswer,
    DoctorAnswer,
    Figure,
    PruneAnswer,
    StatusAnswer,
    VerifyAnswer,
)
from edgedistill.records.provenance import ProvenanceField

RECEIPT_VERSION = FLEET_VERSION = 1
FleetState = Literal["done", "failed", "waiting"]
DONE: FleetState = "done"
FAILED: FleetState = "failed"
WAITING: FleetState = "waiting"


class Steps(Record):
    """What a board said at each step of a deployment that it has come to."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    status: StatusAnswer | None = None
    """Before anything was done."""
    doctor: DoctorAnswer | None = None
    accept: AcceptAnswer | None = None
    build: BuildAnswer | None = None
    verify: VerifyAnswer | None = None
    bench: BenchAnswer | None = None
    samples_ms: Samples | None = None
    """Raw samples of `bench`; None where the board kept none."""
    activate: ActivateAnswer | None = None
    prune: PruneAnswer | None = None

    def has(self, step: str) -> bool:
        """Whether that step is done."""
        return getattr(self, step) is not None

    def only(self, *steps: str) -> Steps:
        """The named steps alone."""
        return Steps(**{name: value for name, value in self.given().items() if name in steps})

    def without(self, step: str) -> Steps:
        """All steps but one."""
        return self.only(*(name for name in Steps.model_fields if name != step))


class ReceiptKey(Record):
    """What a receipt is of."""

    version: int
    host: str
    root: str
    id: str


class Receipt(Record):
    """FOLDER/NAME.json: what an earlier run did on one board, which a rerun does not do again."""

    key: ReceiptKey
    steps: Steps


class DeployedRelease(Record):
    """Which release went to which board, how far, and what runs there."""

    host: str
    id: str
    serial: int
    model: str
    target: str
    backend: str
    until: str
    """The last step that was wanted."""
    requested: str
    executed: str | None
    provenance: ProvenanceField


class BoardDeployment(Steps, DeployedRelease):
    """A deployment to one board: the release, then the steps as far as it came."""


class TimedBundle(Record):
    """A bundle that was verified and timed, and is not kept there: this computer's, or `edgedistill bench`."""

    host: str
    backend: str
    provenance: ProvenanceField
    requested: str | None
    executed: str | None
    build: BuildAnswer | None = None
    verify: VerifyAnswer
    bench: BenchAnswer
    samples_ms: Samples | None


class SpeedupHere(Record):
    """Teacher against student in ONNX Runtime on this computer, medians of one image."""

    teacher_p50_ms: float
    student_p50_ms: float
    ratio: float
    provenance: ProvenanceField


class DeployRecord(ArtifactRecord):
    """deploy.json."""

    stage: ClassVar[str] = "deploy"

    hosts: list[Annotated[BoardDeployment | TimedBundle, Field(union_mode="left_to_right")]]
    """In the order of the recipe's `deploy.hosts`."""
    speedup_here: SpeedupHere | None = None


class Enrolment(Record):
    """What `edgedistill enrol` did."""

    host: str
    target: str
    backend: str
    key: str
    """Name of the key that the board trusts."""
    agent: AgentFile
    doctor: DoctorAnswer


class FleetRow(Record):
    """One board of a roll-out."""

    model_config = ConfigDict(allow_inf_nan=False)

    name: str
    host: str
    group: str | None
    canary: bool
    state: FleetState
    reason: str | None = None
    executed: str | None = None
    provenance: ProvenanceField | None = None
    p50_ms: Figure | None = None
    """From the image file."""
    fps: Figure | None = None
    seconds: Figure | None = None
    finished: str | None = None
    """Date and time with its zone, ISO 8601."""

    @property
    def remark(self) -> str:
        """Why it failed, or where its figures come from."""
        return self.reason or ("" if self.provenance is None else str(self.provenance))

    @property
    def is_stand_in(self) -> bool:
        return self.provenance is not None and self.provenance.is_stand_in


class FleetRecord(Record):
    """fleet.json: a roll-out as far as it has come."""

    version: int
    fleet: str
    id: str
    model: str
    target: str
    serial: int
    until: str
    stopped: str | None
    """Why it stopped before all boards were done."""
    boards: list[FleetRow]

    def count(self, state: str) -> int:
        """Boards in that state."""
        return sum(board.state == state for board in self.boards)
