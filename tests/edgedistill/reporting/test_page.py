"""The page: what is on it, that nothing breaks out of it, and how a browser shows it."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import markupsafe
import numpy as np
import pytest

from edgedistill.core.text import printable
from edgedistill.reporting.accuracy_figures import WORST
from end_to_end import ROOT
from record_factories import page_of, report_of
from report_pages import HOSTILE, renamed, undrawn, with_seeds_links_and_gate


class Tags(HTMLParser):
    """Every tag with its attributes, and the text outside of <style> and <script>."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self._open = [""]
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        if self._open[-1] not in {"style", "script"}:
            self.text += data.replace("\N{NO-BREAK SPACE}%", " %")


@pytest.fixture(scope="module")
def report(stages_to_read, recipe):
    return report_of(stages_to_read, recipe)


@pytest.fixture(scope="module")
def page(report):
    return page_of(report)


def test_page_of_a_real_run(finished_run):
    run = finished_run / "runs" / "r" / "report"
    page = (run / "report.html").read_text(encoding="utf-8")
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert len(page) < 900_000
    assert page.count("<svg") == 8
    assert f"{100 * report['student']['top1_fraction']:.1f} %" in Tags(page).text
    shown = {row["sha256"] for pair in report["disagreements"] for row in pair["shown"]}
    assert page.count("data:image/jpeg;base64,") >= len(shown)


def test_nothing_is_fetched(page):
    found = Tags(page).tags
    for tag, attributes in found:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    scripts = [attributes for tag, attributes in found if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "report"}, {}]


def test_the_policy_allows_the_page_s_own_script_and_nothing_else(page):
    policy = next(a["content"] for tag, a in Tags(page).tags if "http-equiv" in a)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
    ]


def test_ids_are_unique_and_every_reference_has_its_target(page):
    ids = [attributes["id"] for _, attributes in Tags(page).tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)|aria-labelledby="([^"]+)"', page)
    assert references
    assert {one for found in references for one in found if one} <= set(ids)


@pytest.mark.slow
def test_equal_reports_give_equal_pages_in_another_process(report, page, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    code = (
        "import json, sys; from edgedistill.records.report import ReportRecord\n"
        "from edgedistill.reporting.page import html_from_report\n"
        "report = json.load(open(sys.argv[1], encoding='utf-8'))\n"
        "sys.stdout.write(html_from_report(ReportRecord.from_json(report, 'report')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "report.json"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONIOENCODING": "utf-8"},
        check=True,
    )
    assert done.stdout == page


def test_the_page_begins_with_the_status_and_names_the_run(report, recipe, stages_to_read):
    with undrawn():
        page = page_of(report | {"provenance": report["provenance"] | {"run": "first-run"}})
    assert "<title>good: squeezenet1_1 for Jetson Nano 4GB" in page
    assert page[page.index("<header>") :].startswith('<header>\n<p class="status plain"><b>good.</b> With the teacher')
    header = " ".join(Tags(page[page.index("<header>") : page.index("</header>")]).text.split())
    for part in ("Run first-run, 2026-11-24.", "Data set parts: 3276 images of 6 classes, crease, dent,"):
        assert part in header


def test_the_first_card_is_the_student_s_own_accuracy(page, report):
    first = Tags(page[page.index("<dl") : page.index("</div>", page.index("<dl"))]).text
    low, high = report["student"]["top1_interval"]
    assert f"{100 * report['student']['top1_fraction']:.1f} %" in first
    assert f"95 % interval {100 * low:.1f} % to {100 * high:.1f} %" in first


def test_one_latency_stands_above_the_sections(page, stages, recipe, board):
    """Without a board none, the stand-in's is in its section; with a board the board's own."""

    def above(page):
        return Tags(page[page.index("<main") : page.index("<h2")]).text

    assert re.findall(r"[\d.]+ ms", above(page)) == []
    stages["deploy"]["hosts"].append(board(stages["deploy"]["hosts"][0]))
    report = report_of(stages, recipe)
    p50 = report["device"]["latency_ms"]["end_to_end"]["p50_ms"]
    with undrawn():
        text = above(page_of(report))
    assert text.count(" ms") == text.count(f"{p50:.2f} ms") == 2
    assert re.findall(r"\d+ FPS", above(page)) == ["248 FPS"] * 2, "229 to 248: one range for the target"


def test_what_a_stand_in_says_of_single_calls_is_folded(page):
    inside = "".join(re.findall(r"<details>.*?</details>", page, re.DOTALL))
    for part in ("Every timed call in its order", "The slowest layers", "Read while it was timed"):
        assert page.count(part) == inside.count(part) == 1, part


def test_the_proofs_of_typed_files_are_in_the_report_and_on_the_page(stages, recipe):
    assert report_of(stages, recipe)["typed"] == []
    stages = with_seeds_links_and_gate(stages)
    report = report_of(stages, recipe)
    assert [file["precision"] for file in report["typed"]] == ["fp16", "int8"]
    with undrawn():
        text = " ".join(Tags(page_of(report)).text.split())
    for part in ("FP16, in the bundle", "INT8, not in the bundle", "INT8 is not in the bundle: it is too far."):
        assert part in text


def test_green_is_for_a_limit_that_is_met(page):
    """--met is the only green of the style sheet, and one rule uses it."""
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert re.findall(r"([^{}]*)\{[^{}]*var\(--met\)[^{}]*\}", style) == [" .met "]
    for name, *parts in re.findall(r"--([\w-]+): #(\w\w)(\w\w)(\w\w)\b", style):
        red, green, blue = (int(part, 16) for part in parts)
        assert (green > 1.2 * max(red, blue)) == (name == "met"), name


def test_figures_use_the_page_s_colours_only(page):
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        found = re.findall(r"(?:fill|stroke)(?:: |=\")([^;\"]+)", svg)
        assert {colour for colour in found if not colour.startswith("var(--")} <= {"none"}, "dark mode cannot change it"
        assert "font-family" not in svg
        assert 'role="img" aria-label="' in svg


def test_every_figure_stands_beside_where_it_comes_from(page):
    text = Tags(page).text
    answer = text[text.index("The student keeps") : text.index("Top-1 accuracy of the student")]
    numbers = re.findall(r"([\d.]+ %|[\d.]+\u00d7|[\d.]+ points|[\d.]+ ms|\d+ FPS)\s+(\S+)", answer)
    kinds = {"measured", "counted", "stand-in", "published"}
    badged = [(number, kind.strip(".,")) for number, kind in numbers if kind.strip(".,") in kinds]
    assert [kind for _, kind in badged] == [
        "measured",
        "counted",
        "counted",
        "measured",
        "published",
    ]
    assert text.count("simulated") >= 2


def test_no_measured_speed_is_claimed_for_the_board(stages, recipe):
    stages["quantize"]["executed"] = "fp32"  # nothing is published for it
    page = Tags(page_of(report_of(stages, recipe))).text
    assert re.search(r"Its speed on Jetson Nano 4GB is\s+unknown", page)
    assert "No published measurement for squeezenet1_1" in page
    assert "248 FPS" not in page
    assert re.search(r"248\s*4\.34\s*FP16", page), "the row of another precision says so"


def test_page_without_a_host_and_without_speed(stages, recipe):
    stages["deploy"] = {"hosts": [], "artifact": stages["deploy"]["artifact"]}
    page = page_of(report_of(stages, recipe))
    assert "Nothing was timed" in page
    assert page.count("<svg") == 6


def test_page_without_raw_samples_or_enough_runs(stages, recipe):
    host = stages["deploy"]["hosts"][0]
    host["samples_ms"] = None
    host["bench"]["host_ms"]["p99_ms"] = None
    host["bench"]["memory"]["process_peak_mib"] = None
    page = page_of(report_of(stages, recipe))
    assert "too few runs" in page
    assert page.count("<svg") == 6


def test_what_a_board_says_of_its_run_is_on_the_page(stages, recipe):
    bench = stages["deploy"]["hosts"][0]["bench"]
    bench["compute_ms"] = dict(bench["host_ms"], p50_ms=1.25)
    bench |= {
        "state": "throttled",
        "power_mode": {"name": "MAXN<b>", "number": 0},
        "power": {"energy_mj": 17.4},
        "warnings": ["the board throttled (oc3 +2): check supply and cooling"],
    }
    report = report_of(stages, recipe)
    assert report["device"]["conditions"]["state"] == "throttled"
    text = " ".join(Tags(page_of(report)).text.split())
    for expected in (
        r"computing, as the device times it ?1\.25",
        "240 FPS",
        "17 mJ ?an image",
        r"Clocks: throttled, power mode MAXN<b>\.",
        r"The board throttled \(oc3 \+2\)",
    ):
        assert re.search(expected, text), expected


def figure(page: str, name: str) -> str:
    return next(svg for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if name in svg)


@pytest.mark.slow
def test_layers_and_readings_of_a_board_and_of_this_computer(stages, recipe, board):
    stages["deploy"]["hosts"].append(board(stages["deploy"]["hosts"][0]))
    page = page_of(report_of(stages, recipe))
    text = " ".join(Tags(page).text.split())
    there, here = text.index("On nano-3 ("), text.index("On this computer")
    assert re.search(r"fire1_conv\+relu ?Conv ?0\.900 ?9\.\d %", text[there:here])
    assert "medians of 20 profiled runs after the timed ones" in text[there:here]
    assert "25 more layers" in text[there:here]
    assert "fire15_conv" not in text
    for row in (r"seconds ?1\.8 ?3\.1", r"readings ?7 ?1", r"hottest zone, .C ?42\.\d to 45\.\d", r"GPU, MHz ?922"):
        assert re.search(row, text[there:here]), row
    drawn = figure(page, "Latency of every timed call, nano-3")
    for words in (
        "hottest zone, \N{DEGREE SIGN}C",
        "GPU, MHz; CPU, MHz (dashed)",
        "input, W",
        "available, MiB",
        "seconds since the benchmark began",
        "pipelined",
    ):
        assert words in drawn, words
    assert "Not read on this machine: temperature, GPU clock, CPU clock, input power." in text[here:]
    drawn = figure(page, "Latency of every timed call, local")
    assert "available, MiB" in drawn
    assert "MHz" not in drawn
    assert "zone" not in drawn


@pytest.mark.slow
def test_a_bench_from_before_there_were_layers_and_readings(stages, recipe):
    host = stages["deploy"]["hosts"][0]
    del host["bench"]["layer_times"], host["bench"]["trace"]
    host["samples_ms"] = {scope: host["samples_ms"][scope] for scope in ("host_ms", "end_to_end_ms")}
    page = page_of(report_of(stages, recipe))
    text = " ".join(Tags(page).text.split())
    assert "Time of each layer: not measured; its bench did not take them yet" in text
    assert "Temperature and clocks over time: not read; its bench did not" in text
    assert "timed call, each scope in a loop of its own" in figure(page, "Latency of every timed call")
    host["bench"] |= {"layer_times": None, "trace": None}
    host["bench"]["absent"]["layer_times"] = "the profiler named no layer"
    with undrawn():
        page = page_of(report_of(stages, recipe))
    assert "not measured; the profiler named no layer." in page


def test_a_teacher_taken_as_it_is_has_no_history(stages, recipe):
    stages["teacher"]["history"] = []
    assert page_of(report_of(stages, recipe)).count("<svg") == 8


def test_a_class_without_test_images_is_unknown_not_zero(stages, recipe):
    for net in ("teacher", "baseline", "student"):
        stages["evaluate"][net]["per_class_recall"]["dent"] = None
    page = page_of(report_of(stages, recipe))
    row = re.search(r'<th scope="row" dir="auto">dent</th><td>\d+</td>(<td data.*?)</tr>', page)[1]
    assert row.count("unknown") == 3


def test_many_classes_show_the_worst_and_list_them_all(stages, recipe):
    names = [f"kind {number:03d}" for number in range(120)]
    stages["data"]["classes"] = names
    for counts in stages["data"]["counts"].values():
        counts.clear()
        counts.update(dict.fromkeys(names, 30))
    for net in ("teacher", "baseline", "student"):
        recalls = {name: number / 120 for number, name in enumerate(names)}
        stages["evaluate"][net]["per_class_recall"] = recalls
    stages["evaluate"]["only_correct_by_class"] = [[0, 0, 30]] * 120
    page = page_of(report_of(stages, recipe))
    figure = next(svg for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if "Recall" in svg)
    assert re.findall(r"kind \d+", figure) == names[:WORST]
    assert all(f'<th scope="row" dir="auto">{name}</th>' in page for name in names)
    raw = json.loads(re.search(r' id="report">(.*?)</script>', page, re.DOTALL)[1])
    assert "confusion" not in raw["student"], "it grows with the square of the classes"
    assert raw["student"]["per_class_recall"] == recalls
    counts = np.array(stages["evaluate"]["student"]["confusion"])
    np.fill_diagonal(counts, 0)
    label, said = np.unravel_index(counts.argmax(), counts.shape)
    first = page[page.index('aria-label="Confusions"') :]
    assert re.findall(r"(?<=>)kind \d+", first)[:2] == [names[label], names[said]]


def test_hostile_class_names_are_text(stages, recipe):
    page = page_of(report_of(renamed(stages, HOSTILE), recipe))
    found = Tags(page)
    assert [tag for tag, _ in found.tags].count("script") == 2
    assert "alert(1)" in found.text
    assert found.text.count(HOSTILE[4]) >= 3, "as text in the tables and in the figure"
    assert f">{HOSTILE[4]}</text>" in page, "not typeset as a formula"
    for name in HOSTILE:
        assert f'<th scope="row" dir="auto">{markupsafe.escape(printable(name))}</th>' in page
    raw = re.search(r'<script type="application/json" id="report">(.*?)</script>', page, re.DOTALL)
    assert json.loads(raw[1])["data"]["classes"] == HOSTILE
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
