"""The pages in a real browser: nothing fetched, sorting, themes, print, narrow screens, axe-core."""

import importlib.util
import re
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest

from browser import Browser, chromium
from edgedistill.core.text import printable
from edgedistill.records.deployment import FleetRecord
from edgedistill.records.report import ReportRecord
from edgedistill.reporting.compare_page import html_from_comparison
from edgedistill.reporting.comparison import compared
from edgedistill.reporting.disagreements import MOST_BYTES, disagreement
from edgedistill.reporting.fleet_page import html_from_fleet
from edgedistill.reporting.formats import command
from edgedistill.reporting.look_closer import lists_of
from edgedistill.reporting.thumbnails import thumbnail, thumbnails
from optional_tools import lacking
from record_factories import page_of, report_of
from report_pages import HOSTILE, RIGHT_TO_LEFT, looked_at, renamed

pytestmark = pytest.mark.slow

PAGES = ("report", "compare", "fleet")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if chromium() is None:
        lacking("Chromium", "apt install chromium")
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def axe() -> str:
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None:
        lacking("axe-core", "pip install -e '.[dev]'")
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made_report(stages_to_read, recipe, board, swept):
    """Everything a report can have: hostile names, a board, prices, pictures; and its pictures."""
    names = [*HOSTILE[:5], RIGHT_TO_LEFT]
    stages = renamed(stages_to_read, names)
    stages["deploy"]["hosts"].append(board(stages["deploy"]["hosts"][0], "a" * 60))
    cost = {
        "currency": "EUR",
        "cloud_price_per_hour": 0.5,
        "board_price": 150,
        "board_months": 36,
        "power_price_per_kwh": 0.3,
    }
    table = recipe.model_dump(mode="json")
    table |= {"cost": cost, "target": {**table["target"], "fps": 30, "memory_mib": 400}}
    one, other = np.random.default_rng(0).normal(size=(2, 60, 6))
    hashes = [f"{i:064x}" for i in range(60)]
    pairs = [
        disagreement((first, one), (second, other), np.arange(60) % 6, names, hashes, [HOSTILE[1]] * 60)
        for first, second in (("teacher", "student"), ("float", "int8"))
    ]
    chosen = looked_at(names, "a/" + HOSTILE[2])
    report = report_of(
        stages, type(recipe).model_validate(table), pairs, swept=swept(recipe, stages), look_closer=chosen
    )
    frame = np.full((64, 64, 3), 128, np.uint8)
    pictures = thumbnails([*(pair.shown for pair in pairs), *lists_of(chosen)], lambda image: frame, MOST_BYTES)
    return report, pictures, {image.sha256: thumbnail(frame) for image in chosen.worst}


@pytest.fixture(scope="module")
def pages(made_report, tmp_path_factory) -> dict[str, Path]:
    report, *pictures = made_report
    folder = tmp_path_factory.mktemp("pages")
    written = {
        "report": page_of(report, None, *pictures),
        "compare": html_from_comparison(
            compared(dict.fromkeys(("one", "b" * 80), ReportRecord.from_json(report, "report")), {})
        ),
        "fleet": html_from_fleet(fleet_record()),
    }
    for name, page in written.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in written}


def fleet_record() -> FleetRecord:
    """A board that is done, and one that failed with a long reason."""
    of_all = {"group": "hall", "canary": True, "host": "hall-1"}
    done = {"provenance": "measured: TensorRT 8.2.1", "executed": "fp16", "p50_ms": 15.5, "fps": 64.0, "seconds": 9.0}
    rows = [
        {**of_all, "name": "nano-1", "state": "done", **done},
        {**of_all, "name": HOSTILE[0], "state": "failed", "reason": "the engine's build ended with SIGKILL " * 4},
    ]
    head = {"version": 1, "fleet": HOSTILE[1], "id": "5e" * 8, "model": "m" * 90, "target": "jetson-nano", "serial": 3}
    return FleetRecord.model_validate({**head, "until": "activate", "stopped": "wave 1: 1 failed", "boards": rows})


def test_nothing_is_fetched_and_nothing_complains(browser, pages):
    for path in pages.values():
        tab = browser.open(path)
        assert tab.complaints == []
        assert [url for url in tab.requests if not url.startswith("data:image/jpeg")] == [path.as_uri()]
        assert tab.evaluate("document.scripts.length") <= 2, "no class name became a script"
        assert tab.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")


def test_the_page_s_policy_stops_what_should_ever_break_out(browser, pages, tmp_path):
    page = pages["report"].read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    broken.write_text(
        page.replace("</main>", '<script>window.ours = 1</script><img src="http://127.0.0.1:9/x"></main>'),
        encoding="utf-8",
    )
    tab = browser.open(broken)
    assert tab.evaluate("window.ours") is None
    assert any("Content Security Policy" in line for line in tab.complaints)


def test_reading_needs_no_script(browser, pages):
    tab = browser.open(pages["report"], scripts=False)
    assert tab.evaluate("document.getElementById('theme').hidden")
    assert "The student keeps" in tab.evaluate("document.body.innerText")
    assert tab.evaluate("document.querySelectorAll('th button').length") == 0


def test_a_count_of_a_confusion_opens_its_images(browser, pages):
    """With the page's script and without."""
    for scripts in (True, False):
        tab = browser.open(pages["report"], scripts=scripts)
        link = "document.querySelector('.matrices td a')"
        target = f"document.getElementById({link}.hash.slice(1))"
        assert not tab.evaluate(f"{target}.closest('details').open")
        said = tab.evaluate(f"{target}.closest('details').querySelector('summary').textContent")
        count = int(re.search(r"(\d+) images?$", said)[1])
        tab.evaluate(f"{link}.click()")
        assert tab.evaluate(f"{target}.closest('details').open")
        assert tab.evaluate(f"{target}.querySelectorAll('img').length") == min(count, 12)
        assert tab.evaluate(f"{target}.querySelector('.file').checkVisibility()")


COLUMN = """(() => { const table = document.querySelector('#recall ~ .figures details table');
  return [...table.tBodies[0].rows].map(row => row.cells[%d].dataset.value ?? row.cells[%d].textContent); })()"""
HEAD = "document.querySelector('#recall ~ .figures details table').tHead.rows[0].cells[%d]"


def test_tables_sort_by_mouse_and_by_keyboard(browser, pages):
    tab = browser.open(pages["report"])
    column = COLUMN % (1, 1)
    before = tab.evaluate(column)
    assert before == ["60", "48", "210", "36", "90", "24"]
    tab.evaluate(HEAD % 1 + ".querySelector('button').click()")
    assert tab.evaluate(column) == sorted(before, key=int), "as numbers, not as text"
    assert tab.evaluate(HEAD % 1 + ".ariaSort") == "ascending"
    tab.evaluate(HEAD % 1 + ".querySelector('button').focus()")
    tab.key("Enter", 13)
    assert tab.evaluate(column) == sorted(before, key=int, reverse=True)
    assert tab.evaluate(HEAD % 1 + ".ariaSort") == "descending"
    tab.evaluate(HEAD % 0 + ".querySelector('button').click()")
    assert tab.evaluate("document.querySelectorAll('th[aria-sort]').length") == 1
    names = tab.evaluate(COLUMN % (0, 0))
    assert names != tab.evaluate(COLUMN % (1, 1))
    assert sorted(names) == sorted(map(printable, [*HOSTILE[:5], RIGHT_TO_LEFT])), "no row is lost"


@pytest.mark.parametrize("name", PAGES)
def test_no_page_scrolls_sideways(browser, pages, name):
    for width in (360, 768, 1200):
        tab = browser.open(pages[name], width=width)
        root = "document.documentElement"
        assert tab.evaluate(f"{root}.clientWidth") == width
        assert tab.evaluate(f"{root}.scrollWidth") == width


WIDER = """[...document.querySelectorAll('.scroll')].filter(one => one.checkVisibility()
  && one.scrollWidth > one.clientWidth).map(one => one.getAttribute('aria-label'))"""


def test_every_table_of_a_comparison_and_of_a_fleet_fits_1280_pixels(browser, pages):
    for name in ("compare", "fleet"):
        assert browser.open(pages[name], width=1280).evaluate(WIDER) == []


EDGES = """(() => {
  const one = [...document.querySelectorAll('.scroll')].find(one => one.scrollWidth > one.clientWidth);
  one.scrollLeft = %s;
  const box = one.getBoundingClientRect();
  return [box.left, box.right, box.bottom + scrollY].map(Math.round); })()"""


def test_a_table_that_is_cut_off_shows_a_shadow_at_that_edge(browser, pages):
    tab = browser.open(pages["report"], width=390)
    for scrolled, dark_edges in ((0, (False, True)), (99999, (True, False))):
        left, right, bottom = tab.evaluate(EDGES % scrolled)
        picture = cv2.imdecode(np.frombuffer(tab.screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
        row = picture[bottom - 6]  # in the last row of the table, below its text
        assert (row[left + 1] < 215, row[right - 2] < 215) == dark_edges, (row[left + 1], row[right - 2])


BROKEN = """[...document.querySelectorAll('[aria-label^="Layers"] tbody th')].flatMap(cell => [...cell.childNodes]
  .filter(node => node.nodeType === 3).filter(node => { const range = document.createRange();
    range.selectNodeContents(node); return range.getClientRects().length > 1; }).map(node => node.data))"""


def test_names_of_layers_break_between_their_words(browser, pages):
    tab = browser.open(pages["report"], width=390)
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert tab.evaluate("document.querySelectorAll('[aria-label^=\"Layers\"] tbody th wbr').length") > 20
    assert [text for text in tab.evaluate(BROKEN) if " " not in text] == []


def test_sections_are_named_at_the_side_of_a_wide_window_and_under_the_title_of_a_narrow_one(browser, pages):
    boxes = "['nav', 'h1', 'main'].map(name => document.querySelector(name).getBoundingClientRect())"
    where = (
        f"(([nav, title, main]) => [nav.right <= main.left, title.bottom <= nav.top, nav.bottom <= main.top])({boxes})"
    )
    assert browser.open(pages["report"], width=1280).evaluate(where) == [True, True, False]
    assert browser.open(pages["report"], width=390).evaluate(where) == [False, True, True]


def test_light_dark_and_the_button(browser, pages):
    for scheme, bright in (("light", True), ("dark", False)):
        tab = browser.open(pages["report"], prefers_color_scheme=scheme)
        assert (paper(tab) > 128) == bright
        picture = cv2.imdecode(np.frombuffer(tab.screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
        assert picture[:900].std() > 15, "text cannot be told from paper"
        tab.evaluate("document.getElementById('theme').click()")
        assert (paper(tab) > 128) != bright
        assert tab.evaluate("document.getElementById('theme').textContent") == scheme.capitalize()


def paper(tab) -> float:
    """Mean of the page's background colour, 0 to 255."""
    colour = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    return float(np.mean([int(part) for part in re.findall(r"\d+", colour)[:3]]))


def test_prints_on_white_paper_with_everything_opened(browser, pages):
    tab = browser.open(pages["report"], prefers_color_scheme="dark")
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    tab.media("print", prefers_color_scheme="dark")
    assert paper(tab) == 255
    assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert tab.evaluate("[...document.querySelectorAll('details pre')].every(p => p.checkVisibility())")
    content = tab.pdf()
    assert content.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 33  # a name of 500 letters fills a column


CUT_OFF = """[...document.querySelectorAll('.scroll')].filter(one => one.checkVisibility()
  && (getComputedStyle(one).overflow !== 'visible' || getComputedStyle(one).maxHeight !== 'none'))
  .map(one => one.getAttribute('aria-label'))"""


def test_no_table_is_cut_off_on_paper(browser, pages):
    """On paper nobody scrolls: what stands in a box on the screen has all its rows, closed details too."""
    tab = browser.open(pages["report"], width=700)
    assert tab.evaluate(CUT_OFF) != [], "on the screen they are boxes"
    tab.media("print")
    assert tab.evaluate("document.querySelectorAll('details .scroll').length") > 2
    assert tab.evaluate(CUT_OFF) == []
    assert tab.evaluate(WIDER) == [], "beyond the edge of the paper nothing is seen"


AXE = """axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.map(
  one => [one.id, one.help, one.nodes.map(node => node.html.slice(0, 200))]))"""


@pytest.mark.parametrize("name", PAGES)
def test_axe_core_finds_nothing(browser, pages, axe, name):
    for width, scheme in ((1000, "light"), (1000, "dark"), (360, "light")):
        tab = browser.open(pages[name], width=width, prefers_color_scheme=scheme)
        tab.evaluate(axe + "; 0")
        assert tab.evaluate(AXE) == [], (width, scheme)


def test_axe_core_would_find_something(browser, axe, tmp_path):
    (tmp_path / "bad.html").write_text("<img src='data:,'><p style='color:#ccc'>pale")
    tab = browser.open(tmp_path / "bad.html")
    tab.evaluate(axe + "; 0")
    assert {"image-alt", "html-has-lang", "color-contrast"} <= {one[0] for one in tab.evaluate(AXE)}


def test_a_command_breaks_between_its_words_alone(browser, tmp_path):
    """A narrow page breaks `--set` behind its hyphens, where nothing holds it together."""
    style = (resources.files("edgedistill.reporting") / "style.css").read_text(encoding="utf-8")
    lines = (command(f"edgedistill run {'x' * length}.toml --set distill.views=2") for length in range(30))
    page = tmp_path / "command.html"
    head = f'<meta name="viewport" content="width=device-width"><style>{style}</style>'
    page.write_text(head + "".join(f"<p>{line}</p>" for line in lines), encoding="utf-8")
    options = "[...document.querySelectorAll('.command span')].filter(word => word.textContent == '--set')"
    heights = browser.open(page, width=300).evaluate(f"{options}.map(word => Math.round(word.offsetHeight))")
    assert len(heights) == 30
    assert len(set(heights)) == 1, "every option is on one line"
