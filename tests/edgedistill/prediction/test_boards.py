"""What the predictor takes from the boards' TOMLs: the numbers are those of before they moved there."""

import dataclasses
import json
from pathlib import Path

import pytest

from edgedistill.config.target import load_target, target_from_text, targets
from edgedistill.errors import RecipeError
from edgedistill.prediction import latency
from edgedistill.prediction.choose import choose
from edgedistill.prediction.features import Features, catalogue
from edgedistill.prediction.fitting import catalogue as counting
from edgedistill.prediction.fitting import fit as fitting
from edgedistill.prediction.fitting import report
from edgedistill.prediction.latency import hardware, latency_ms
from edgedistill.prediction.memory import memory_of
from edgedistill.prediction.model import predict
from end_to_end import ROOT

PACKAGE = ROOT / "edgedistill" / "prediction"
# Features, constants and predictions of commit 742a718, when a board's facts stood in four modules.
RECORDED = json.loads(Path(__file__).with_name("recorded_predictions.json").read_text("utf-8"))


@pytest.mark.parametrize("network", RECORDED["networks"])
def test_predictions_are_those_that_were_recorded_to_the_last_bit(network):
    row = RECORDED["networks"][network]
    features = Features(**row["features"])
    asked = {f"{target} {p}" for target in RECORDED["constants"] for p in hardware()[target].peak_gmacs_per_s}
    assert asked == set(row["latency_ms"]) == set(row["memory_mib"])
    for key, expected in row["latency_ms"].items():
        target, precision = key.split()
        assert latency_ms(features, target, precision, RECORDED["constants"][target]) == expected
        assert list(dataclasses.astuple(memory_of(features, target, precision))) == row["memory_mib"][key]


def test_a_published_name_is_of_one_board():
    names = [name for target in targets().values() if target.published for name in target.published.names]
    assert len(set(names)) == len(names) >= 3


@pytest.mark.parametrize("target", [name for name, board in targets().items() if board.hardware is None])
def test_a_board_without_the_tables_is_not_predicted_and_says_so(target):
    line = f"no prediction for {target}: no usable measurement of it is published; there is one for jetson-nano FP16"
    with pytest.raises(RecipeError, match=line):
        predict("resnet18", target)
    with pytest.raises(RecipeError, match=line):
        choose(target)
    counted = catalogue()[("resnet18", 224)]
    assert memory_of(counted[max(counted)], target, "fp16").lean is None


def test_a_board_that_was_never_fitted_says_what_to_run(monkeypatch):
    monkeypatch.setattr(latency, "constants", lambda: {"orin-nano-8gb": {}})
    with pytest.raises(RecipeError) as refused:
        predict("resnet18", "jetson-nano")
    assert "no prediction for jetson-nano: its constants were never fitted (docs/extend.md" in str(refused.value)
    assert str(refused.value).endswith("there is one for orin-nano-8gb FP16 and INT8")


def test_a_prior_of_an_unknown_term_is_refused(monkeypatch):
    board = load_target("jetson-nano")
    text = 'title = "B"\ntensorrt = "8.2"\nsm = 53\nprecisions = ["fp16"]\nmemory_mib = 1\n'
    monkeypatch.setattr(fitting, "load_target", lambda name: target_from_text(name, text))
    with pytest.raises(RecipeError, match=r"targets/b.toml has no \[prior\]"):
        fitting.prior("b")
    prior = board.prior.model_copy(update={"terms": {"launches": (1.0, 0.5)}})
    monkeypatch.setattr(fitting, "load_target", lambda name: board.model_copy(update={"prior": prior}))
    with pytest.raises(RecipeError, match=r"\[prior.terms\] has no key 'launches'; it has: dense3x3, "):
        fitting.prior("b")


def test_the_commands_of_maintainers_write_into_the_current_folder_or_where_they_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "hardware", dict)
    monkeypatch.setattr(report, "left_out", list)
    monkeypatch.setattr(counting, "wanted", dict)
    (tmp_path / "other").mkdir()
    for main, name in ((fitting.main, "constants.json"), (counting.main, "features.csv")):
        for words, path in (([], name), (["--output", f"other/{name}"], f"other/{name}")):
            before = (PACKAGE / name).read_bytes()
            main(words)
            made = (tmp_path / path).read_text("utf-8")
            assert made.startswith("{" if name.endswith("json") else "network,image_px,classes,")
            assert (PACKAGE / name).read_bytes() == before
