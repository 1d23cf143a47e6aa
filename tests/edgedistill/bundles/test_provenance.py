"""provenance.json and MODEL_CARD.md against the artifacts that they speak of."""

import hashlib
import json
import re
import subprocess

import pytest

from edgedistill._version import __version__
from edgedistill.bundles import provenance
from edgedistill.bundles.model_card import model_card
from edgedistill.config.loading import recipe_from_table
from edgedistill.config.recipe import recipe_without_paths
from edgedistill.environment.git import commit_of
from edgedistill.records.evaluation import EvaluationRecord
from edgedistill.records.quantization import QuantizationRecord
from edgedistill_device.manifest import read_manifest
from end_to_end import ROOT
from record_factories import record_with


@pytest.fixture(scope="module")
def run(finished_run):
    return finished_run / "runs" / "r"


@pytest.fixture(scope="module")
def statement(run):
    return json.loads((run / "bundle" / "bundle" / "provenance.json").read_text())


@pytest.fixture(scope="module")
def card(run):
    return (run / "bundle" / "bundle" / "MODEL_CARD.md").read_text()


def values(run, stage):
    return json.loads((run / stage / f"{stage}.json").read_text())


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def dependencies(statement):
    return statement["predicate"]["buildDefinition"]["resolvedDependencies"]


def test_it_is_an_in_toto_statement_with_slsa_provenance(statement):
    assert set(statement) == {"_type", "subject", "predicateType", "predicate"}
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    build = statement["predicate"]["buildDefinition"]
    assert {"buildType", "externalParameters", "resolvedDependencies"} <= set(build)
    assert statement["predicate"]["runDetails"]["builder"]["id"].startswith("urn:")


def test_what_was_made_is_what_the_manifest_lists(run, statement):
    files = read_manifest(run / "bundle" / "bundle").files
    for subject in statement["subject"]:
        assert subject["digest"]["sha256"] == files[subject["name"]].sha256
    assert {subject["name"] for subject in statement["subject"]} == {
        "model.onnx",
        "model_int8.onnx",
    }


def test_what_it_was_made_from_is_named_by_its_hash(run, statement):
    found = {one["name"]: one["digest"] for one in dependencies(statement) if "digest" in one}
    assert found["teacher weights"]["sha256"] == sha256(run / "teacher" / "weights.safetensors")
    assert found["student weights"]["sha256"] == sha256(run / "distill" / "weights.safetensors")
    assert found["images.csv"]["sha256"] == sha256(run / "data" / "images.csv")
    recipe = statement["predicate"]["buildDefinition"]["externalParameters"]["recipe"]
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert found["recipe"]["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    uris = [one["uri"] for one in dependencies(statement) if "uri" in one]
    assert any(re.fullmatch(r"pkg:pypi/torch@[\d.]+.*", uri) for uri in uris)


def test_the_code_is_named_by_its_commit_or_by_its_version(statement, tmp_path, monkeypatch):
    head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode == 0:
        (code,) = [one for one in dependencies(statement) if one.get("name") == "edgedistill"]
        assert code["digest"] == {"gitCommit": head.stdout.strip()}
        assert commit_of() == head.stdout.strip()  # what the report says; also of a worktree and of packed refs
    assert commit_of(tmp_path) is None
    assert provenance._code(tmp_path) == {"uri": f"pkg:pypi/edgedistill@{__version__}"}
    monkeypatch.setenv("PATH", "")
    assert provenance._code(ROOT) == {"uri": f"pkg:pypi/edgedistill@{__version__}"}


def test_neither_a_clock_nor_this_computer_is_in_it(finished_run, statement, card):
    for text in (json.dumps(statement), card):
        assert str((finished_run / "images").resolve().parent) not in text
        assert not re.search(r"20\d\d-\d\d-\d\d", text)


def test_a_recipe_loses_its_paths_and_its_secrets():
    net = {"model": "resnet18", "weights": "/data/secret-project/teacher.safetensors"}
    table = {
        "data": {"train": "/data/secret-project/images", "unlabelled": "/data/secret-project/more"},
        "teacher": net,
        "student": {"weights": "/data/secret-project/s.pth"},
        "distill": {"method": "ensemble", "teachers": [net]},
        "run": {"cache_dir": "/data/secret-project/cache"},
        "deploy": {"sign_key": "release", "sign_command": ["kms", "--pin", "secret-project"]},
    }
    recipe = recipe_from_table(table, "r")
    found = recipe_without_paths(recipe)
    assert "secret-project" not in json.dumps(found)
    assert found["teacher"]["weights"] == "teacher.safetensors"
    assert found["distill"]["teachers"][0]["weights"] == "teacher.safetensors"


def test_the_card_gives_the_figures_that_were_measured(run, card):
    evaluated, quantized = values(run, "evaluate"), values(run, "quantize")
    for name, words in (
        ("teacher", "teacher"),
        ("baseline", "student without the teacher"),
        ("student", r"student \(this one\)"),
    ):
        low, high = evaluated[name]["top1_interval"]
        row = f"{evaluated[name]['top1_fraction']:.1%} | {low:.1%} to {high:.1%}"
        assert re.search(rf"^\| {words} \| {re.escape(row)} \|", card, re.M)
    kept = evaluated["student"]["top1_fraction"] / evaluated["teacher"]["top1_fraction"]
    assert f"It keeps {kept:.1%} of the teacher's top-1 accuracy." in card
    for name, step in quantized["ladder"].items():
        (row,) = [line for line in card.splitlines() if line.startswith(f"| {name} |")]
        assert f"{step['top1_fraction']:.1%}" in row
        assert ("simulated" if name in {"fp16", "int8"} else "measured") in row
    assert all(f"| `{name}` |" in card for name in ("disc", "square", "stripes"))
    assert f"on {evaluated['images']} test images" in card


def test_the_card_states_no_figure_of_a_board(card):
    assert "No figure here is from Jetson Nano 4GB" in card
    assert not re.search(r"\d+(\.\d+)? ?(ms|FPS|fps|MiB|W)\b", card)


def test_a_class_name_cannot_write_in_the_card(run):
    evaluated, quantized = values(run, "evaluate"), values(run, "quantize")
    recall = evaluated["student"]["per_class_recall"]
    recall["a`|\n# Approved for surgery"] = recall.pop("stripes")
    evaluated["student"]["confusion"][2] = [0, 0, 0]
    recipe = recipe_from_table({"data": {"train": "x"}}, "r")
    made = model_card(
        recipe, "a board", record_with(EvaluationRecord, evaluated), record_with(QuantizationRecord, quantized), 60
    )
    assert "| `a'/ # Approved for surgery` | not measured | 0 |" in made.splitlines()
