"""Records of the deployment side: stored files come back byte for byte, and a board's answers are hostile input."""

import ast
import copy
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgedistill.core.files import write_json
from edgedistill.deployment.bench import compare
from edgedistill.deployment.board import Board, checked_bench
from edgedistill.deployment.deploy import provenance_of, uploads_of
from edgedistill.deployment.ssh import Upload
from edgedistill.deployment.streams import Answer, object_from_line
from edgedistill.errors import BoardError
from edgedistill.records import benchmark, board_answers, deployment
from edgedistill.records.base import Record
from edgedistill.records.board_answers import AgentFile, BoardFile
from edgedistill.records.deployment import BoardDeployment, DeployRecord, Receipt, TimedBundle
from edgedistill_device.benchmark.benchreport import KEYS, LATER
from edgedistill_device.engine import engine_file
from edgedistill_device.engine.runners import BACKENDS

ROOT = Path(__file__).parents[3]
LEFT = ROOT / "tests" / "upgrade" / "earlier_release.tar.xz"


@pytest.fixture(scope="module")
def left():
    """Name to bytes of the small files that release 0.1.0 left on a workstation and on a board."""
    names = ("run/deploy/deploy.json", "run/deployments/board.json", "root/board.json", "agent.json")
    with tarfile.open(LEFT) as archive:
        found = {member.name: archive.extractfile(member) for member in archive if member.name.endswith(names)}
        return {next(name for name in names if path.endswith(name)): file.read() for path, file in found.items()}


@pytest.mark.parametrize(
    ("name", "form"), [("run/deploy/deploy.json", DeployRecord), ("run/deployments/board.json", Receipt)]
)
def test_what_an_earlier_release_kept_is_written_again_byte_for_byte(left, tmp_path, name, form):
    record = form.from_json(json.loads(left[name]), name)
    write_json(tmp_path / "again.json", record.to_json())
    assert (tmp_path / "again.json").read_bytes() == left[name]


@pytest.mark.parametrize(("name", "form"), [("root/board.json", BoardFile), ("agent.json", AgentFile)])
def test_what_enrolment_wrote_is_written_again_byte_for_byte(left, name, form):
    record = form.from_json(json.loads(left[name]), name)
    assert json.dumps(record.to_json()).encode() + b"\n" == left[name]


def test_a_row_of_the_stage_is_a_board_s_or_this_computer_s(left):
    values = json.loads(left["run/deploy/deploy.json"])
    steps = json.loads(left["run/deployments/board.json"])["steps"]
    place = {"host": "b", "id": "0" * 16, "serial": 1, "model": "m", "target": "t", "backend": "onnxruntime"}
    row = {**place, "until": "activate", "requested": "int8", "executed": None, "provenance": "measured: x", **steps}
    values["hosts"].append(row)
    record = DeployRecord.from_json(values, "deploy.json")
    assert [type(host) for host in record.hosts] == [TimedBundle, BoardDeployment]
    assert json.dumps(record.to_json()) == json.dumps(values)


class Said:
    """A machine that answers every command with one line."""

    name = "nano"

    def __init__(self, answer):
        self._line = answer if isinstance(answer, str) else json.dumps(answer)

    def run(self, words, say=None, timeout_s=None):
        return Answer(0, self._line, "", "")

    def put(self, folder, uploads, there, sent=None):
        raise AssertionError("nothing is copied")


STATUS = {
    "agent": {"edgedistill": "0.1.0", "sha256": "0" * 64, "version": 1},
    "board": {"backend": "tensorrt", "target": "jetson-nano", "version": 1},
    "current": "0" * 16,
    "highest_serial": {"1" * 16: 3},
    "incoming": [{"bytes": 3, "id": "2" * 16}],
    "previous": None,
    "problems": ["a"],
    "proven": True,
    "releases": [
        {"bytes": 5, "executed": "fp16", "id": "0" * 16, "model": "m", "serial": 3, "verified": True},
        {"bytes": 5, "executed": None, "id": "1" * 16, "model": None, "serial": None, "verified": False},
    ],
    "verb": "status",
    "warnings": ["b"],
}
DOCTOR = {
    "checks": [{"advice": "", "found": "", "name": "disk", "ok": True, "required": True}],
    "ok": True,
    "verb": "doctor",
}
ANSWERS = {
    "status": STATUS,
    "doctor": DOCTOR,
    "want": {
        "files": [{"bytes": 5, "have": 0, "name": "model.onnx"}],
        "id": "x",
        "release_exists": False,
        "verb": "want",
    },
    "accept": {"already": False, "id": "x", "key_id": "y", "serial": 1, "verb": "accept"},
    "activate": {"already": False, "health": {"images": 2}, "id": "x", "previous": None, "verb": "activate"},
    "rollback": {"already": False, "id": "x", "previous": "y", "verb": "rollback"},
    "prune": {"freed_bytes": 0, "incoming": [], "removed": ["x"], "verb": "prune"},
    "build": {
        "engine": None,
        "executed": "fp16",
        "provenance": "measured: Nano",
        "requested": "fp16",
        "verb": "build",
        "warnings": [],
    },
    "verify": {"executed": "fp16", "images": 2, "max_relative_difference": 0, "verb": "verify"},
}
ASK = {
    "status": lambda board: board.status(),
    "doctor": lambda board: board.doctor(),
    "want": lambda board: board.want("x"),
    "accept": lambda board: board.accept("x"),
    "activate": lambda board: board.activate("x"),
    "rollback": lambda board: board.rollback(),
    "prune": lambda board: board.prune(3),
    "build": lambda board: board.build("there", "tensorrt"),
    "verify": lambda board: board.verify("there", "tensorrt"),
    "bench": lambda board: board.bench("there", "tensorrt", 10),
}


@pytest.fixture
def answers(left):
    """What a board of ours answers to each verb."""
    return {**ANSWERS, "bench": json.loads(left["run/deploy/deploy.json"])["hosts"][0]["bench"]}


def asked(verb, answer):
    return ASK[verb](Board(Said(answer), "edgedistill", "python3", print))


@pytest.mark.parametrize("verb", ASK)
def test_nothing_of_an_answer_is_lost(answers, verb):
    assert json.dumps(asked(verb, answers[verb]).to_json()) == json.dumps(answers[verb])


def with_later_keys(value):
    """As a newer agent may answer: a key more in every object."""
    if isinstance(value, dict):
        return {**{key: with_later_keys(item) for key, item in value.items()}, "later": {"any": [1]}}
    return [with_later_keys(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("verb", sorted(ANSWERS))
def test_keys_of_a_newer_agent_are_ignored(answers, verb):
    answer = with_later_keys(answers[verb])
    if "highest_serial" in answer:  # an object whose keys are data
        answer["highest_serial"].pop("later")
    assert asked(verb, answer) == asked(verb, answers[verb])


def refusal(verb, answer):
    with pytest.raises(BoardError) as caught:
        asked(verb, answer)
    line = str(caught.value)
    assert line.startswith("nano: ")
    assert line.isprintable()
    assert len(line) < 700
    return line


def paths_of(value, path=()):
    """Where a value can be put in the place of another."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from paths_of(item, (*path, key))
    if isinstance(value, list) and value:
        yield (*path, 0)
        yield from paths_of(value[0], (*path, 0))


@pytest.mark.parametrize("verb", sorted(ANSWERS))
def test_a_value_of_another_type_is_one_line(answers, verb):
    """At every place: an object where a text or a number is expected, and a text where an object or a list is."""
    for path in paths_of(answers[verb]):
        answer = copy.deepcopy(answers[verb])
        *way, last = path
        place = answer
        for key in way:
            place = place[key]
        place[last] = "\x1b[2Jowned" if isinstance(place[last], dict | list) else {"x": ["\u202e"]}
        line = refusal(verb, answer)
        assert "unexpected answer" in line or "unexpected checks" in line or "expected an object with" in line, (
            path,
            line,
        )


@pytest.mark.parametrize(
    ("verb", "change", "said"),
    [
        (
            "status",
            {"releases": None},
            "status: unexpected answer, or board.json is missing; run: edgedistill enrol",
        ),
        (
            "status",
            {"board": None},
            "status: unexpected answer, or board.json is missing; run: edgedistill enrol",
        ),
        ("status", {"board": {"backend": "abacus"}}, f"expected one of {', '.join(BACKENDS)}, got 'abacus'"),
        ("status", {"proven": 1}, "proven: Input should be a valid boolean, got 1"),
        ("doctor", {"checks": {}}, "doctor: unexpected checks"),
        ("doctor", {"checks": [{"name": "disk"}]}, "doctor: unexpected checks"),
        ("want", {"files": [{"name": "a", "have": True}]}, "want: unexpected answer"),
        ("accept", {"id": None}, "accept: unexpected answer"),
        ("build", {"provenance": "a board of mine"}, "build: unexpected answer"),
    ],
)
def test_what_a_fault_says(answers, verb, change, said):
    assert said in refusal(verb, answers[verb] | change)


@pytest.mark.parametrize(
    ("verb", "key"),
    [("status", "releases"), ("status", "board"), ("doctor", "checks"), ("want", "files"), ("accept", "id")],
)
def test_an_absent_key_is_one_line(answers, verb, key):
    answer = {name: value for name, value in answers[verb].items() if name != key}
    assert f"lacks the key '{key}'" in refusal(verb, answer)


def test_an_agent_of_an_older_release_lacks_keys_that_came_later(answers):
    older = {key: STATUS[key] for key in ("verb", "board", "releases", "current", "previous", "proven")}
    status = asked("status", older)
    assert (status.problems, status.warnings, status.agent, status.proven) == ([], [], None, True)
    assert status.to_json().keys() == older.keys()
    assert status.release("1" * 16) == status.releases[1]
    assert status.release("2" * 16) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fps": "fast"}, "says fps is 'fast', which are no figures"),
        ({"fps": {"host": 1, "end_to_end": 1}}, "which are no figures"),
        ({"host_ms": {"p50_ms": None}}, "which are no figures"),
        ({"end_to_end_ms": {"p50_ms": 10**400}}, "which are no figures"),
        ({"end_to_end_ms": {"p50_ms": 1.0, "p99_ms": "\x1b[2J"}}, "which are no figures"),
        ({"version": 3}, "benchmark report: expected version 2"),
        ({"state": "odd"}, "benchmark report: expected state"),
        ({"later": 1}, "benchmark report: keys differ: ['later']"),
        ({"power": "5 W"}, "bench: unexpected answer: power: "),
        ({"compute_ms": {"p50_ms": "1"}}, "bench: unexpected answer: compute_ms.p50_ms: "),
        ({"provenance": "unheard"}, "bench: unexpected answer: provenance: a provenance is `kind: how`"),
    ],
)
def test_a_benchmark_with_a_fault_is_one_line(answers, change, said):
    with pytest.raises(BoardError) as caught:
        checked_bench(answers["bench"] | change, "nano")
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_comparison_of_another_form_is_refused(monkeypatch, tmp_path, answers):
    import contextlib

    import edgedistill.deployment.bench as module

    bench = answers["bench"]
    side = {key: bench[key] for key in ("model", "provenance", "executed", "compute_ms", "host_ms", "end_to_end_ms")}
    ratio = {"a_over_b": 1.0, "low": 0.9, "high": 1.1, "coverage_fraction": 0.97, "faster": None}
    ratios = {"compute_ms": None, "host_ms": ratio, "end_to_end_ms": ratio}
    good = {"verb": "bench", "version": 1, "order": "abba", "rounds": 6, "a": side, "b": side, "ratio": ratios}
    good |= {"state": "locked", "host": "a host of its own"}
    monkeypatch.setattr(module, "visiting", lambda board, bundle: contextlib.nullcontext("there"))
    monkeypatch.setattr(module.ab_bench, "VERSION", 1)
    for verb in ("build", "verify"):
        monkeypatch.setattr(Board, verb, lambda *_: None)

    def compared(answer):
        return compare(Board(Said(answer), "edgedistill", "python3", print), tmp_path, tmp_path, "tensorrt", 12)

    found = compared(good)
    assert (found.host, found.ratio.of("host_ms").high, found.a.times("compute_ms")) == ("nano", 1.1, None)
    assert list(found.to_json())[0] == "host"
    for change in ({"version": 2}, {"ratio": None}, {"ratio": {}}, {"a": {**side, "host_ms": "fast"}}):
        with pytest.raises(BoardError, match="not the report that was expected; is one bundle older"):
            compared(good | change)


def test_a_whole_answer_of_tensorrt_is_known_to_the_records():
    """Every key that the board's code writes is a field; what is read anywhere is an attribute."""
    assert {*engine_file.KEYS, "verb", "provenance"} == set(board_answers.BuildAnswer.model_fields)
    assert {*KEYS, *LATER, "execution", "tuning"} == set(benchmark.BenchAnswer.model_fields)


@pytest.mark.parametrize(
    ("backend", "said", "shown"),
    [
        ("tensorrt", {"provenance": "measured: Nano"}, "measured: Nano"),
        ("tensorrt", {"board": "Nano"}, "measured: Nano"),
        ("tensorrt", {}, "measured: a board"),
        ("onnxruntime", {"provenance": "measured: Nano"}, "stand-in: measured: Nano"),
        ("onnxruntime", {"provenance": "stand-in: x86_64"}, "stand-in: x86_64"),
    ],
)
def test_a_board_that_was_enrolled_as_a_stand_in_measures_nothing(backend, said, shown):
    assert str(provenance_of(backend, board_answers.BuildAnswer.model_validate(said))) == shown


@pytest.mark.parametrize(("name", "have"), [("../../secret", 0), ("", 0), ("a", -1)])
def test_a_board_is_sent_no_file_but_those_of_the_bundle(answers, name, have):
    bundle = SimpleNamespace(manifest=SimpleNamespace(files={"a": SimpleNamespace(bytes=5)}))
    want = asked("want", answers["want"] | {"files": [{"name": name, "have": have}]})
    with pytest.raises(BoardError, match="which this bundle does not have; refused"):
        uploads_of(want, bundle)
    want = asked("want", answers["want"] | {"files": [{"name": "a", "have": 3}, {"name": "a", "have": 6}]})
    assert uploads_of(want, bundle) == [Upload("a", 5, 3), Upload("a", 5, 0)]


def test_texts_of_an_answer_are_fit_for_a_terminal_before_they_are_a_record():
    line = json.dumps(STATUS | {"problems": ["\x1b[2J", "\u202e"]})
    status = board_answers.StatusAnswer.model_validate(object_from_line(line, "status"))
    assert status.problems == ["?[2J", "?"]


def test_no_key_of_a_record_is_read_as_a_string_outside_the_records():
    """What is left reads no record: the verb of a line that is none yet, and the TOML of an inventory."""
    forms = [form for module in (benchmark, board_answers, deployment) for form in vars(module).values()]
    keys = {key for form in forms if isinstance(form, type) and issubclass(form, Record) for key in form.model_fields}
    found = []
    folder = ROOT / "edgedistill" / "deployment"
    for path in [*sorted(folder.glob("*.py")), ROOT / "edgedistill" / "stages" / "deploy.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            key = _string_key(node)
            if key in keys:
                found.append((path.name, key))
    assert found == [("inventory.py", "target"), ("streams.py", "verb")]


def _string_key(node):
    """The key of `x["key"]` or `x.get("key")`."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        key = node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop"):
        key = node.args[0] if node.args else None
    else:
        return None
    return key.value if isinstance(key, ast.Constant) else None
