"""The published measurements: what the table holds, and that only an exact match is given."""

import csv
import json
from importlib import resources

import pytest

from edgedistill.cli.main import main
from edgedistill.config.target import target_names
from edgedistill.prediction.latency import hardware
from edgedistill.prediction.published import other_rows, published_of, published_rows
from edgedistill.prediction.published_rows import NETWORKS, boards

TABLE = resources.files("edgedistill.prediction") / "published_fps.csv"
ROWS = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))


def test_every_row_is_of_tensorrt_with_a_number_a_grade_and_a_source():
    assert len(ROWS) > 400
    for row in ROWS:
        assert int(row["batch"]) >= 1
        assert row["grade"] in ("A", "B", "C", "D")
        assert row["watts"] == "" or 1 < float(row["watts"]) < 80
        assert "tensorrt" in row["runtime"].lower() or row["runtime"] == "TF-TRT"
        assert float(row["fps"]) > 0
        assert len(row["source"]) > 10
        assert None not in row.values()


def test_fps_and_latency_of_a_row_agree():
    """Sources that give both measured them apart, so not exactly; a slipped column would show."""
    for row in ROWS:
        if row["latency_ms"]:
            images = float(row["fps"]) * float(row["latency_ms"]) / 1000
            assert images == pytest.approx(int(row["batch"]), rel=0.21), row


def test_no_row_stands_twice():
    assert len({tuple(row.values()) for row in ROWS}) == len(ROWS)


def test_squeezenet_on_the_nano_is_both_published_runs():
    rows = published_rows("jetson-nano", "squeezenet1_1", "fp16", 224)
    assert sorted(row["fps"] for row in rows) == ["229", "248"]
    assert all("torch2trt" in row["source"] for row in rows)


def test_names_of_timm_find_the_network_of_the_table():
    fps = {row["fps"] for row in published_rows("jetson-nano", "mobilenetv2_100", "fp32", 224)}
    assert fps == {"51.2", "20.0", "58.8"}, "rows that contradict each other are all shown"
    tagged = published_rows("jetson-nano", "mobilenetv2_100.ra_in1k", "fp32", 224)
    assert {row["fps"] for row in tagged} == fps
    assert [r["fps"] for r in published_rows("jetson-nano", "efficientnet_b0", "fp32", 224)] == ["37.7"]


@pytest.mark.parametrize(
    ("target", "model", "precision", "px"),
    [
        ("jetson-nano", "mobilenetv3_small_100", "fp16", 224),  # nobody published it
        ("jetson-nano", "squeezenet1_1", "fp16", 160),
        ("jetson-nano", "squeezenet1_1", "int8", 224),
        ("orin-nano-8gb", "squeezenet1_1", "fp16", 224),
        ("orin-nano-4gb", "resnet18", "fp16", 224),  # published for the 8 GB board only
        ("xavier-nx", "resnet18", "fp16", 224),
        ("local", "squeezenet1_1", "fp16", 224),
        ("jetson-nano", "mobilenetv2_050", "fp32", 224),
    ],
)
def test_nothing_near_is_passed_off_as_a_match(target, model, precision, px):
    assert published_rows(target, model, precision, px) == []


def test_precision_is_the_hardware_s_not_the_label_s():
    """The Nano has no INT8: what authors called INT8 there must not come out as INT8."""
    models = {row["model"] for row in ROWS}
    sizes = {int(r["input_hw"].split("x")[0]) for r in ROWS if r["input_hw"][0].isdigit()}
    assert not any(published_rows("jetson-nano", m, "int8", px) for m in models for px in sizes)


@pytest.mark.parametrize(
    ("target", "model", "precision", "px", "expected"),
    [
        (
            "jetson-nano",
            "resnet18",
            "fp16",
            256,
            {"90.2": "224x224", "87.6": "224x224", "38.5": "FP32", "92.1": "224x224, 3 classes"},
        ),
        (
            "orin-nano-8gb",
            "resnet50.a1_in1k",
            "int8",
            224,
            {
                "272.7": "FP32",
                "533.6": "FP16",
                "548": "power mode 15W",
                "267": "power mode 7W",
                "278.09": "FP32",
                "551.27": "FP16",
                "400.62": "FP32, batch 8",
                "907.44": "FP16, batch 8",
                "1622.72": "batch 8",
            },
        ),
        ("jetson-nano", "mobilenetv2_140", "fp16", 224, {"17.3": "320x320, precision not stated"}),
        (
            "jetson-nano",
            "mobilenetv3_large_100",
            "fp16",
            224,
            {"54.46": 'size not stated, "INT8" as labelled by authors (no HW INT8)', "88.67": "3 classes"},
        ),
        ("xavier-nx", "resnet18", "fp16", 256, {}),
    ],
)
def test_other_rows_of_the_network_say_how_they_differ(target, model, precision, px, expected):
    rows = other_rows(target, model, precision, px)
    assert {row["fps"]: row["differs"] for row in rows} == expected
    exact = published_rows(target, model, precision, px)
    assert not {row["fps"] for row in exact} & set(expected)


def test_boards_and_networks_are_those_of_the_table():
    assert {target for target, _ in boards().values()} <= set(target_names())
    assert all(mode in hardware()[target].modes for target, mode in boards().values() if mode)
    assert set(boards()) <= {row["device"] for row in ROWS}
    assert set(NETWORKS) <= {row["model"].removesuffix(" (3 classes)") for row in ROWS}


def test_all_rows_of_a_board_with_their_power_mode():
    names = {
        "Jetson AGX Xavier": "",
        "Jetson AGX Xavier (MAXN)": "MAXN",
        "Jetson AGX Xavier (30W)": "MODE_30W_ALL",
        "Jetson AGX Xavier (15W Desktop)": "MODE_15W_DESKTOP",
        "Jetson AGX Xavier (10W)": "MODE_10W",
    }
    expected = [{"mode": names[row["device"]], **row} for row in ROWS if row["device"] in names]
    assert len(expected) == 77
    assert published_of("agx-xavier") == expected


def test_the_verb_prints_every_row_with_its_grade_and_source(capsys):
    assert main(["published", "--target", "orin-nano-8gb", "--model", "ResNet", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    expected = [row for row in ROWS if "Orin Nano" in row["device"] and "Super" in row["device"]]
    assert [{key: row[key] for key in expected[0]} for row in rows] == [r for r in expected if "resnet" in r["model"]]
    assert main(["published", "--target", "orin-nano-8gb", "--csv"]) == 0
    table = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["source"] for row in table] == [row["source"] for row in published_of("orin-nano-8gb")]
    assert main(["published", "--target", "tx2", "--model", "resnet"]) == 0
    out = capsys.readouterr().out
    assert "Grade A: raw figures of a tool" in out
    assert "MAXQ" in out
    for words, said in (
        (["--target", "thor"], "no measurement of thor is in the table; it has those of agx-orin, agx-xavier, "),
        (["--target", "tx2", "--model", "nonet"], "no row of tx2 has a network with 'nonet' in its name"),
    ):
        assert main(["published", *words]) == 1
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
