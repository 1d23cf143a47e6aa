import json
import os
import re
import shutil
import subprocess
import tomllib
from importlib import resources

import pytest

from edgedistill.config import recipe_from_table
from edgedistill.predict.published import published_rows
from edgedistill.report.assemble import _advice, _gain
from edgedistill.report.page import html_from_report
from edgedistill.report.summary import summary_table

HOSTILE = '</script><script>alert("x")</script>'


@pytest.fixture(scope="module")
def report(finished_run):
    return json.loads((finished_run / "runs" / "r" / "report" / "report.json").read_text())


def renamed(report, name):
    """The same report with a class of another name."""
    return json.loads(json.dumps(report).replace('"disc"', json.dumps(name)))


def test_the_page_needs_nothing_from_outside_and_its_ids_are_unique(report):
    page = html_from_report(report)
    addresses = re.findall(r"""(?:src|href)=["']?(?!#)([^"'\s>]+)""", page)
    assert [a for a in addresses if not a.startswith("http://www.w3.org")] == []
    assert "url(http" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert len(page) < 400_000


def test_equal_reports_give_equal_pages(report):
    assert html_from_report(report) == html_from_report(report)


@pytest.mark.parametrize("name", [HOSTILE, "a" * 500, "\N{SNOWMAN} & <b>", "$x_1$", "{{ 7 * 7 }}"])
def test_any_class_name_is_text_and_nothing_else(report, name):
    page = html_from_report(renamed(report, name))
    assert page.count("<script") == 1
    assert "alert(" not in page or "<script>alert" not in page
    raw = re.search(r'<script type="application/json" id="report">(.*?)</script>', page, re.DOTALL)
    assert name in json.loads(raw.group(1))["data"]["classes"]


def test_every_number_says_where_it_comes_from(report):
    page = html_from_report(report)
    for badge in ("measured", "stand-in", "simulated", "unknown: no published measurement"):
        assert badge in page


def test_the_summary_is_short_and_says_stand_in(report):
    text = summary_table(report)
    assert len(text.splitlines()) < 25
    assert "stand-in" in text
    assert "simulated" in text
    assert f"{report['retention_fraction']:.1%}" in text


def test_a_gain_inside_its_interval_is_not_called_one():
    evaluated = {
        "images": 335,
        "student_only_correct": 20,
        "baseline_only_correct": 15,
        "mcnemar_p": 0.5,
    }
    gain = _gain(evaluated, "top1_fraction")
    assert gain["sentence"].startswith("No gain is shown")
    low, high = gain["top1_points_interval"]
    assert low < 100 * 5 / 335 < high
    evaluated |= {"student_only_correct": 60, "baseline_only_correct": 10}
    assert _gain(evaluated, "top1_fraction")["sentence"].startswith("The student is better")
    evaluated |= {"student_only_correct": 10, "baseline_only_correct": 60}
    assert "WORSE" in _gain(evaluated, "top1_fraction")["sentence"]


def test_advice_comes_only_when_little_is_retained():
    text = (resources.files("edgedistill.recipes") / "quickstart.toml").read_text(encoding="utf-8")
    recipe = recipe_from_table(tomllib.loads(text), "quickstart.toml")
    assert _advice({"retention_fraction": 0.95}, recipe) == []
    steps = [step["try"] for step in _advice({"retention_fraction": 0.8}, recipe)]
    assert steps == [
        "a bigger student",
        "another temperature",
        "feature matching",
        "longer training",
    ]


def test_published_rows_are_exact_or_none():
    rows = published_rows("jetson-nano", "squeezenet1_1", "fp16", 224)
    assert rows
    assert all(row["source"] for row in rows)
    assert {row["fps"] for row in rows} >= {"248"}
    assert published_rows("jetson-nano", "squeezenet1_1", "fp16", 128) == []
    assert published_rows("jetson-nano", "mobilenetv3_small_100", "fp16", 224) == []
    assert published_rows("local", "squeezenet1_1", "fp16", 224) == []


def test_chromium_shows_the_page(report, tmp_path):
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("EDGEDISTILL_CI"):
            pytest.fail("CI must install chromium")
        pytest.skip("chromium is not installed")
    (tmp_path / "r.html").write_text(html_from_report(renamed(report, HOSTILE)), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
             "--disable-background-networking", "--disable-component-update", "--disable-quic",
             f"--user-data-dir={tmp_path / 'profile'}"]  # fmt: skip
    done = subprocess.run(
        [chromium, *flags, "--dump-dom", f"file://{tmp_path / 'r.html'}"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.count("<svg") == 5
    assert "alert(&quot;x&quot;)" in done.stdout or 'alert("x")' in done.stdout
    assert done.stdout.count("<script") == 1
