"""The Python functions that go to boards, over a real sshd: the same words and results as the command line's."""

import runpy
import shutil

import pytest

import edgedistill
from board_behind_sshd import TestBoard, id_of, make_keys, next_release, signed
from end_to_end import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def there(server, tmp_path, forked_python, monkeypatch):
    """A board that nobody enrolled yet, and how to reach it; keys and results in tmp_path."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    board = TestBoard(tmp_path / "board", forked_python)
    return board, {"root": str(board.root), "python": str(board.python), "ssh_config": server.config, "quiet": True}


def test_enrol_deploy_status_rollback_fleet_and_bench(there, tmp_path):
    board, way = there
    keys = make_keys(tmp_path / "config" / "edgedistill" / "keys")
    first = signed(tmp_path / "first", keys)
    with pytest.raises(edgedistill.EdgeDistillError, match="it is not enrolled: edgedistill enrol board"):
        edgedistill.status("board", **way)
    found = edgedistill.enrol("board", target="local", backend="onnxruntime", key="ours", **way)
    assert (found["target"], found["key"], found["doctor"]["ok"]) == ("local", "ours", True)

    (found,) = edgedistill.deploy(first, hosts=["board"], runs=10, **way)
    assert (found["id"], found["activate"]["previous"]) == (id_of(first), None)
    assert (tmp_path / "deployments" / "board.json").exists()
    assert edgedistill.status("board", **way)["current"] == id_of(first) == board.current()

    second = next_release(first, tmp_path / "second", keys, serial=2)
    (tmp_path / "boards.toml").write_text(f"""
[boards.board]
target = "local"
root = "{board.root}"
python = "{board.python}"
""")
    config = {"ssh_config": way["ssh_config"], "quiet": True}
    report = edgedistill.deploy(second, fleet="boards.toml", runs=10, **config)
    assert [(row["name"], row["state"]) for row in report["boards"]] == [("board", "done")]
    assert board.current() == id_of(second)
    assert edgedistill.rollback("board", leave=id_of(second), **way)["id"] == id_of(first)

    timed = edgedistill.bench(first, host="board", backend="onnxruntime", runs=10, python=way["python"], **config)
    assert timed["provenance"].startswith("stand-in: ONNX Runtime")
    assert len(timed["samples_ms"]["host_ms"]) == 10


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "goes where"),
        ({"hosts": ["a"], "fleet": "b.toml"}, "one of them"),
        ({"group": "hall"}, "--group needs"),
        ({"fleet": "b.toml", "root": "x"}, "stand in its file"),
        ({"allow_downgrade": True}, "--allow-downgrade is for"),
        ({"hosts": ["a"]}, "expected a RECIPE.toml, a run folder"),
    ],
)
def test_what_cannot_be_deployed(tmp_path, options, said):
    with pytest.raises(edgedistill.EdgeDistillError, match=said):
        edgedistill.deploy(tmp_path / "none", **options)


def test_example_deploy_to_a_board(there, finished_run, tmp_path, capsys):
    """From the recipe: its bundle is signed and made first; a second student that is too slow is taken back."""
    board, way = there
    make_keys(tmp_path / "config" / "edgedistill" / "keys")
    edgedistill.enrol("board", target="jetson-nano", backend="onnxruntime", key="ours", **way)
    shutil.copytree(finished_run / "runs", tmp_path / "runs")
    text = (finished_run / "r.toml").read_text().replace('"images"', f'"{finished_run / "images"}"')
    (tmp_path / "r.toml").write_text(text.replace("[deploy]", '[deploy]\nsign_key = "ours"'))
    main = runpy.run_path(str(ROOT / "docs" / "examples" / "deploy_to_a_board.py"))["main"]
    way.pop("quiet")
    first = main("r.toml", "board", "1e9", **way)
    assert first == board.current() == id_of(tmp_path / "runs" / "r" / "bundle" / "bundle")
    assert "stand-in: ONNX Runtime" in capsys.readouterr().out
    edgedistill.bundle("r.toml", deploy={"sign_key": "ours", "golden_images": 5}, quiet=True)
    assert edgedistill.deploy("runs/r", hosts=["board"], until="build", quiet=True, **way)[0]["id"] != first
    assert board.current() == first
