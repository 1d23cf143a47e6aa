"""Every number of the page against its key in report.json: where it stands, and how it is written.

A report of numbers that remember their key is put into the page (traced_numbers.py), so that each number of the page
names the key that it came from; the lists below say which key belongs under which heading and between which words.
"""

import copy
import re

import numpy as np
import pytest

from edgedistill.records.report import ReportRecord
from edgedistill.reporting import page as pages
from edgedistill.reporting.disagreements import disagreement
from record_factories import report_of, unchecked
from report_pages import with_seeds_links_and_gate
from traced_numbers import MARK, Page, keyed, traced

LADDER, NET = "accuracy_ladder.ROW", "ROW"
NETS, SPLITS = ("teacher", "baseline", "student"), ("train", "val", "test")
READINGS = (
    ("hottest zone, \N{DEGREE SIGN}C", "temperatures_c.cpu"),
    ("GPU, MHz", "gpu_mhz"),
    ("CPU, MHz", "cpu_mhz"),
    ("input, W", "input_mw"),
    ("available, MiB", "available_mib"),
)

# Label of a table -> heading and what stands below it. ROW: the row's own heading, as ROWS words it; N: the row's
# number; D: the host's; COL: the heading. None: no number of report.json.
TABLES = {
    "The recipe's budget": [
        ("figure", None),
        ("limit", None),
        ("found", None),
        ("verdict", None),
        ("how it is known", None),
    ],
    "Accuracy at each precision": [
        ("step", None),
        ("top-1", f"{{{LADDER}.top1_fraction}} %"),
        ("95 % interval", f"{{{LADDER}.top1_interval.0}} % to {{{LADDER}.top1_interval.1}} %"),
        ("balanced", f"{{{LADDER}.balanced_accuracy_fraction}} %"),
        ("points lost", f"{{{LADDER}.drop_points}}"),
        (
            "95 % interval",
            f"unknown; standard error {{{LADDER}.drop_standard_error_points}}"
            f"|{{{LADDER}.drop_interval_points.0}} to {{{LADDER}.drop_interval_points.1}}",
        ),
        ("same class as float", f"{{{LADDER}.agreement_fraction}} %"),
        ("logit SQNR", f"{{{LADDER}.sqnr_db}} dB|equal"),
        ("how", None),
    ],
    "The student's epochs": [
        ("epoch", "{histories.student.N.epoch}"),
        ("kd", "{histories.student.N.terms.kd}"),
        ("label", "{histories.student.N.terms.label}"),
        ("feature", "{histories.student.N.terms.feature}"),
        ("validation top-1", "{histories.student.N.eval_top1_fraction} %"),
        ("balanced", "{histories.student.N.eval_balanced_accuracy_fraction} %"),
    ],
    "Accuracy and size of the three networks": [
        ("network", None),
        ("model", None),
        ("top-1", f"{{{NET}.top1_fraction}} %"),
        ("interval", f"{{{NET}.top1_interval.0}} % to {{{NET}.top1_interval.1}} %"),
        ("balanced", f"{{{NET}.balanced_accuracy_fraction}} %"),
        ("parameters", f"{{{NET}.parameters}} M"),
        ("multiply-adds", f"{{{NET}.macs}} M"),
        ("ONNX file", f"{{{NET}.file_bytes}} MB"),
    ],
    "Recall of each class": [
        ("class", None),
        ("test images", "{data.counts.test.ROW}"),
        *((net, f"{{{net}.per_class_recall.ROW}} %") for net in NETS),
    ],
    "Students on this teacher": [
        ("student", None),
        ("settings", "distill.temperature {swept.students.N.settings.distill.temperature}|ANY"),
        ("WORDS", "{swept.students.N.value} %"),
        ("parameters", "{swept.students.N.parameters} M"),
        (
            "predicted ms",
            "{swept.students.N.latency_ms} ({swept.students.N.latency_ms_low} to "
            "{swept.students.N.latency_ms_high}ANY)",
        ),
        ("epochs", "{swept.students.N.epochs}"),
        ("state", None),
    ],
    **{f"Confusion of the {net}": [("true class", None), *[(None, f"{{{net}.confusion.N.COL}}")] * 6] for net in NETS},
    "Latency": [
        ("scope", None),
        *((head, f"{{devices.D.latency_ms.ROW.{head}_ms}}") for head in ("p50", "p90", "p95", "p99", "max")),
        ("FPS", "{devices.D.fps.ROW}|"),
        ("how", "ANY {devices.D.latency_ms.ROW.runs} runs"),
    ],
    "Temperatures": [
        ("zone", None),
        *((when, f"{{devices.D.conditions.temperatures_c.{when}.ROW}}") for when in ("before", "peak", "after")),
    ],
    "Memory": [
        ("what", None),
        ("baseline", "{devices.D.memory.ROW_before_mib}"),
        ("extreme", "{devices.D.memory.ROW_EXTREME_mib}"),
        (
            "delta",
            "{devices.D.memory.ROW_delta_mib}|{devices.D.memory.ROW_EXTREME_mib - devices.D.memory.ROW_before_mib}",
        ),
    ],
    "Readings": [
        ("loop", None),
        ("seconds", "{devices.D.trace.loops.N.end_s - devices.D.trace.loops.N.start_s}"),
        ("readings", None),
        *((head, f"{{devices.D.trace.{key}.*}}( to {{devices.D.trace.{key}.*}})?") for head, key in READINGS),
    ],
    "Layers": [
        ("layer", None),
        ("kind", None),
        ("ms", "{devices.D.layer_times.layers.N.median_ms}"),
        ("of the sum", "{devices.D.layer_times.layers.N.share} %"),
        ("of the sum", None),
    ],
    "Published measurements": [(head, None) for head in ("board", "FPS", "ms", "differs", "runtime", "source")],
    "Cost of a month": [
        ("who", None),
        ("what", None),
        ("EUR a month", "{running_cost.WHO.per_month}|{running_cost.WHO.items.ITEM.per_month}"),
        ("reckoned as", None),
        ("from", None),
    ],
    "Images of each class and split": [
        ("class", None),
        *((split, f"{{data.counts.{split}.ROW}}|{{data.images.{split}}}") for split in SPLITS),
    ],
    "Time and digest of each stage": [("stage", None), ("seconds", "{cost.ROW}"), ("SHA-256", None)],
    "Packages": [("package", None), ("version", None)],
}

ROWS = {
    "computing, as the device times it": "compute",
    "network alone": "host",
    "from the image file": "end_to_end",
    "process, resident, peak": "process",
    "system, available, least": "available",
    "GPU driver (NvMap), most": "nvmap",
}
EXTREMES = {"process": "peak", "available": "least", "nvmap": "most"}

# What stands between which words. D: a host; P: a pair of networks; N: an image; METRIC and WORDS: the recipe's.
PROSE = """
The student keeps {retention_fraction} % measured here of its teacher's WORDS with {macs_ratio}\u00d7 counted fewer \
multiply-adds in a file {size_ratio}\u00d7 counted smaller. Against the same student without a teacher: \
{gain.points} points measured here,
One image takes {devices.D.latency_ms.host.p50_ms} ms
On Jetson Nano 4GB {predicted.fps} FPS predicted are expected of the network alone ({predicted.fps_low} to \
{predicted.fps_high}, extrapolated).
Retention of WORDS {retention_fraction} %measured here {student.METRIC} % of {teacher.METRIC} %, \
{test_images} test images
Gain over no teacher {gain.points}measured here points, 95 % interval {gain.interval_points.0} to \
{gain.interval_points.1}, {gain.seeds} seed
Speed-up over the teacher {speedup.ratio}\u00d7stand-in {speedup.student_p50_ms} against {speedup.teacher_p50_ms} ms
ONNX file, float32 {student.file_bytes} MBcounted {size_ratio}\u00d7 smaller than the teacher; {student.parameters} M \
parameters, {student.macs} M multiply-adds
From image file to class, ANY {devices.D.fps.end_to_end} FPSANY {devices.D.fps.host} FPS the network alone; \
{devices.D.memory.process_peak_mib} MiB at the peak
From image file to class, ANY {devices.D.fps.end_to_end} FPSANY {devices.D.fps.host} FPS the network alone; \
{devices.D.memory.process_peak_mib + devices.D.memory.nvmap_delta_mib} MiB at the peak
the network alone {predicted.fps} FPSpredicted {predicted.interval_share} % interval {predicted.fps_low} to \
{predicted.fps_high}; about {predicted.memory_mib} MiB, an estimate
Quantization-aware distillation, {qad.epochs} epochs, on validation images simulated: INT8 top-1 \
{qad.before.top1_fraction} % before, {qad.after.top1_fraction} % after
largest logit difference {proof.max_relative_difference} of the largest logit, same class on \
{proof.top1_agreement_fraction} %; opset {proof.opset}, IR {proof.ir}.
On {test_images} test images that nothing was trained or chosen on
would give {chance.top1_fraction} % top-1 and {chance.balanced_accuracy_fraction} % balanced accuracy counted
Gain in top-1: {gain.top1_points} points, 95 % interval {gain.top1_points_interval.0} to \
{gain.top1_points_interval.1}; only the student was right on {gain.student_only_correct} images, only the baseline on \
{gain.baseline_only_correct} (exact McNemar p = {gain.mcnemar_p})
over {gain.seeds} seeds the baseline has {gain.over_seeds.baseline.mean_points} \u00b1 \
{gain.over_seeds.baseline.sd_points}, the student {gain.over_seeds.student.mean_points} \u00b1 \
{gain.over_seeds.student.sd_points}, the gain is {gain.over_seeds.gain.mean_points} \u00b1 \
{gain.over_seeds.gain.sd_points} points (mean and standard deviation)
Between teacher and student (ANY): resnet18 {links.0.METRIC} %, mobilenetv2_100 {links.1.METRIC} %
judged on the same {swept.images} validation images
Student and teacher say the same on {teacher_agreement_fraction} % of the test images
Of {disagreements.P.images} test images, {disagreements.P.apart} get another class. Both right: \
{disagreements.P.both_right}; only the ANY: {disagreements.P.first_only_right}; only the ANY: \
{disagreements.P.second_only_right}; both wrong, alike: {disagreements.P.both_wrong_alike}; both wrong, each in its \
own way: {disagreements.P.both_wrong_apart}
true LABEL FIRST SAID {disagreements.P.shown.N.first.probability} % SECOND SAID \
{disagreements.P.shown.N.second.probability} %
while the network works: {devices.D.fps.pipelined} FPS
, {devices.D.power.energy_mj} mJ an image of the whole input
GPU {devices.D.conditions.clocks_mhz.gpu.2} of {devices.D.conditions.clocks_mhz.gpu.1} MHz
came out within {devices.D.verify.max_relative_difference} of the largest logit (limit {devices.D.verify.tolerance}) \
on {devices.D.verify.images} images
medians of {devices.D.layer_times.runs} profiled runs after the timed ones. Profiling slows, and what lies between \
layers is in none: their sum, {devices.D.layer_times.sum_ms} ms, is not the latency \
({devices.D.latency_ms.host.p50_ms} ms)
The student is {speedup.ratio}\u00d7 stand-in as fast as its teacher on this computer ({speedup.student_p50_ms} \
against {speedup.teacher_p50_ms} ms, timed in turn)
predicted {predicted.fps} FPS ({predicted.fps_low} to {predicted.fps_high}) on Jetson Nano 4GB, the network alone.
The board has paid for itself after {running_cost.payback_months} months.
each on {running_cost.hours_per_month} hours a month
The student was taught on {taught.student_images} images counted; the baseline learnt from {taught.baseline_images}
The student was taught on {taught.student_images} images counted, among them images of an unlabelled pool of \
{taught.pool_images}, which only the teacher labelled; the baseline learnt from {taught.baseline_images} labelled ones
by its class counted: dent {taught.class_weights.dent}, good {taught.class_weights.good}.
student {taught.best_epochs.student.0} of {taught.best_epochs.student.1}
{data.images_in_groups} images in {data.near_duplicate_groups} groups of look-alikes, each kept in one split; \
{data.exact_duplicates} exact copies; {data.leak_count} leaks between splits; {data.unreadable_count} unreadable
""".strip().split("\n")

# How a number is written, by the end of its key: factor, format, and what takes the place of a minus sign.
FORMATS = (
    (r"(_fraction|top1_interval\.\d|per_class_recall\.[^.]+|students\.\d+\.value|\.share)$", 100, ".1f"),
    (r"(probability|interval_share)$", 100, ".0f"),
    (r"^gain\.(top1_)?(points|interval_points|points_interval)(\.\d)?$|over_seeds\.gain\.mean_points$", 1, "+.1f"),
    (r"^gain\.over_seeds\.", 1, ".1f"),
    (r"drop_(standard_error_|interval_)?points(\.\d)?$", 1, ".2f"),
    (r"(macs_ratio|size_ratio|speedup\.ratio|sqnr_db)$", 1, ".1f"),
    (r"(parameters|macs)$", 1e-6, "millions"),
    (r"file_bytes$", 1e-6, ".1f"),
    (r"(fps\.\w+|predicted\.fps(_low|_high)?)$", 1, "fps"),
    (r"median_ms$", 1, ".3f"),
    (r"_ms(_low|_high)?$", 1, ".2f"),
    (r"mcnemar_p$", 1, ".2g"),
    (r"(max_relative_difference|tolerance)$", 1, ".1g"),
    (r"terms\.\w+$", 1, ".4f"),
    (r"energy_mj|clocks_mhz\.gpu\.\d|predicted\.memory_mib|nvmap_delta_mib$", 1, ".0f .1f"),
    (r"process_peak_mib$", 1, ".0f .1f"),
    (r"memory\.\w+$|temperatures_c\.(before|peak|after)\.\w+$", 1, ".1f"),
    (r"input_mw\.\*$", 1e-3, "fps"),
    (r"trace\.\w+(\.cpu)?\.\*$", 1, "fps"),
    (r"_s$|^cost\.\w+$|payback_months$", 1, ".1f"),
    (r"hours_per_month$", 1, "g"),
    (r"per_month$", 1, ",.2f"),
    (r"class_weights\.\w+$", 1, ".2f"),
    (r"temperature$", 1, ""),
    (r"", 1, "d"),
)

# Digits that are no figure of the report, and why.
WITHOUT_KEY = (
    (r"95 % interval", "the level of every interval"),
    (r"top-1|Top-1", "a metric's name"),
    (r"(?i)int8|fp16|fp32|float32|float16", "a precision's name"),
    (r"SHA-256", "a function's name"),
    (r"less than 90 % of its teacher", "the limit below which there is advice"),
    (r"at most 12 of those|\b\d+ more left out", "how many pictures a page holds"),
)


@pytest.fixture(scope="module")
def reports(stages_to_read, recipe, board, swept):
    """Everything a page can show, in two reports: with a board and without."""
    hashes = [f"{i:064x}" for i in range(60)]
    one, other = np.random.default_rng(0).normal(size=(2, 60, 6))
    pairs = [
        disagreement((first, one), (second, other), np.arange(60) % 6, stages_to_read["data"]["classes"], hashes)
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
    rich = type(recipe).model_validate(table)
    stages = copy.deepcopy(stages_to_read)
    stages["deploy"]["hosts"].append(board(stages["deploy"]["hosts"][0]))
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
        "with a board": report_of(stages, rich, pairs, swept=swept(rich, stages)),
        "without": report_of(
            with_seeds_links_and_gate(stages_to_read), type(recipe).model_validate(table), predicted=predicted
        ),
    }


@pytest.fixture(scope="module")
def read(reports):
    """Name -> the page of that report, with the key of each number."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "_figures", lambda report: drawn)
        for name in ("histogram_figure", "trace_figure"):
            patch.setattr(pages.device_figures, name, lambda *_: None)
        for name, report in reports.items():
            drawn = dict.fromkeys(
                ("accuracy", "recall", "ladder", "curves", "students", "terms", "pareto", "rescue"), ""
            )
            numbers = traced({key: value for key, value in report.items() if key != "provenance"})
            shown = {row["sha256"]: b"" for pair in report["disagreements"] for row in pair["shown"]}
            found[name] = Page(pages.html_from_report(unchecked(ReportRecord, {**report, **numbers}), None, shown))
    return found


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
    value = factor * value
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
        if label == "Readings":  # a machine that shows less has fewer columns
            columns = {n: next(c for c in TABLES[label] if c[0] == head) for n, head in enumerate(table.heads)}
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
            for row, loop in zip(table.rows, device["trace"]["loops"], strict=True):
                at = [second for second in device["trace"]["at_s"] if loop["start_s"] <= second <= loop["end_s"]]
                assert row[2][0] == str(len(at))
            continue
        layers = sorted((layer["median_ms"] for layer in device["layer_times"]["layers"]), reverse=True)
        shown = [MARK.sub(r"\2", row[2][0]) for row in table.rows]
        assert shown == [f"{ms:.3f}" for ms in (*layers[:15], sum(layers[15:]))]
        assert table.rows[-1][0][0] == f"{len(layers) - 15} more layers"
        assert MARK.sub(r"\2", table.rows[-1][3][0]) == f"{100 * sum(layers[15:]) / sum(layers):.1f} %"
