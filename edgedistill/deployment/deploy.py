"""Deploy to one board: look at it, copy what it lacks, build, verify, bench, switch.

Every step's last line is kept in a receipt, so that a rerun skips finished steps. The board
decides by itself what it accepts: what is checked here is checked there again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgedistill.bundles.archive import require_signature
from edgedistill.bundles.device_code import device_code_sha256
from edgedistill.core.files import read_json, write_json
from edgedistill.core.text import printable
from edgedistill.deployment.board import Board, checked_bench
from edgedistill.deployment.ssh import Upload
from edgedistill.errors import BoardError, BundleError
from edgedistill.onnx_model.backends import DEFAULT, backend_named
from edgedistill.progress.reporter import Talk
from edgedistill.records.benchmark import BenchAnswer, Samples
from edgedistill.records.board_answers import BoardAnswer, BuildAnswer, StatusAnswer, WantAnswer
from edgedistill.records.deployment import RECEIPT_VERSION, BoardDeployment, Receipt, ReceiptKey, Steps
from edgedistill.records.provenance import Kind, Provenance
from edgedistill_device.errors import ManifestError
from edgedistill_device.manifest import NAME, SIGNATURE, Manifest, id_of, read_manifest

UNTIL = ("build", "verify", "bench", "activate")
KEEP = 3  # releases on a board: current, previous, and one more
ASKS_AGAIN = "run: python3 -m edgedistill_device "  # how a board's refusal ends when a step has to be done (again)


@dataclass(frozen=True)
class SignedBundle:
    """A whole bundle on this computer.

    Attributes:
        id: first 16 hex digits of the manifest's SHA-256, its name on every board.
    """

    folder: Path
    id: str
    manifest: Manifest


@dataclass(frozen=True)
class Wanted:
    """Options of a deployment.

    Attributes:
        until: the last step, of UNTIL.
        runs: timed inferences of the benchmark.
        allow_downgrade: let a board take an older serial.
        tune: as of `Board.bench`.
    """

    until: str = "activate"
    runs: int = 200
    allow_downgrade: bool = False
    tune: str | None = None


def signed_bundle(folder: Path) -> SignedBundle:
    """Check a bundle before anything is sent.

    Raises:
        BundleError: not whole, or not signed.
    """
    try:
        manifest = read_manifest(folder, compiled=True)
    except ManifestError as error:
        raise BundleError(str(error)) from None
    require_signature(folder)
    return SignedBundle(folder, id_of((folder / NAME).read_bytes()), manifest)


def deploy(board: Board, bundle: SignedBundle, wanted: Wanted, receipt: Path, talk: Talk) -> BoardDeployment:
    """Bring a bundle to one board, as far as `wanted.until`.

    Args:
        board: connected.
        receipt: JSON file here; steps that an earlier run of the same bundle finished are not repeated.

    Returns:
        The release, and what the board answered at each step that was reached; `status` is from before.

    Raises:
        BoardError: the board refuses, with its own message.
        SshError: the connection ended; a rerun continues from there.
    """
    deployment = _Deployment(board, bundle, wanted, receipt, talk)
    try:
        deployment.run()
    except BoardError as error:
        if not deployment.skipped or ASKS_AGAIN not in str(error):
            raise
        talk.say(f"{error}: what was done before no longer holds; repeating all steps")
        deployment.run()
    return deployment.result()


class _Deployment:
    """A deployment and its receipt."""

    def __init__(self, board: Board, bundle: SignedBundle, wanted: Wanted, receipt: Path, talk: Talk):
        self._board, self._bundle, self._wanted = board, bundle, wanted
        self._path, self._talk, self._name = receipt, talk, board.machine.name
        self._key = ReceiptKey(version=RECEIPT_VERSION, host=self._name, root=board.root, id=bundle.id)
        self._steps = self._stored_steps()
        self._backend = DEFAULT
        self.skipped = False  # a step that the receipt names, or that ended here; others work there too

    def run(self) -> None:
        status = self.look()
        self.copy(status)
        for step in UNTIL[: UNTIL.index(self._wanted.until) + 1]:
            self.step(step, status)

    def look(self) -> StatusAnswer:
        """The board's own checks, before anything is copied."""
        status = self._board.status()
        if status.board.target != self._bundle.manifest.target:
            raise BoardError(
                f"{self._name}: it is enrolled as {status.board.target!r}, this bundle is for "
                f"{self._bundle.manifest.target!r}; nothing was copied"
            )
        self._backend = status.board.backend
        if status.agent is None or status.agent.sha256 != device_code_sha256():
            self._talk.say(f"{self._name}: its agent is of another edgedistill; to update it: edgedistill enrol")
        doctor = self._board.doctor()
        if not doctor.ok:
            line = f"{self._name}: doctor: {doctor.first_failure()}"
            if not backend_named(self._backend).stand_in:
                raise BoardError(f"{line}; nothing was copied")
            self._talk.say(f"{line} (it is a stand-in, so that does not stop it)")
        release = status.release(self._bundle.id)
        if release is None:
            self._steps = Steps()
        elif not release.verified:
            self._steps = self._steps.only("accept", "build")
        timed = self._steps.bench
        if timed is not None and (timed.host_ms.runs != self._wanted.runs or self._wanted.tune):
            self._steps = self._steps.without("bench")
        self._steps = self._steps.model_copy(update={"status": status, "doctor": doctor})
        return status

    def copy(self, status: StatusAnswer) -> None:
        """Copy only what no release there has; continue an interrupted copy, repair a damaged release.

        The board's own agent checks each byte of a release before anything of it runs.
        """
        bundle, board = self._bundle, self._board
        incoming = f"{board.root}/incoming/{bundle.id}"
        try:
            if self._send(incoming) and self._steps.has("accept"):
                self._talk.say(f"{self._name}: {bundle.id} is there")
                return
        except BoardError:
            # Another deployment of the same bundle may have made a release of what both copied into.
            if status.release(bundle.id) or not board.status().release(bundle.id):
                raise
        self._keep("accept", board.accept(bundle.id, self._wanted.allow_downgrade))

    def _send(self, incoming: str) -> bool:
        """Whether it was there and whole; otherwise it is in `incoming` now."""
        bundle, board = self._bundle, self._board
        first = [Upload(name, (bundle.folder / name).stat().st_size) for name in (NAME, SIGNATURE)]
        board.machine.put(bundle.folder, first, incoming)
        want = board.want(bundle.id, self._wanted.allow_downgrade)
        if want.release_exists:
            return True
        if self._steps.has("accept"):
            self._talk.say(f"{self._name}: {bundle.id} is damaged there and is repaired")
            self._steps = self._steps.only("status", "doctor")
        uploads = uploads_of(want, bundle)
        total = sum(upload.bytes for upload in uploads)
        have = sum(upload.have for upload in uploads)
        self._talk.say(
            f"{self._name}: {len(uploads)} of {len(bundle.manifest.files)} files to copy, {(total - have) / 1e6:.1f} MB"
        )
        left = [upload for upload in uploads if upload.have != upload.bytes or upload.bytes == 0]
        if left:
            with self._talk.progress(f"{self._name}: copied", total, have, unit="byte") as sent:
                board.machine.put(bundle.folder, left, incoming, sent)
        return False

    def step(self, name: str, status: StatusAnswer) -> None:
        if self._steps.has(name) and name != "activate":  # that one is repeated: the board may have gone back
            self._talk.say(f"{self._name}: {name} was done before")
            self.skipped = True
            return
        self._talk.say(f"{self._name}: {name}")
        try:
            self._activate(status) if name == "activate" else self._bundle_verb(name)
        except BoardError:
            # A file or an engine may have been damaged since: the rerun looks at all of it again.
            self._steps = Steps()
            self._write()
            raise
        self.skipped |= name == "verify"

    def _activate(self, before: StatusAnswer) -> None:
        answer = self._board.activate(self._bundle.id)
        self._read_back()
        self._keep("activate", answer)
        if len(before.releases) >= KEEP:
            self._keep("prune", self._board.prune(KEEP))

    def _read_back(self) -> None:
        """Report as served only what the board answers when it is asked again afterwards."""
        status = self._board.status()
        if status.current != self._bundle.id or not status.proven:
            why = "; ".join(status.problems) or "it does not say why"
            raise BoardError(
                f"{self._name}: {self._bundle.id} was activated, and now the board says that it serves "
                f"{status.current}, not proven: {why}"
            )

    def _bundle_verb(self, name: str) -> None:
        board, release = self._board, self._board.release(self._bundle.id)
        if name == "bench":
            self._keep(name, board.bench(release, self._backend, self._wanted.runs, self._wanted.tune))
            self._keep("samples_ms", board.samples(release))
        else:
            verb = {"build": board.build, "verify": board.verify}[name]
            self._keep(name, verb(release, self._backend))

    def result(self) -> BoardDeployment:
        manifest, last = self._bundle.manifest, self._steps.bench or self._steps.build
        if last is None:
            raise BoardError(f"{self._name}: {self._bundle.id} was neither built nor timed there")
        return BoardDeployment(
            host=self._name,
            id=self._bundle.id,
            serial=manifest.serial,
            model=printable(manifest.model),
            target=manifest.target,
            backend=self._backend,
            until=self._wanted.until,
            requested=manifest.precision_requested,
            executed=last.executed,
            provenance=provenance_of(self._backend, last),
            **self._steps.given(),
        )

    def _stored_steps(self) -> Steps:
        """The steps of an earlier run; none where the receipt is another deployment's, or damaged."""
        try:
            receipt = Receipt.model_validate(read_json(self._path))
            if receipt.key != self._key:
                return Steps()
            if receipt.steps.bench is not None:
                checked_bench(receipt.steps.bench.to_json(), self._name)
            return receipt.steps
        except (OSError, ValueError, RecursionError, BoardError):
            return Steps()

    def _keep(self, name: str, answer: BoardAnswer | Samples | None) -> None:
        self._steps = self._steps.model_copy(update={name: answer})
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, Receipt(key=self._key, steps=self._steps).to_json())


def uploads_of(want: WantAnswer, bundle: SignedBundle) -> list[Upload]:
    """The files that the board asked for, checked against the manifest: it gets no other file of this computer.

    Raises:
        BoardError: a name that the bundle does not have, or an impossible size.
    """
    uploads = []
    for file in want.files:
        entry = bundle.manifest.files.get(file.name)
        if entry is None or file.have < 0:
            raise BoardError(
                f"the board wants {file.name[:80]!r} from byte {file.have}, which this bundle does not have; refused"
            )
        uploads.append(Upload(file.name, entry.bytes, file.have if file.have <= entry.bytes else 0))
    return uploads


def provenance_of(backend: str, answer: BenchAnswer | BuildAnswer) -> Provenance:
    """The board's own name; a computer that was enrolled as a stand-in has none, whatever it answers."""
    if isinstance(answer, BenchAnswer):
        provenance = answer.provenance
    else:
        provenance = answer.provenance or Provenance(Kind.MEASURED, answer.board or "a board")
    if backend_named(backend).stand_in and not provenance.is_stand_in:
        return Provenance(Kind.STAND_IN, str(provenance))
    return provenance
