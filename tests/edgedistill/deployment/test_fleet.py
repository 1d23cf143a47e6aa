"""Fleets: the inventory, and a roll-out to four boards behind one sshd."""

import dataclasses
import json
import re

import pytest

from board_behind_sshd import TestBoard, make_keys, next_release, signed, written_again
from edgedistill.deployment.board import connected
from edgedistill.deployment.deploy import Wanted, signed_bundle
from edgedistill.deployment.fleet import roll_out, table_from_fleet
from edgedistill.deployment.inventory import Fleet, FleetBoard, Rollout, load_fleet
from edgedistill.errors import InventoryError
from edgedistill.progress.reporter import Talk
from edgedistill.records.deployment import FleetRecord
from edgedistill.reporting.fleet_page import html_from_fleet
from sshd import Sshd, need_sshd

pytestmark = pytest.mark.slow

NAMES = ("nano-1", "nano-2", "nano-3", "nano-4")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, forked_python):
    """Four boards, one of them a canary, and two releases for them."""
    need_sshd()
    folder = tmp_path_factory.mktemp("fleet")
    keys = make_keys(folder / "keys")
    with Sshd(folder / "sshd") as server:
        server.write_config(dict.fromkeys(NAMES, server.port))
        boards = {NAMES[0]: TestBoard(folder / NAMES[0], forked_python)}
        boards[NAMES[0]].enrol(server.config, keys, host=NAMES[0])
        boards |= {name: boards[NAMES[0]].copy(folder / name) for name in NAMES[1:]}
        lines = [
            "[rollout]",
            "wave = 2",
            "parallel = 2",
            "max_failures = 1",
            "[defaults]",
            'target = "local"',
            "[groups.hall]",
        ]
        for name, board in boards.items():
            lines += [f"[boards.{name}]", f'root = "{board.root}"', f'python = "{board.python}"', 'group = "hall"']
        lines += ["canary = true"]  # of the last one
        (folder / "boards.toml").write_text("\n".join(lines))
        first = signed(folder / "first", keys)
        second = next_release(first, folder / "second", keys, serial=2)
        yield folder, server, boards, first, second


def roll(fleet, bundle, said, inventory="boards.toml", **wanted):
    folder, server, *_ = fleet
    talk = Talk(quiet=True)
    talk.say = said.append
    wanted = Wanted(**{"runs": 10, "until": "build", **wanted})
    inventory, report = load_fleet(folder / inventory), folder / "report"
    return roll_out(inventory, signed_bundle(bundle), wanted, report, talk, html_from_fleet, server.config)


def states(report):
    return {row.name: row.state for row in report.boards}


def test_a_broken_canary_stops_it_and_a_rerun_goes_on(fleet):
    folder, _, boards, first, second = fleet
    boards["nano-4"].fault("accept", "echo 'canary is ill' >&2; exit 1")
    said = []
    report = roll(fleet, first, said)
    assert states(report) == {"nano-4": "failed", "nano-1": "waiting", "nano-2": "waiting", "nano-3": "waiting"}
    assert report.stopped == "canary: 1 failed, 0 may"
    assert report.boards[0].reason == "nano-4: canary is ill"
    assert not any(board.current() or list((board.root / "releases").iterdir()) for board in boards.values())

    boards["nano-1"].fault("accept", "echo ill >&2; exit 1")  # one failure is in the budget
    report = roll(fleet, first, said)
    assert states(report) == {"nano-4": "done", "nano-1": "failed", "nano-2": "done", "nano-3": "done"}
    assert report.stopped is None

    said.clear()
    report = roll(fleet, first, said)
    assert [line for line in said if line.endswith(": build")] == ["nano-1: build"]
    assert {f"{name}: build was done before" for name in ("nano-2", "nano-3", "nano-4")} < set(said)
    assert set(states(report).values()) == {"done"}
    assert json.loads((folder / "report" / "fleet.json").read_text()) == report.to_json()
    path = folder / "report" / "fleet.json"
    assert written_again(path, FleetRecord) == path.read_bytes()
    assert {path.name for path in (folder / "report").glob("nano-*.json")} == {f"{name}.json" for name in NAMES}


def test_the_budget_stops_the_wave(fleet):
    _, _, boards, _, second = fleet
    for name in ("nano-1", "nano-2"):
        boards[name].fault("want", "echo ill >&2; exit 1")
    report = roll(fleet, second, [])
    assert states(report) == {"nano-4": "done", "nano-1": "failed", "nano-2": "failed", "nano-3": "waiting"}
    assert report.stopped == "wave 1 of 2: 2 failed, 1 may"


def test_the_page_and_the_table(fleet):
    report = json.loads((fleet[0] / "report" / "fleet.json").read_text())
    report["boards"][0]["reason"] = "<script>alert(1)</script>"
    report = FleetRecord.model_validate(report)
    page = html_from_fleet(report)
    assert "<script>alert" not in page
    assert not re.search(r"""(?:src|href)="[^#]""", page)
    assert page.count('<th scope="row">') == 4
    assert "nano-3" in table_from_fleet(report)


def test_a_name_that_stands_for_another_board_is_no_board_that_has_it(fleet):
    folder, _, boards, _, second = fleet
    alone = f'[defaults]\ntarget = "local"\nroot = "{boards["nano-3"].root}"\npython = "{boards["nano-3"].python}"\n'
    for host in ("nano-3", "nano-3.munich.invalid"):
        (folder / f"{host}.toml").write_text(f'{alone}[boards.nano-3]\nhost = "{host}"\n')
    assert states(roll(fleet, second, [], "nano-3.toml")) == {"nano-3": "done"}
    assert states(roll(fleet, second, [], "nano-3.munich.invalid.toml")) == {"nano-3": "failed"}


def test_a_board_that_was_rolled_back_by_hand_gets_it_again(fleet):
    _, server, boards, first, second = fleet
    board = boards["nano-3"]
    for bundle in (first, second):
        assert states(roll(fleet, bundle, [], "nano-3.toml", until="activate", allow_downgrade=True)) == {
            "nano-3": "done"
        }
    with connected("nano-3", str(board.root), str(board.python), server.config, Talk(quiet=True).say) as there:
        there.rollback()
    assert board.current() == signed_bundle(first).id
    said = []
    assert states(roll(fleet, second, said, "nano-3.toml", until="activate")) == {"nano-3": "done"}
    assert board.current() == signed_bundle(second).id
    assert "nano-3: bench was done before" in said


def test_boards_of_another_kind_are_refused_before_anything_starts(fleet, tmp_path):
    folder, server, _, first, _ = fleet
    text = (folder / "boards.toml").read_text().replace("[groups.hall]", '[groups.hall]\ntarget = "xavier-nx"')
    (tmp_path / "boards.toml").write_text(text)
    with pytest.raises(InventoryError, match="is for 'local'; nothing was started, because of: nano-4 .xavier-nx."):
        roll_out(
            load_fleet(tmp_path / "boards.toml"),
            signed_bundle(first),
            Wanted(),
            tmp_path / "r",
            Talk(True),
            html_from_fleet,
            server.config,
        )
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[boards.a]\ntarget = 'local'\nhosst = 'x'", "boards.a.hosst: no such key"),
        ("[boards.Fleet]\ntarget = 'local'", "boards.Fleet: the roll-out's own report has that name"),
        ("[boards.a]\nhost = '-oProxyCommand=id'\ntarget = 'local'", "boards.a.host: string should match"),
        ("[boards.a]\nroot = '../$(id)'\ntarget = 'local'", "boards.a.root: string should match"),
        ("[boards.'../a']\ntarget = 'local'", "boards.../a"),
        ("[boards.a]", "boards.a has no target, nor has its group or"),
        ("[boards.a]\ngroup = 'b'\ntarget = 'local'", r"there is no \[groups.b\]; there are: none"),
        ("[rollout]\nparallel = 0\n[boards.a]\ntarget = 'local'", "rollout.parallel: input should be greater"),
        ("[defaults]", "boards: field required"),
        ("[boards]", r"no \[boards.NAME\]"),
        ("boards = ", "not a readable TOML file"),
    ],
)
def test_an_inventory_with_a_fault_is_one_line(tmp_path, text, line):
    (tmp_path / "boards.toml").write_text(text)
    with pytest.raises(InventoryError, match=line) as caught:
        load_fleet(tmp_path / "boards.toml")
    assert "\n" not in str(caught.value)


def test_what_a_board_inherits(tmp_path):
    (tmp_path / "b.toml").write_text("""
[defaults]
target = "jetson-nano"
root = "student"
[groups.hall]
python = "python3.8"
root = "hall"
[boards.one]
[boards.two]
group = "hall"
host = "pi@two.local"
canary = true
[boards.three]
group = "hall"
root = "mine"
""")
    fleet = load_fleet(tmp_path / "b.toml")
    assert [(b.name, b.host, b.root, b.python, b.canary) for b in fleet.boards] == [
        ("two", "pi@two.local", "hall", "python3.8", True),
        ("one", "one", "student", "python3", False),
        ("three", "three", "mine", "python3.8", False),
    ]
    assert [b.name for b in load_fleet(tmp_path / "b.toml", "hall").boards] == ["two", "three"]
    with pytest.raises(InventoryError, match=r"there is no \[groups.cellar\]; there are: hall$"):
        load_fleet(tmp_path / "b.toml", "cellar")


def test_without_a_canary_the_first_board_of_those_chosen_is_one(tmp_path):
    (tmp_path / "b.toml").write_text("""
[groups.hall]
[groups.empty]
[boards]
one = { target = "local", host = "pi@one" }
two = { target = "jetson-nano", group = "hall", root = "mine" }
three = { target = "xavier-nx", group = "hall" }
""")
    one = FleetBoard("one", None, "pi@one", "local", "edgedistill", "python3", True)
    two = FleetBoard("two", "hall", "two", "jetson-nano", "mine", "python3", False)
    three = FleetBoard("three", "hall", "three", "xavier-nx", "edgedistill", "python3", False)
    assert load_fleet(tmp_path / "b.toml") == Fleet("b", (one, two, three), Rollout())
    assert load_fleet(tmp_path / "b.toml", "hall").boards == (dataclasses.replace(two, canary=True), three)
    with pytest.raises(InventoryError, match="no board of group empty"):
        load_fleet(tmp_path / "b.toml", "empty")
