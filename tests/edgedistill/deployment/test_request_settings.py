"""Which settings a deployment goes by: what was asked for, then the recipe's, then the defaults."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from edgedistill.config.deployment import DeployConfig
from edgedistill.deployment import request
from edgedistill.deployment.deploy import Wanted
from edgedistill.deployment.request import Deployment, Source
from edgedistill.progress.reporter import Talk

OF_RECIPE = DeployConfig(root="theirs", python="python3.8", ssh_config="/etc/theirs", bench_runs=50, until="bench")


@pytest.mark.parametrize(
    ("settings", "asked", "reached", "wanted"),
    [
        (DeployConfig(), {}, ("edgedistill", "python3", None), Wanted("activate", 200, False, None)),
        (OF_RECIPE, {}, ("theirs", "python3.8", Path("/etc/theirs")), Wanted("bench", 50, False, None)),
        (
            OF_RECIPE,
            {"root": "ours", "python": "py", "ssh_config": Path("cfg"), "runs": 70, "until": "activate"},
            ("ours", "py", Path("cfg")),
            Wanted("activate", 70, False, None),
        ),
        (
            OF_RECIPE,
            {"allow_downgrade": True, "tune": "build"},
            ("theirs", "python3.8", Path("/etc/theirs")),
            Wanted("bench", 50, True, "build"),
        ),
    ],
)
def test_each_host_gets_them_and_a_receipt_of_its_own(monkeypatch, tmp_path, settings, asked, reached, wanted):
    monkeypatch.setattr(request, "connected", lambda *arguments: nullcontext(arguments[:4]))
    monkeypatch.setattr(request, "signed_bundle", lambda folder: f"signed {folder}")
    monkeypatch.setattr(request, "deploy", lambda *arguments: arguments[:4])
    source = Source(Path("bundle"), tmp_path, settings)
    assert list(Deployment(hosts=("a", "b"), **asked).each_host(source, Talk(quiet=True))) == [
        ((host, *reached), "signed bundle", wanted, tmp_path / f"{host}.json") for host in ("a", "b")
    ]


@pytest.mark.parametrize(("group", "folder"), [(None, "hall"), ("line", "hall-line")])
def test_a_fleet_gets_them_too_and_a_folder_of_its_own(monkeypatch, tmp_path, group, folder):
    inventory = tmp_path / "hall.toml"
    inventory.write_text('[groups.line]\ntarget = "tx2"\n[boards.a]\ngroup = "line"\n[boards.b]\ntarget = "tx2"\n')
    monkeypatch.setattr(request, "signed_bundle", lambda path: f"signed {path}")
    monkeypatch.setattr(request, "roll_out", lambda *arguments: arguments)
    source = Source(Path("bundle"), tmp_path / "reports", OF_RECIPE)
    asked = Deployment(fleet=inventory, group=group, runs=70, allow_downgrade=True)
    given, place = asked.through_fleet(source, Talk(quiet=True), lambda report: "")
    fleet, bundle, wanted, there, _, _, ssh_config = given
    assert [board.name for board in fleet.boards] == (["a", "b"] if group is None else ["a"])
    assert (bundle, wanted) == ("signed bundle", Wanted("bench", 70, True, None))
    assert place == there == tmp_path / "reports" / folder
    assert ssh_config == Path("/etc/theirs")
