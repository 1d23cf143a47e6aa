"""Which steps a deployment repeats, by what the board says and by the receipt: a board that is only told of."""

from types import SimpleNamespace

import pytest

from edgedistill.deployment import deploy
from edgedistill.deployment.deploy import ASKS_AGAIN, KEEP, SignedBundle, Wanted
from edgedistill.errors import BoardError
from edgedistill.progress.reporter import Talk
from edgedistill.records.benchmark import BenchAnswer
from edgedistill.records.board_answers import (
    AcceptAnswer,
    ActivateAnswer,
    BuildAnswer,
    DoctorAnswer,
    PruneAnswer,
    StatusAnswer,
    VerifyAnswer,
    WantAnswer,
)
from record_factories import record_with

ID, OTHER, CODE = "a" * 16, "b" * 16, "c" * 64
STEPS = ["build", "verify", "bench", "samples", "activate"]


class ToldBoard:
    """A board that serves what it was told to, and notes each verb that it is asked for."""

    root = "here"

    def __init__(self, name="nano"):
        self.asked, self.refusals = [], {}
        self.releases, self.verified, self.current, self.proven = [OTHER], False, None, True
        self.machine = SimpleNamespace(name=name, put=lambda *_: self.asked.append("put"))

    def _said(self, verb, form, **values):
        self.asked.append(verb)
        if self.refusals.get(verb):
            raise BoardError(self.refusals[verb].pop(0))
        return record_with(form, values)

    def status(self):
        rows = [{"id": one, "verified": one != ID or self.verified} for one in self.releases]
        board = {"target": "tx2", "backend": "tensorrt"}
        values = {"releases": rows, "board": board, "current": self.current, "proven": self.proven}
        return record_with(StatusAnswer, {**values, "agent": {"sha256": CODE}})

    def doctor(self):
        return record_with(DoctorAnswer, {"ok": True, "checks": []})

    def want(self, bundle_id, allow_downgrade):
        return record_with(WantAnswer, {"release_exists": bundle_id in self.releases, "files": []})

    def accept(self, bundle_id, allow_downgrade):
        self.releases = [*self.releases, bundle_id]
        return self._said("accept", AcceptAnswer, id=bundle_id)

    def build(self, release, backend):
        return self._said("build", BuildAnswer, executed="fp16", board="a TX2")

    def verify(self, release, backend):
        answer = self._said("verify", VerifyAnswer)
        self.verified = True
        return answer

    def bench(self, release, backend, runs, tune):
        times = {"p50_ms": 2.0, "runs": runs}
        return self._said(
            "bench", BenchAnswer, host_ms=times, end_to_end_ms=times, executed="fp16", provenance="measured: TensorRT 8"
        )

    def samples(self, release):
        self.asked.append("samples")

    def activate(self, bundle_id):
        answer = self._said("activate", ActivateAnswer, id=bundle_id)
        self.current = bundle_id
        return answer

    def prune(self, keep):
        self.asked.append(f"prune {keep}")
        return record_with(PruneAnswer, {})

    def release(self, bundle_id):
        return f"{self.root}/releases/{bundle_id}"


@pytest.fixture
def board():
    return ToldBoard()


@pytest.fixture
def bring(tmp_path, monkeypatch):
    """Deploy a bundle with a receipt in this folder: the verbs that the board was asked for, and the result."""
    monkeypatch.setattr(deploy, "device_code_sha256", lambda: CODE)
    monkeypatch.setattr(deploy, "checked_bench", lambda *_: None)  # that it is a board's report is told elsewhere
    for name in ("manifest.json", "manifest.json.sig"):
        (tmp_path / name).write_text("x")

    def brought(board, bundle_id=ID, **wanted):
        manifest = SimpleNamespace(target="tx2", serial=7, model="net", precision_requested="int8", files={})
        board.asked.clear()
        bundle = SignedBundle(tmp_path, bundle_id, manifest)
        found = deploy.deploy(board, bundle, Wanted(**wanted), tmp_path / "r.json", Talk(quiet=True))
        return board.asked, found

    return brought


def test_the_first_time_everything_is_done_and_the_second_only_the_switch(board, bring):
    asked, found = bring(board)
    assert asked == ["put", "accept", *STEPS]
    assert (found.executed, str(found.provenance), found.requested, found.until) == (
        *("fp16", "measured: TensorRT 8", "int8", "activate"),
    )
    assert (found.serial, found.model, found.host, found.bench.host_ms.runs) == (7, "net", "nano", 200)
    asked, again = bring(board)
    assert asked == ["put", "activate"]
    assert again.bench == found.bench


@pytest.mark.parametrize("until", ["build", "verify", "bench"])
def test_it_stops_after_the_step_that_was_asked_for(board, bring, until):
    asked, found = bring(board, until=until)
    expected = STEPS[: STEPS.index(until) + 1] + (["samples"] if until == "bench" else [])
    assert asked == ["put", "accept", *expected]
    assert found.activate is None


@pytest.mark.parametrize(
    ("wanted", "repeated"),
    [
        ({"runs": 200}, []),
        ({"runs": 300}, ["bench", "samples"]),
        ({"tune": "run"}, ["bench", "samples"]),
    ],
)
def test_another_bench_is_done_again(board, bring, wanted, repeated):
    bring(board)
    assert bring(board, **wanted)[0] == ["put", *repeated, "activate"]


def test_a_release_that_is_no_longer_verified_is_verified_and_timed_again(board, bring):
    bring(board)
    board.verified = False
    assert bring(board)[0] == ["put", "verify", "bench", "samples", "activate"]


def test_a_release_that_is_gone_comes_again_with_all_steps(board, bring):
    bring(board)
    board.releases = [OTHER]
    assert bring(board)[0] == ["put", "accept", *STEPS]


def test_a_receipt_is_of_one_bundle_one_board_and_one_root(board, bring, tmp_path):
    bring(board)
    receipt = (tmp_path / "r.json").read_bytes()
    other = ToldBoard()
    other.root, other.releases, other.verified = "there", [ID], True
    named = ToldBoard("nano-2")
    named.releases, named.verified = [ID], True
    for stranger in (other, named):
        (tmp_path / "r.json").write_bytes(receipt)
        assert bring(stranger)[0][-5:] == STEPS
    (tmp_path / "r.json").write_bytes(receipt)
    board.releases = [ID, "c" * 16]
    assert bring(board, "c" * 16)[0][-5:] == STEPS


def test_a_receipt_whose_figures_are_none_counts_for_nothing(board, bring, monkeypatch):
    bring(board)

    def refused(report, name):
        raise BoardError(f"{name}: its benchmark says fps is 'fast', which are no figures")

    monkeypatch.setattr(deploy, "checked_bench", refused)
    assert bring(board)[0] == ["put", "accept", *STEPS]


@pytest.mark.parametrize(("before", "pruned"), [(KEEP - 1, False), (KEEP, True), (KEEP + 1, True)])
def test_old_releases_go_where_there_were_enough(board, bring, before, pruned):
    board.releases = [f"{number:016x}" for number in range(before)]
    asked, found = bring(board)
    assert (asked[-1] == f"prune {KEEP}") == pruned
    assert (found.prune is not None) == pruned


@pytest.mark.parametrize("served", ["another", "unproven"])
def test_what_is_not_served_afterwards_is_an_error(board, bring, served):
    activate = board.activate

    def activated(bundle_id):
        answer = activate(bundle_id)
        board.current, board.proven = (OTHER, True) if served == "another" else (bundle_id, False)
        return answer

    board.activate = activated
    with pytest.raises(BoardError, match=f"{ID} was activated, and now the board says that it serves"):
        bring(board)


def test_a_step_that_no_longer_holds_is_repeated_once_with_all_others(board, bring):
    bring(board)
    board.refusals = {"activate": [f"its engine is gone; {ASKS_AGAIN}build"]}
    assert bring(board)[0] == ["put", "activate", "put", "accept", *STEPS]
    board.refusals = {"activate": [f"gone; {ASKS_AGAIN}build", f"gone again; {ASKS_AGAIN}build"]}
    with pytest.raises(BoardError, match="gone again"):
        bring(board)


def test_what_another_deployment_undid_after_the_verify_of_this_one_is_repeated(board, bring):
    board.refusals = {"activate": [f"its engine has not passed; {ASKS_AGAIN}verify"]}
    assert bring(board)[0] == ["put", "accept", *STEPS, "put", "accept", *STEPS]


@pytest.mark.parametrize(
    ("verb", "refusal"), [("activate", "its health check failed"), ("build", f"no room; {ASKS_AGAIN}prune")]
)
def test_a_refusal_of_another_kind_or_of_a_first_step_ends_it(board, bring, verb, refusal):
    board.refusals = {verb: [refusal]}
    with pytest.raises(BoardError, match=refusal.split(";")[0]):
        bring(board)
    assert not board.refusals[verb]
    assert bring(board)[0][-5:] == STEPS, "nothing of it is taken for done"
