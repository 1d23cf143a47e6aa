"""Deployment to one board, over a real sshd, on Python 3.6 with ONNX Runtime where there is one."""

import json
import shutil

import pytest

from board_behind_sshd import TestBoard, id_of, make_keys, next_release, sign_again, signed, written_again
from edgedistill.bundles.archive import write_archive
from edgedistill.deployment.board import checked_bench
from edgedistill.deployment.enrol import enrol
from edgedistill.deployment.ssh import Connection
from edgedistill.errors import BoardError, BundleError, SshError
from edgedistill.records.deployment import DeployRecord, Receipt
from end_to_end import ROOT
from end_to_end import edgedistill as command
from sshd import Cut

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def enrolled(server, tmp_path_factory, forked_python, keys):
    board = TestBoard(tmp_path_factory.mktemp("enrolled"), forked_python)
    board.enrol(server.config, keys)
    return board


@pytest.fixture
def board(enrolled, tmp_path):
    return enrolled.copy(tmp_path / "board")


def test_two_releases_and_back(server, tmp_path, board, keys, first):
    said = []
    found = board.deploy(server.config, first, tmp_path / "r.json", said=said)
    assert (found.id, found.activate.previous) == (id_of(first), None)
    assert found.verify.top1_agreement_fraction == 1
    assert found.bench.host_ms.runs == len(found.samples_ms["host_ms"]) == 10
    assert str(found.provenance).startswith("stand-in: ONNX Runtime on")
    with pytest.raises(BoardError, match="says fps is 'fast', which are no figures"):
        checked_bench({**found.bench.to_json(), "fps": "fast"}, "board")
    assert board.current() == id_of(first)
    assert board.served_equals(first)
    assert any("files to copy" in line for line in said)
    assert "agrees with the workstation on 4 images" in said
    assert not any("its agent" in line for line in said)

    assert written_again(tmp_path / "r.json", Receipt) == (tmp_path / "r.json").read_bytes()
    with Connection("board", server.config) as machine:
        raw = board.on(machine).agent("status")
        assert json.dumps(board.on(machine).status().to_json()) == json.dumps(raw)  # nothing of it is lost

    second, said = next_release(first, tmp_path / "second", keys, serial=2), []
    found = board.deploy(server.config, second, tmp_path / "r.json", said=said)
    assert any(line.startswith("board: 1 of ") for line in said), said  # only what changed travels
    assert (board.current(), found.activate.previous) == (id_of(second), id_of(first))

    said = []
    board.deploy(server.config, second, tmp_path / "r.json", said=said)
    for step in ("build", "verify", "bench"):
        assert f"board: {step} was done before" in said
    with Connection("board", server.config) as machine:
        assert board.on(machine).agent("rollback")["id"] == id_of(first)
    assert board.served_equals(first)

    older = sign_again(second, keys, serial=1, model="older")
    with pytest.raises(BoardError, match="serial 1, and 2 of the same key was accepted before"):
        board.deploy(server.config, older, tmp_path / "r.json")
    found = board.deploy(server.config, older, tmp_path / "r.json", allow_downgrade=True, until="build")
    assert found.activate is None
    assert "activate" not in found.to_json()
    assert board.current() == id_of(first)


def test_a_damaged_current_release_is_restored_by_the_same_deployment(server, tmp_path, board, keys, first):
    proof = board.root / "releases" / id_of(first) / "work" / "engine" / "verified-onnxruntime.json"
    board.fault("activate", f"rm {proof}")  # as another deployment at work there, which builds again
    board.deploy(server.config, first, tmp_path / "r.json")
    current = (board.root / "current").resolve()
    (current / "manifest.json").write_text("{}")
    (current / "golden" / "images" / "0001.png").unlink()
    said = []
    found = board.deploy(server.config, first, tmp_path / "r.json", said=said)
    assert f"board: {id_of(first)} is damaged there and is repaired" in said
    assert any(line.startswith("board: 1 of ") for line in said)  # the rest is taken from what lies there
    assert found.activate.already
    assert board.served_equals(first)


def test_enrolling_twice_mends_the_agent_and_the_serials_and_keeps_keys(server, board, keys, tmp_path):
    (before,) = (board.root / "agents").iterdir()
    assert json.loads((board.root / "agent" / "agent.json").read_text())["version"] == 1
    (board.root / "agent" / "edgedistill_device" / "errors.py").write_text("broken")
    (board.root / "state.json").write_text("")  # as the power leaves it; every bundle is refused then
    other = make_keys(tmp_path / "other", "other")
    found = board.enrol(server.config, other)
    assert json.loads((board.root / "state.json").read_text())["highest_serial"] == {}
    assert sorted(path.name for path in (board.root / "trusted.d").iterdir()) == ["other.pem", "ours.pem"]
    (after,) = (board.root / "agents").iterdir()
    assert after != before
    assert (after / "edgedistill_device" / "errors.py").read_bytes() == (
        ROOT / "jetson" / "edgedistill_device" / "errors.py"
    ).read_bytes()
    stranger = make_keys(tmp_path / "stranger", "ours")  # as two workstations that both have a `release`
    with pytest.raises(BoardError, match="another key of the name ours is trusted there"):
        board.enrol(server.config, stranger)
    assert (board.root / "trusted.d" / "ours.pem").read_bytes() == keys.public.read_bytes()
    assert (after / "edgedistill_device" / "errors.py").is_file()
    assert [path.name for path in (board.root / "agents").iterdir()] == [after.name]
    assert found.agent.sha256 == json.loads((board.root / "agent" / "agent.json").read_text())["sha256"]


def test_an_agent_that_arrives_damaged_is_not_installed(server, board, keys, monkeypatch):
    import edgedistill.deployment.enrol as module

    agent = (board.root / "agent").resolve()
    monkeypatch.setattr(module, "sha256_of", lambda path: "0" * 64)
    with pytest.raises(BoardError, match="the agent was copied and not installed"):
        board.enrol(server.config, keys)
    assert (board.root / "agent").resolve() == agent


def test_what_is_refused_before_anything_is_copied(server, tmp_path, board, keys, first):
    unsigned = next_release(first, tmp_path / "unsigned", keys, serial=3)
    (unsigned / "manifest.json.sig").unlink()
    with pytest.raises(BundleError, match="is not signed, and a board takes only signed bundles: edgedistill keys new"):
        board.deploy(server.config, unsigned, tmp_path / "r.json")
    (tmp_path / "unsigned" / "classes.txt").write_text("altered")
    with pytest.raises(BundleError, match="classes.txt has"):
        board.deploy(server.config, unsigned, tmp_path / "r.json")
    nano = next_release(first, tmp_path / "nano", keys, serial=3, target="jetson-nano")
    with pytest.raises(BoardError, match="enrolled as 'local', this bundle is for 'jetson-nano'; nothing was copied"):
        board.deploy(server.config, nano, tmp_path / "r.json")
    with Connection("board", server.config) as machine, pytest.raises(BoardError, match="enrolled with target 'local'"):
        enrol(board.on(machine), "jetson-nano", "onnxruntime", keys.name, keys.public)
    assert not list((board.root / "incoming").iterdir())


def test_a_key_that_the_board_does_not_trust(server, tmp_path, board, first):
    stranger = make_keys(tmp_path / "strangers", "stranger")
    bundle = next_release(first, tmp_path / "theirs", stranger, serial=9)
    with pytest.raises(
        BoardError, match="edgedistill_device want: the signature matches none of the keys trusted here"
    ):
        board.deploy(server.config, bundle, tmp_path / "r.json")
    assert board.current() == ""


def test_a_copy_that_was_cut_resumes_in_the_middle_of_a_file(server, tmp_path, board, keys, first, rng):
    big = next_release(first, tmp_path / "big", keys, serial=2)
    (big / "model_int8.onnx").write_bytes(rng.bytes(4_000_000))
    sign_again(big, keys, serial=2)
    with Cut(server.port, after=2_000_000) as cable:
        config = server.config_with(tmp_path, Port=cable.port, HostKeyAlias=f"[127.0.0.1]:{server.port}")
        with pytest.raises(SshError, match="run it again"):
            board.deploy(config, big, tmp_path / "r.json")
    half = (board.root / "incoming" / id_of(big) / "model_int8.onnx").stat().st_size
    assert 0 < half < 4_000_000
    with Cut(server.port, after=1 << 40) as cable:
        config = server.config_with(tmp_path, Port=cable.port, HostKeyAlias=f"[127.0.0.1]:{server.port}")
        board.deploy(config, big, tmp_path / "r.json")
        assert cable.carried < 4_000_000 - half + 100_000  # the rest of it, and what the verbs say
    assert board.current() == id_of(big)


def test_a_board_that_asks_for_our_files_gets_none(server, tmp_path, board, first):
    board.fault("want", 'echo \'{"verb": "want", "id": "x", "files": [{"name": "../../secret", "have": 0}]}\'; exit 0')
    with pytest.raises(BoardError, match="which this bundle does not have; refused"):
        board.deploy(server.config, first, tmp_path / "r.json")


def test_what_the_doctor_misses_stops_a_board_before_the_copy_and_not_a_stand_in(server, tmp_path, board, first):
    check = {"name": "disk", "ok": False, "required": True, "found": "3 MiB free", "advice": "free some"}
    line = json.dumps({"verb": "doctor", "ok": False, "checks": [check]})
    board.fault("doctor", f"echo '{line}'; exit 0")
    (board.root / "agent" / "agent.json").write_text('{"version": 1, "sha256": "an older one"}')
    said = []
    board.deploy(server.config, first, tmp_path / "r.json", said=said, until="build")
    assert "board: its agent is of another edgedistill; to update it: edgedistill enrol" in said
    assert "board: doctor: disk: 3 MiB free; free some (it is a stand-in, so that does not stop it)" in said
    (board.root / "board.json").write_text('{"version": 1, "target": "local", "backend": "tensorrt"}')
    shutil.rmtree(board.root / "releases")
    board.fault("doctor", f"echo '{line}'; exit 0")
    with pytest.raises(BoardError, match="doctor: disk: 3 MiB free; free some; nothing was copied"):
        board.deploy(server.config, first, tmp_path / "r.json")
    assert not list((board.root / "incoming").iterdir())


def test_a_failed_verify_is_told_and_nothing_is_switched(server, tmp_path, board, keys, first):
    bad = next_release(first, tmp_path / "bad", keys, serial=2)
    (bad / "model.onnx").write_bytes(model_that_disagrees())
    sign_again(bad, keys, serial=2)
    with pytest.raises(BoardError, match="board: edgedistill_device verify: logits differ from the workstation's"):
        board.deploy(server.config, bad, tmp_path / "r.json")
    assert board.current() == ""


def model_that_disagrees():
    from tiny_onnx import model_bytes

    return model_bytes([[5.0, -1.0, 0.5], [-1.0, 3.0, 0.0]], [0.1, -0.2], 24)


def test_the_command_line(server, tmp_path, board_python, monkeypatch):
    """keys new, enrol, deploy, status, rollback as a user types them, to a board whose every verb is a new Python."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    board = TestBoard(tmp_path / "board", board_python)
    there = ["--root", board.root, "--python", board.python, "--ssh-config", server.config]

    def edgedistill(*words, code=0):
        done = command(*words, cwd=tmp_path, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    keys = make_keys(tmp_path / "config" / "edgedistill" / "keys", "line1")
    bundle = signed(tmp_path / "bundle", keys)
    said = edgedistill("enrol", "board", "--target", "local", "--backend", "onnxruntime", "--key", "line1", *there)
    assert f"board: enrolled as local, takes bundles signed by line1 ({keys.key_id})" in said
    said = edgedistill("deploy", bundle, "--host", "board", "--runs", "10", *there)
    assert "serves it now" in said
    assert "stand-in" in said
    receipt = json.loads((tmp_path / "deployments" / "board.json").read_text())
    assert receipt["steps"]["activate"]["verb"] == "activate"
    said = edgedistill("status", "board", *there)
    assert f"current: {id_of(bundle)}\n" in said
    archive = tmp_path / "tiny.edb.tar"
    write_archive(bundle, archive)
    said = edgedistill("deploy", archive, "--host", "board", "--runs", "10", "--json", *there)
    assert json.loads(said)["activate"]["already"]
    said = edgedistill("rollback", "board", *there, code=1)
    assert "has no previous release to go back to" in said
    assert "goes where? Give --host HOST" in edgedistill("deploy", bundle, code=2)


def test_the_stage_deploys_to_boards_beside_this_computer(finished_run, server, tmp_path, forked_python, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    keys = make_keys(tmp_path / "config" / "edgedistill" / "keys")
    board = TestBoard(tmp_path / "board", forked_python)
    board.enrol(server.config, keys, target="jetson-nano")
    shutil.copytree(finished_run / "runs" / "r", tmp_path / "run")
    deploy = {
        "hosts": '["local", "board"]',
        "root": board.root,
        "python": board.python,
        "ssh_config": server.config,
        "sign_key": "ours",
    }
    options = (word for key, value in deploy.items() for word in ("--set", f"deploy.{key}={value}"))
    command("run", finished_run / "r.toml", "--run-dir", tmp_path / "run", *options, cwd=tmp_path)
    path = tmp_path / "run" / "deploy" / "deploy.json"
    hosts = json.loads(path.read_text())["hosts"]
    assert written_again(path, DeployRecord) == path.read_bytes()
    assert [host["host"] for host in hosts] == ["local", "board"]
    keys_of_local = {"host", "backend", "provenance", "requested", "executed", "verify", "bench", "samples_ms"}
    assert keys_of_local == set(hosts[0]) < set(hosts[1])
    assert hosts[1]["activate"]["id"] == board.current()
    assert board.served_equals(tmp_path / "run" / "bundle" / "bundle")
    assert json.loads((tmp_path / "run" / "report" / "report.json").read_text())["device"]["host"] == "local"


def test_a_dry_run_of_a_recipe_makes_nothing_and_asks_no_board(finished_run):
    words = ("deploy", "r.toml", "--host", "nobody.invalid", "--dry-run")
    said = command(*words, "--set", "target.memory_mib=500", cwd=finished_run)  # the board plans by it
    assert "run      bundle: " in said.stdout
    assert not (finished_run / "runs" / "r" / "bundle.partial").exists()
