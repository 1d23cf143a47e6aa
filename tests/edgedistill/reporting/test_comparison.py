"""compare: rows, the front, caveats, and refusals; through the command line too."""

import copy
import json
import re

import pytest

from edgedistill.cli.main import main
from edgedistill.errors import RunFolderError
from edgedistill.records.report import ReportRecord
from edgedistill.reporting.compare_page import html_from_comparison
from edgedistill.reporting.comparison import compared, load_report, text_from_comparison
from record_factories import report_of
from terminal_text import FORGED, assert_terminal_safe


@pytest.fixture
def reports(stages, recipe, board):
    stages["deploy"]["hosts"].append(board(stages["deploy"]["hosts"][0]))
    first = report_of(stages, recipe)
    second = copy.deepcopy(first)
    second["student"] |= {"model": "mobilenetv2_100", "macs": 500_000_000, "top1_fraction": 0.5}
    return {"small": first, "big": second}


def records(reports):
    return {name: ReportRecord.from_json(report, name) for name, report in reports.items()}


def test_a_row_for_each_run_and_for_each_host(reports):
    found = compared(records(reports), {})
    assert [row["name"] for row in found["runs"]] == ["small", "big"]
    assert [(row["name"], row["host"]) for row in found["hosts"]] == [
        ("small", "nano-3"),
        ("small", "local"),
        ("big", "nano-3"),
        ("big", "local"),
    ]
    assert found["hosts"][0]["memory_mib"] == 450.5
    assert found["front"] == ["small"], "the big one is worse and bigger"
    assert found["caveats"] == []


def test_what_must_not_be_compared_is_said(reports):
    other = reports["big"]
    other["metric"] = "balanced_accuracy_fraction"
    other["provenance"]["artifacts"]["data"] = "f" * 64
    other["devices"][1]["machine"]["cpu"] = "another"
    found = compared(records(reports), {})
    assert found["front"] == [], "two metrics, nothing to be better in"
    said = " ".join(found["caveats"])
    for part in ("different images, splits or image sizes", "different metrics", "on different computers"):
        assert part in said
    assert "<svg" not in html_from_comparison(compared(records(reports), {})), "two metrics, no common axis"


@pytest.mark.parametrize("other", ["metric", "counts", "images"])
def test_runs_that_differ_in_metric_or_test_images_are_not_ranked(reports, other):
    """The bigger run is the better one, so that both were on the front, with badges and a line through them."""
    reports["big"]["student"]["top1_fraction"] = 0.99
    found = compared(records(reports), {})
    assert found["front"] == ["small", "big"]
    page = html_from_comparison(found)
    assert (page.count(">front</span>"), page.count("<svg")) == (2, 1)
    if other == "metric":
        reports["big"]["metric"] = "balanced_accuracy_fraction"
    elif other == "images":
        reports["big"]["provenance"]["artifacts"]["data"] = "f" * 64
        for name, sha256 in (("small", "1" * 64), ("big", "2" * 64)):
            reports[name]["data"]["test_sha256"] = sha256
    else:
        counts = reports["big"]["data"]["counts"]["test"]
        counts[next(iter(counts))] += 1
    found = compared(records(reports), {})
    (caveat,) = found["caveats"]
    assert "no run is ranked" in caveat
    assert found["front"] == []
    page = html_from_comparison(found)
    assert (page.count(">front</span>"), page.count("<svg")) == (0, 0)
    assert caveat in page


@pytest.mark.parametrize(
    ("hashed", "said"),
    [
        ([], "different images, splits or image sizes: the classes have as many test images, which may be others"),
        (["big"], "different images, splits or image sizes: the classes have as many test images, which may be others"),
        (["small", "big"], "different training images, splits or image sizes, and the same test images"),
    ],
)
def test_students_of_other_image_sizes_are_ranked(reports, hashed, said):
    """Their images are kept in other sizes, so that the artifact of stage data is another one."""
    reports["big"]["provenance"]["artifacts"]["data"] = "f" * 64
    for name in reports:
        reports[name]["data"]["test_sha256"] = "1" * 64 if name in hashed else ""
    found = compared(records(reports), {})
    assert found["front"] == ["small"]
    (caveat,) = found["caveats"]
    assert said in caveat


def test_two_runs_of_other_test_images_are_not_ranked_beside_one_that_does_not_say(reports):
    """The third is of a release that named no digest; that the two differ is known all the same."""
    reports["older"] = copy.deepcopy(reports["small"])
    for number, name in enumerate(reports):
        reports[name]["provenance"]["artifacts"]["data"] = f"{number}" * 64
    for name in ("small", "big"):
        reports[name]["data"]["test_sha256"] = name
    found = compared(records(reports), {})
    assert (found["front"], found["comparable"]) == ([], False)
    assert "different test images: no run is ranked" in found["caveats"][0]


@pytest.mark.parametrize(("px", "shown"), [(96, "96 px"), ([96, 160], "96x160 px")])
def test_images_of_any_shape_are_compared(reports, px, shown):
    reports["big"]["provenance"]["recipe"]["data"]["image_px"] = px
    found = compared(records(reports), {})
    assert found["runs"][1]["image_px"] == (px if isinstance(px, int) else "96x160")
    assert shown in html_from_comparison(found)


@pytest.mark.parametrize("px", ["big", ["\x1b[1A", 3], None, [], {"height": 3}])
def test_a_size_that_no_recipe_has_is_refused(reports, px):
    reports["big"]["provenance"]["recipe"]["data"]["image_px"] = px
    with pytest.raises(RunFolderError, match="image_px is"):
        compared(records(reports), {})


def test_on_the_command_line(reports, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, report in reports.items():
        (tmp_path / name / "report").mkdir(parents=True)
        (tmp_path / name / "report" / "report.json").write_text(json.dumps(report))
    (tmp_path / "big" / "sweep").mkdir()
    trial = {"settings": {"distill.temperature": 2}, "value": 0.75, "state": "complete", "epochs": 3}
    sweep = {"metric": "validation top1_fraction", "images": "val", "seeds": 1, "trials": [trial]}
    (tmp_path / "big" / "sweep" / "sweep.json").write_text(json.dumps({**sweep, "best": trial}))
    single = tmp_path / "small" / "report" / "report.json"
    assert main(["compare", "small", "big", str(single), "--json"]) == 0
    assert not list(tmp_path.glob("*.html")), "a page that nobody asked for"
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["runs"]] == ["small", "big", "report"]
    assert found["trials"] == [{"name": "big", "metric": "validation top1_fraction", **trial}]
    assert main(["compare", "small", "small", "big", "--out", "two.html"]) == 0
    assert "distill.temperature 2" in (tmp_path / "two.html").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert "small (2)" in said
    assert "450 MiB" in said
    assert said.endswith("comparison: two.html\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "finish the run"),
        ("{", "is not a report"),
        ('{"version": 1}', "report of version 1"),
        ("[]", "report of version None"),
        ('{"version": 2}', "report.json, which `edgedistill report RECIPE.toml` makes again: lacks the key 'teacher'"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, content, said):
    (tmp_path / "report").mkdir()
    if content is not None:
        (tmp_path / "report" / "report.json").write_text(content)
    with pytest.raises(RunFolderError, match=said):
        load_report(tmp_path)


@pytest.fixture
def run_of_somebody(stages, recipe, tmp_path):
    """The folder of a run from elsewhere: every text of its report forges a line."""
    report = report_of(stages, recipe)

    def forged(value, key=None):
        if isinstance(value, dict):
            return {name: forged(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [forged(inner) for inner in value]
        return f"{value}{FORGED}\n{FORGED}\u202e" if isinstance(value, str) and key not in {"metric", "word"} else value

    folder = tmp_path / "\x1b[1Arun"
    (folder / "report").mkdir(parents=True)
    (folder / "report" / "report.json").write_text(json.dumps(forged(report)))
    (folder / "sweep").mkdir()
    trial = {"settings": {f"distill.loss{FORGED}": FORGED}, "value": 0.75, "state": "complete", "epochs": 3}
    sweep = {
        "metric": f"validation top1_fraction{FORGED}",
        "images": "val",
        "seeds": 1,
        "trials": [trial],
        "best": trial,
    }
    (folder / "sweep" / "sweep.json").write_text(json.dumps({**sweep, "best": trial}))
    return folder


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_compare_repeats_no_text_of_a_report_as_it_is(run_of_somebody, tmp_path, capsys, words):
    page = tmp_path / "c.html"
    assert main(["compare", str(run_of_somebody), "--out", str(page), *words]) == 0
    said = capsys.readouterr()
    assert "\\x1b" in said.out
    assert_terminal_safe(said.out)
    assert_terminal_safe(said.err, lines=0)
    shown = page.read_text(encoding="utf-8")
    assert not set(shown) & {"\x1b", "\r", "\u202e"}


def test_every_column_holds_the_figure_of_its_name(reports):
    """Figures that all differ, so that none can stand for another one."""
    report = reports["small"]
    device = report["devices"][0]
    figures = iter(range(101, 200))
    paths = {
        "host_p50_ms": (device["latency_ms"]["host"], "p50_ms"),
        "end_to_end_p50_ms": (device["latency_ms"]["end_to_end"], "p50_ms"),
        "end_to_end_p99_ms": (device["latency_ms"]["end_to_end"], "p99_ms"),
        "fps": (device["fps"], "end_to_end"),
        "energy_mj": (device["power"], "energy_mj"),
    }
    others = [
        (device["fps"], "host"),
        (device["latency_ms"]["host"], "p99_ms"),
        (device["latency_ms"]["compute"], "p50_ms"),
    ]
    for place, key in (*paths.values(), *others):
        place[key] = float(next(figures))
    row = compared(records(reports), {})["hosts"][0]
    assert {name: row[name] for name in paths} == {name: place[key] for name, (place, key) in paths.items()}
    run = compared(records(reports), {})["runs"][0]
    ladder, student = report["accuracy_ladder"], report["student"]
    for name, value in {
        **{f"{net}_fraction": report[net]["top1_fraction"] for net in ("teacher", "baseline", "student")},
        "model": student["model"],
        "teacher_model": report["teacher"]["model"],
        "retention_fraction": report["retention_fraction"],
        "gain_points": report["gain"]["points"],
        "gain_interval_points": report["gain"]["interval_points"],
        "fp16_top1_fraction": ladder["fp16"]["top1_fraction"],
        "int8_top1_fraction": ladder["int8"]["top1_fraction"],
        "int8_drop_points": ladder["int8"]["drop_points"],
        "parameters": student["parameters"],
        "macs": student["macs"],
        "file_bytes": student["file_bytes"],
        "executed_on_target": report["target"]["executed"],
    }.items():
        assert run[name] == value, name
    assert len({run[f"{net}_fraction"] for net in ("teacher", "baseline", "student")}) == 3


def test_the_text_has_each_figure_below_its_heading(reports):
    lines = text_from_comparison(compared(records(reports), {})).splitlines()
    report = reports["small"]
    heading, row = (next(line for line in lines if line.startswith(start)) for start in ("run ", "small"))
    names = re.split(r" {2,}", heading.strip())
    cells = dict(zip(names, re.split(r" {2,}", row.strip()), strict=True))
    low, high = report["gain"]["interval_points"]
    assert cells == {
        "run": "small",
        "model": report["student"]["model"],
        "target": report["target"]["title"],
        **{net: f"{100 * report[net]['top1_fraction']:.1f}%" for net in ("teacher", "baseline", "student")},
        "kept": f"{100 * report['student']['top1_fraction'] / report['teacher']['top1_fraction']:.1f}%",
        "gain, 95 %": f"{report['gain']['points']:+.1f} ({low:+.1f} to {high:+.1f})",
        "int8 top-1": f"{100 * report['accuracy_ladder']['int8']['top1_fraction']:.1f}%",
        "MACs": "262.9 M",
        "file": "2.9 MB",
    }
    assert "of small: good" in next(line for line in lines if line.startswith("status"))
