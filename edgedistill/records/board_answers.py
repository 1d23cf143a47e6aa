"""What a board answers: the last line of each verb of its agent, and of a bundle there, as a record.

An answer comes from another machine, which may run a newer or an older agent, or be hostile. Keys that this
release does not know are left out, a key with a default may be absent, and a value of another type is refused.
Texts are made fit for a terminal before they come here: `deployment.streams.object_from_line`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ConfigDict

from edgedistill.records.base import Number, Record
from edgedistill.records.provenance import ProvenanceField
from edgedistill_device.engine.runners import BACKENDS

LARGEST = 1e300
"""Above it a number is no figure: 1e999 is read as infinity, and an integer may have a thousand digits."""


def _finite(value: int | float) -> int | float:
    if abs(value) > LARGEST:
        raise ValueError("a number in it is not finite")
    return value


def _known_backend(value: str) -> str:
    if value not in BACKENDS:
        raise ValueError(f"expected one of {', '.join(BACKENDS)}, got {value[:40]!r}")
    return value


Figure = Annotated[Number, AfterValidator(_finite)]
"""A number that can be printed with a fixed count of digits."""
Backend = Annotated[str, AfterValidator(_known_backend)]


class BoardPart(Record):
    """A part of what a board says. Keys of a newer agent are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class BoardAnswer(BoardPart):
    """The last line of a verb."""

    verb: str = ""


class AgentFile(BoardPart):
    """agent.json, written at enrolment beside the agent's code."""

    version: int | None = None
    edgedistill: str | None = None
    """Version of the package that the code is of."""
    sha256: str | None = None
    """Of `bundles.device_code.device_code_sha256`."""


class BoardFile(BoardPart):
    """board.json, written at enrolment: what the board is for."""

    version: int | None = None
    target: str | None = None
    backend: str | None = None


class EnrolledAs(BoardFile):
    """board.json as the agent repeats it; without a backend that this release knows nothing can be deployed."""

    backend: Backend


class ReleaseRow(BoardPart):
    """One release that lies on the board."""

    id: str
    model: str | None = None
    serial: int | None = None
    """Of its manifest; None, as `model`, where the manifest is damaged."""
    bytes: int | None = None
    verified: bool = False
    executed: str | None = None
    """Precision that `verify` saw."""


class CopyRow(BoardPart):
    """One copy that is not a release yet."""

    id: str
    bytes: int


class StatusAnswer(BoardAnswer):
    """`status`: what the board serves, and what lies there."""

    current: str | None = None
    previous: str | None = None
    proven: bool = False
    """Its health check passed, its engine is the verified one, and the links lead to it."""
    problems: list[str] = []
    """Why it is not proven, a line each."""
    releases: list[ReleaseRow]
    incoming: list[CopyRow] = []
    board: EnrolledAs
    agent: AgentFile | None = None
    highest_serial: dict[str, int] | None = None
    """By key id; None where the board cannot read it."""
    warnings: list[str] = []
    """What keeps bundles out, a line each."""

    def release(self, bundle_id: str) -> ReleaseRow | None:
        """The row of a bundle; None when it is not there."""
        return next((release for release in self.releases if release.id == bundle_id), None)


class DoctorCheck(BoardPart):
    """One thing that the board looked at."""

    name: str
    ok: bool
    required: bool
    found: str
    advice: str


class DoctorAnswer(BoardAnswer):
    """`doctor`: the board's own checks."""

    ok: bool = False
    """Nothing that is required is missing."""
    checks: list[DoctorCheck]

    def first_failure(self) -> str:
        """The first required check that failed, as one line."""
        for check in self.checks:
            if check.required and not check.ok:
                return f"{check.name}: {check.found}; {check.advice}"
        return "it says that something is missing, and not what"


class WantedFile(BoardPart):
    """One file that the board lacks."""

    name: str
    bytes: int | None = None
    have: int
    """Bytes that lie there and are its beginning."""


class WantAnswer(BoardAnswer):
    """`want`: whether a bundle may come, and which of its files are left to send."""

    id: str | None = None
    release_exists: bool = False
    files: list[WantedFile]


class AcceptAnswer(BoardAnswer):
    """`accept`: a copy has become a release."""

    id: str
    serial: int | None = None
    key_id: str | None = None
    """Whose signature it has."""
    already: bool = False


class BuildMemory(BoardPart):
    """MiB of a build: of its process, and of the system meanwhile."""

    available_before_mib: Number | None = None
    available_least_mib: Number | None = None
    delta_mib: Number | None = None
    process_peak_mib: Number | None = None
    method: str | None = None


class BuildAnswer(BoardAnswer):
    """`build`: the engine's sidecar (edgedistill_device/engine/engine_file.py), or that none is needed."""

    version: int | None = None
    engine: str | None = None
    """File name; None for ONNX Runtime, which needs none."""
    engine_sha256: str | None = None
    onnx: str | None = None
    onnx_sha256: str | None = None
    compiler: str | None = None
    """Python module of TensorRT."""
    tensorrt: str | None = None
    cuda: str | None = None
    sm: int | None = None
    """Compute capability times ten, such as 53."""
    board: str | None = None
    requested: str | None = None
    executed: str | None = None
    provenance: ProvenanceField | None = None
    reasons: list[str] = []
    """Why it is executed otherwise than requested."""
    int8_by: str | None = None
    flags: list[str] = []
    workspace_mib: Number | None = None
    tactic_sources: list[str] | None = None
    """None: TensorRT's default."""
    layers: dict[str, int] | None = None
    """Layers by precision."""
    attempts: list[str] = []
    build_seconds: Number | None = None
    memory: BuildMemory | None = None
    timing_cache_used: bool | None = None
    warnings: list[str] = []


class VerifyAnswer(BoardAnswer):
    """`verify`: the board's outputs for the golden images beside the workstation's."""

    model: str | None = None
    requested: str | None = None
    executed: str | None = None
    provenance: ProvenanceField | None = None
    images: int | None = None
    max_relative_difference: Number | None = None
    """Largest logit difference over the largest logit."""
    tolerance: Number | None = None
    top1_agreement_fraction: Number | None = None
    top1_fraction: Number | None = None
    max_differences: dict[str, Number] | None = None
    """Of a regression: value -> largest difference from the workstation's, in its unit."""
    mean_cosine: Number | None = None
    """Of an embedding, with the workstation's of the same image."""
    lowest_cosine: Number | None = None
    min_cosine: Number | None = None
    """Its limit."""
    recall_at_1_images: int | None = None
    """Golden images that are not alone in their class."""
    recall_at_1_fraction: Number | None = None
    """Of the board's embeddings among the workstation's of the other golden images."""
    workstation_recall_at_1_fraction: Number | None = None
    labels_agreement_fraction: Number | None = None
    """Of several labels an image: images with all of the workstation's labels and no other."""
    exact_match_fraction: Number | None = None
    """The same against the true labels."""
    mean_pixel_difference: Number | None = None
    """Largest over the images of the mean difference in grey levels."""


class Times(BoardPart):
    """Milliseconds of one image, nearest-rank percentiles; None where the runs are too few for one."""

    runs: int | None = None
    mean_ms: Figure | None = None
    max_ms: Figure | None = None
    p50_ms: Figure
    p90_ms: Figure | None = None
    p95_ms: Figure | None = None
    p99_ms: Figure | None = None


class Health(VerifyAnswer):
    """`health`: what the release's own code said when it was asked after the switch."""

    classified: int | None = None
    """Golden images that `classify` printed a line of."""
    end_to_end_ms: Times | None = None
    latency_budget_ms: Number | None = None


class ActivateAnswer(BoardAnswer):
    """`activate`: the release is served and has passed its health check."""

    id: str
    previous: str | None = None
    health: Health | None = None
    already: bool = False


class RollbackAnswer(BoardAnswer):
    """`rollback`: the previous release is served again; boards enrolled before did not ask for its health."""

    id: str
    previous: str | None = None
    health: Health | None = None
    already: bool = False


class PruneAnswer(BoardAnswer):
    """`prune`: ids of the releases and copies that were removed."""

    removed: list[str] = []
    incoming: list[str] = []
    freed_bytes: int | None = None
