"""The stored table of students, and that making a row again gives the stored one."""

import json

import numpy as np
import pytest
import torch

from edgedistill.cli.main import main
from edgedistill.config.target import releases, target_names
from edgedistill.errors import RecipeError
from edgedistill.models.build import (
    SHUFFLENETS,
    build_model,
    head_names,
    outputs,
    preprocess_of,
    refuse_unless_student,
)
from edgedistill.models.families import STUDENTS
from edgedistill.models.students import stored, students, text_from_students
from edgedistill.onnx_model.compile import compiler_here
from edgedistill.onnx_model.student_table import randomised, refresh

pytestmark = pytest.mark.slow

ROWS = {row["model"]: row for row in stored()["rows"]}


def test_the_table_is_whole():
    table = stored()
    assert list(ROWS) == list(STUDENTS)
    assert len(ROWS) >= 30
    assert {"torch", "timm", "onnx", "onnxslim", "tensorrt-rtx"} <= set(table["libraries"])
    assert len(table["made"]) == 10
    for row in ROWS.values():
        if row["export"]["verdict"] == "proved":
            assert row["export"]["relative_difference"] < 1e-4
            assert set(row["preflight"]) == set(releases())
            assert row["macs"] > row["parameters"] > 1e5
            assert row["compile"]["verdict"] == "builds"
        else:
            assert row["export"]["reason"]


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_family_is_one_that_the_nano_takes(name):
    row = ROWS[name]
    if row["preflight"].get("8.2", {}).get("verdict") == "fits":
        refuse_unless_student(name)
    else:
        with pytest.raises(RecipeError, match="is not a student family"):
            refuse_unless_student(name)


def test_a_row_made_again_is_the_stored_one(tmp_path):
    said = []
    made = refresh(tmp_path / "s.json", said.append, ("lcnet_035", "shufflenet_v2_x0_5"))
    assert json.loads((tmp_path / "s.json").read_text()) == made
    assert len(said) == 2
    for row in made["rows"]:
        old = ROWS[row["model"]]
        for key in ("parameters", "macs", "preflight"):
            assert row[key] == old[key], row["model"]
        assert row["export"]["verdict"] == old["export"]["verdict"]
        if compiler_here():
            assert row["compile"]["verdict"] == old["compile"]["verdict"]


def test_the_statistics_are_random_and_the_same_each_time():
    first, again = (randomised("lcnet_035").state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert np.ptp(first["bn1.running_var"].numpy()) > 0.5


@pytest.mark.parametrize(
    "name",
    [
        "shufflenet_v2_x0_5",
        "ghostnet_050",
        "mnasnet_small",
        "fbnetc_100",
        "lcnet_035",
        "regnetx_002",
        "mobileone_s0",
        "repvgg_a0",
    ],
)
def test_the_new_families_give_logits_and_features_in_one_pass(name):
    torch.manual_seed(0)
    model = build_model(name, 5).eval()
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        logits, features = outputs(model, image)
        torch.testing.assert_close(logits, model(image))
    assert features.ndim == 2
    assert model.get_submodule(head_names(name)[0]).weight.shape[0] == 5
    assert preprocess_of(name, 64, 64, "area").std


def test_shufflenet_has_torchvision_s_own_parameters():
    import torchvision

    for name in SHUFFLENETS:
        theirs = getattr(torchvision.models, name)(weights=None).state_dict()
        ours = build_model(name, 1000).state_dict()
        assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize("target", target_names())
def test_every_board_has_its_table(target):
    table = students(target)
    assert len(table["rows"]) == len(STUDENTS)
    text = text_from_students(table)
    assert "no board was asked" in text
    assert all(name in text for name in STUDENTS)
    verdicts = {row["preflight"] and row["preflight"]["verdict"] for row in table["rows"]}
    assert verdicts == {None} if target == "local" else "fits" in verdicts


def test_the_verb_prints_json(capsys):
    assert main(["students", "--target", "jetson-nano", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert (table["target"], table["tensorrt"]) == ("jetson-nano", "8.2")
    assert main(["students", "--target", "nano"]) == 1
