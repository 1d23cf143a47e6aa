"""The rows of families.py, and what `edgedistill students --refresh` writes."""

import json

import pytest
import timm

from edgedistill.cli.main import main
from edgedistill.models.build import SHUFFLENETS, SQUEEZENETS
from edgedistill.models.families import ADVISED, ASSISTANTS, FAMILIES, STUDENTS, TORCHVISION
from edgedistill.onnx_model import student_table
from edgedistill.prediction.choose import accuracies
from edgedistill.reporting.advice import _bigger_student
from end_to_end import ROOT

STORED = ROOT / "edgedistill" / "models" / "students.json"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.prefix)
def test_a_row_names_networks_of_its_own(family):
    names = {*family.students, *family.assistants}
    assert names
    assert all(name.startswith(family.prefix) for name in names)
    assert set(family.advised) <= set(family.students)
    assert all(timm.is_model(name) is (family.builder == "timm") for name in names)


def test_a_network_stands_in_one_row():
    assert len({family.prefix for family in FAMILIES}) == len(FAMILIES)
    for names in (STUDENTS, ADVISED, ASSISTANTS):
        assert len(set(names)) == len(names)


def test_the_families_of_torchvision_have_their_classes():
    assert set(TORCHVISION) == {*SQUEEZENETS, *SHUFFLENETS}


def test_an_advised_student_is_followed_by_a_more_accurate_one():
    best = max(ADVISED, key=lambda name: accuracies()[name].top1_percent)
    assert _bigger_student(best) is None
    for name in ADVISED:
        if name != best:
            assert accuracies()[_bigger_student(name)].top1_percent > accuracies()[name].top1_percent
    assert _bigger_student("lcnet_035") in ADVISED


@pytest.fixture
def one_student(monkeypatch):
    """`refresh` of a single network, where the command takes minutes for all of them."""
    whole = student_table.refresh
    monkeypatch.setattr(student_table, "refresh", lambda path, say: whole(path, say, ("lcnet_035",)))


@pytest.mark.slow
@pytest.mark.parametrize("output", [None, "made.json"])
def test_a_refresh_writes_where_it_is_told_and_never_into_the_package(
    output, one_student, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    before = STORED.read_bytes()
    assert main(["students", "--refresh", "--json", *(["--output", output] if output else [])]) == 0
    said = capsys.readouterr()
    made = json.loads((tmp_path / (output or "students.json")).read_text("utf-8"))
    shown = json.loads(said.out)
    assert [row["model"] for row in made["rows"]] == [row["model"] for row in shown["rows"]] == ["lcnet_035"]
    assert f"written: {output or 'students.json'}" in said.err
    assert STORED.read_bytes() == before


def test_where_a_refresh_cannot_write_is_said_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(student_table, "_examined", lambda name: pytest.fail("it has begun"))
    assert main(["students", "--refresh", "--output", str(tmp_path / "no" / "s.json")]) == 1
    assert "there is no folder" in capsys.readouterr().err
    assert main(["students", "--output", str(tmp_path / "s.json")]) == 1
    assert "--output is what --refresh writes" in capsys.readouterr().err
    assert not (tmp_path / "s.json").exists()
