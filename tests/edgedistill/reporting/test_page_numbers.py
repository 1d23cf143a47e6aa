"""Every number of the page against its key in report.json: where it stands, and how it is written.

A report of numbers that remember their key is put into the page (traced_numbers.py), so that each number of the page
names the key that it came from; page_words.py says which key belongs under which heading and between which words.
"""

import copy
import re

import numpy as np
import pytest

from edgedistill.records.report import ReportRecord
from edgedistill.records.report_speed import Predicted
from edgedistill.reporting import page as pages
from edgedistill.reporting.disagreements import disagreement
from page_words import EXTREMES, FORMATS, PROSE, ROWS, TABLES, WITHOUT_KEY
from record_factories import report_of, unchecked
from report_pages import looked_at, undrawn, with_seeds_links_and_gate
from traced_numbers import MARK, Page, keyed, traced


@pytest.fixture(scope="module")
def reports(stages_to_read, recipe, board, swept):
    """Everything a page can show, in two reports: with a board and without."""
    hashes = [f"{i:064x}" for i in range(60)]
    one, other = np.random.default_rng(0).normal(size=(2, 60, 6))
    pairs = [
        disagreement(
            (first, one),
            (second, other),
            np.arange(60) % 6,
            stages_to_read["data"]["classes"],
            hashes,
            ["part.png"] * 60,
        )
        for first, second in (("teacher", "student"), ("float", "int8"))
    ]
    table = recipe.model_dump(mode="json")
    table |= {
        "cost": {
            "currency": "EUR",
            "cloud_price_per_hour": 0.5,
            "board_price": 150,
            "board_months": 36,
            "power_price_per_kwh": 0.3,
        },
        "target": {**table["target"], "fps": 30, "memory_mib": 400},
    }
    looked = looked_at(stages_to_read["data"]["classes"], "part.png")
    rich = type(recipe).model_validate(table)
    stages = copy.deepcopy(stages_to_read)
    stages["deploy"]["hosts"].append(board(stages["deploy"]["hosts"][0]))
    stages["distill"]["artifact"] |= {"seconds": 6.5, "cost": {"training_seconds": 115.27}}
    stages["distill"] |= {"class_weights": {"good": 0.625, "dent": 2.5}, "best": {"epoch": 3, "value": 0.9}}
    table = recipe.model_dump(mode="json")
    table["data"]["metric"] = "balanced_accuracy_fraction"
    predicted = {
        "fps": 88.24,
        "fps_low": 70.4,
        "fps_high": 123.6,
        "interval_share": 0.9,
        "memory_mib": 260.6,
        "notes": [],
        "extrapolated": True,
        "provenance": "predicted: how",
        "reason": "",
    }
    return {
        "with a board": report_of(stages, rich, pairs, swept=swept(rich, stages), look_closer=looked),
        "without": report_of(
            with_seeds_links_and_gate(stages_to_read),
            type(recipe).model_validate(table),
            predicted=Predicted(**predicted),
        ),
    }


@pytest.fixture(scope="module")
def read(reports):
    """Name -> the page of that report, with the key of each number."""
    found = {}
    with undrawn():
        for name, report in reports.items():
            numbers = traced({key: value for key, value in report.items() if key != "provenance"})
            shown = {row["sha256"]: b"" for pair in report["disagreements"] for row in pair["shown"]}
            if "look_closer" in report and report["look_closer"]:
                shown |= {row["sha256"]: b"" for row in rows_of(report["look_closer"])}
            found[name] = Page(pages.html_from_report(unchecked(ReportRecord, {**report, **numbers}), None, shown))
    return found


def rows_of(look):
    """Every image of report.look_closer."""
    cells = [row for cell in look["confusions"] for row in cell["shown"]]
    return [*look["worst"], *look["doubtful"], *look["suspects"]["shown"], *cells]


def value_at(report, path):
    """Of `a.b.0`, or of a sum or difference of two such."""
    for sign in (" + ", " - "):
        if sign in path:
            first, second = (value_at(report, part) for part in path.split(sign))
            return first + second if sign == " + " else first - second
    value, keys = report, path.split(".")
    while keys:
        if isinstance(value, list):
            value = value[int(keys.pop(0))]
        else:  # a key may hold dots
            key = next(".".join(keys[:n]) for n in range(1, len(keys) + 1) if ".".join(keys[:n]) in value)
            value, keys = value[key], keys[key.count(".") + 1 :]
    return value


def written(value, path):
    """All ways in which the page may write it."""
    _, factor, forms = next(row for row in FORMATS if re.search(row[0], path))
    value = factor * value or 0  # not -0.0
    for form in forms.split(" "):
        if form == "fps":
            form = ".0f" if value >= 100 else ".1f"
        if form == "millions":
            form = ".2f" if value < 100 else ".0f"
        yield format(value, form).replace("-", "\N{MINUS SIGN}" if "+" in form else "-")


def tokens(text, **values):
    """A pattern of TABLES or PROSE as a regular expression."""
    text = re.escape(text).replace(r"\|", "|").replace(r"\(\ to\ ", "(?: to ").replace(r"\)\?", ")?")
    text = text.replace("ANY", "[^{}]*?")
    for name, value in values.items():
        place = rf"(?<=\.){name}(?=\\)" if len(name) == 1 else rf"(?<![A-Za-z]){name}(?![A-Za-z])"
        text = re.sub(place, lambda _, value=value: value, text)
    return text


WORDS = {"top1_fraction": "top-1 accuracy", "balanced_accuracy_fraction": "balanced accuracy"}


@pytest.mark.parametrize("name", ["with a board", "without"])
def test_every_cell_shows_the_key_of_its_heading_and_row(read, reports, name):
    report, hosts, seen = reports[name], {}, set()
    for table in read[name].tables:
        label = table.label.partition(",")[0]
        hosts[label] = hosts.get(label, -1) + 1
        columns = dict(zip(range(20), TABLES[label], strict=False))
        heads = [WORDS[report["metric"]] if head == "WORDS" else head for head, _ in columns.values()]
        assert [head if head is None else found for head, found in zip(heads, table.heads, strict=True)] == heads
        item = {"who": None, "number": 0}
        for number, row in enumerate(table.rows):
            title = row[0][0]
            row_key = ROWS.get(title, title)
            who = title.removesuffix(", all")
            item = {"who": who, "number": item["number"] + 1 if item["who"] == who else 0}
            for place, (cell, sort_key) in enumerate(row):
                pattern, text = columns[place][1], keyed(cell)
                if label == "Layers" and title.endswith("more layers"):
                    continue  # sums: below
                if pattern is None or (text in ("too few runs", "not read", "unknown") and not MARK.search(cell)):
                    assert "{" not in text, (label, columns[place][0], text)
                    continue
                expected = tokens(
                    pattern,
                    ROW_EXTREME=f"{row_key}_{EXTREMES.get(row_key)}",
                    ROW_before=f"{row_key}_before",
                    ROW_delta=f"{row_key}_delta",
                    ROW=re.escape(row_key),
                    N=str(number),
                    D=str(hosts[label]),
                    COL=str(place - 1),
                    WHO=who,
                    ITEM=str(item["number"]),
                )
                assert re.fullmatch(expected, text), (label, columns[place][0], title, text)
                if sort_key:
                    assert MARK.search(sort_key)[1] == MARK.search(cell)[1], "sorted by what is shown"
                seen.add((label, columns[place][0]))
    missing = {(label, head) for label in hosts for head, pattern in TABLES[label] if pattern} - seen
    assert {one for one in missing if one[0] != "Readings"} == set()


def sentence(line, report):
    """A line of PROSE as a regular expression for this report."""
    return tokens(
        line,
        WORDS=WORDS[report["metric"]],
        METRIC=report["metric"],
        D=r"\d",
        P=r"\d",
        N=r"\d+",
        PLACE=r"(?:worst|doubtful|suspects\.shown|confusions\.\d+\.shown)\.\d+",
        LABEL="[^{}]+?",
        SAID="[^{}]+?",
        FIRST="(?:teacher|float)",
        SECOND="[^{}]{,3}(?:student|int8)",
    )


@pytest.mark.parametrize("name", ["with a board", "without"])
def test_every_number_in_a_sentence_or_card_stands_between_its_words(read, reports, name):
    report, text = reports[name], keyed(read[name].prose)
    covered = np.zeros(len(text), bool)
    for line in PROSE:
        for match in re.finditer(sentence(line, report), text):
            assert len(set(re.findall(r"(?:devices|shown)\.(\d+)", match[0]))) <= 1, match[0]
            covered[match.start() : match.end()] = True
    left = [
        text[max(0, found.start() - 60) : found.end() + 20]
        for found in re.finditer(r"\{[^}]*\}", text)
        if not covered[found.start()]
    ]
    assert left == []


def test_every_line_of_the_list_is_of_use(read, reports):
    for line in PROSE:
        assert any(re.search(sentence(line, report), keyed(read[name].prose)) for name, report in reports.items()), line


@pytest.mark.parametrize("name", ["with a board", "without"])
def test_every_number_is_written_as_the_value_at_its_key(read, reports, name):
    report, page = reports[name], read[name]
    texts = [page.prose, *(cell for table in page.tables for row in table.rows for cell, _ in row)]
    found = [match for text in texts for match in MARK.finditer(text)]
    assert len(found) > 300
    for _, (path, text) in enumerate(match.groups() for match in found):
        if path.count(" + ") > 1:
            continue  # of the layers that are not shown: below
        if "*" in path:
            key = path.removesuffix(".*")
            assert text in {w for v in value_at(report, key) if v is not None for w in written(v, path)}, (path, text)
            continue
        assert text in set(written(value_at(report, path), path)), (path, text)


def strings_of(value):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from strings_of(key)
            yield from strings_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_of(item)
    elif isinstance(value, str) and re.search(r"\d", value):
        yield " ".join(value.split())
        yield " ".join(value.partition(": ")[2].split())  # a provenance without its kind
        yield from (value[:12], value[:16]) if re.fullmatch("[0-9a-f]{40,}", value) else ()


@pytest.mark.parametrize("name", ["with a board", "without"])
def test_no_number_is_without_a_key_but_those_of_a_short_list(read, reports, name):
    report, page = reports[name], read[name]
    counted = [
        f"{len(report['data']['classes'])} classes",
        f"{len(report['preflight']['findings'])} findings",
        f"{len(report['provenance']['dependencies'])} packages",
        f"{len(report['int8_gate']['kept_float'])} layers stay",
        *(f"{len(file.get('float32_layers', []))} layers" for file in report["typed"]),
        report["provenance"]["date"][:10],
    ]
    if report["swept"]:
        counted.append(f"{len(report['swept']['students']) - 1} trials of")
    known = sorted({*strings_of(report), *counted} - {""}, key=len, reverse=True)
    cells = [
        cell
        for table in page.tables
        if table.label.partition(",")[0] not in ("Readings", "Layers")
        for row in table.rows
        for cell, _ in row
    ]
    for text in (page.prose, *cells):
        text = MARK.sub("", text)
        text = re.sub(rf"(?<!\w)({'|'.join(map(re.escape, known))})(?!\w)", "", text)
        for pattern, _ in WITHOUT_KEY:
            text = re.sub(pattern, "", text)
        assert not re.search(r".{0,40}\d.{0,20}", text), re.search(r".{0,40}\d.{0,20}", text)[0]


def test_what_the_page_adds_up_itself(read, reports):
    """The layers that are not shown, and how many readings fell into a loop."""
    report, page = reports["with a board"], read["with a board"]
    for label, number in (("Layers", 0), ("Readings", 0), ("Layers", 1), ("Readings", 1)):
        device = report["devices"][number]
        table = [table for table in page.tables if table.label.partition(",")[0] == label][number]
        if label == "Readings":
            for cell, loop in zip(table.rows[1][1:], device["trace"]["loops"], strict=True):
                at = [second for second in device["trace"]["at_s"] if loop["start_s"] <= second <= loop["end_s"]]
                assert cell[0] == str(len(at))
            continue
        layers = sorted((layer["median_ms"] for layer in device["layer_times"]["layers"]), reverse=True)
        shown = [MARK.sub(r"\2", row[2][0]) for row in table.rows]
        assert shown == [f"{ms:.3f}" for ms in (*layers[:15], sum(layers[15:]))]
        assert table.rows[-1][0][0] == f"{len(layers) - 15} more layers"
        assert MARK.sub(r"\2", table.rows[-1][3][0]) == f"{100 * sum(layers[15:]) / sum(layers):.1f} %"
