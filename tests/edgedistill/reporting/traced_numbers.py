"""Numbers that remember their key in report.json through whatever a page does with them, and the page read back."""

import html
import operator
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

START, MIDDLE, END = "\u27e6", "\u00a6", "\u27e7"  # printable, and on no page
MARK = re.compile(f"{START}([^{MIDDLE}]*){MIDDLE}([^{END}]*){END}")


def traced(value, path=""):
    """The same JSON of numbers that print with a mark; `a.0.b` is the path of report["a"][0]["b"]."""
    if isinstance(value, dict):
        return {key: traced(item, f"{path}.{key}" if path else key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        reading = ".trace." in path and not path.endswith("loops")  # of many readings: which one does not matter
        return [traced(item, f"{path}.{'*' if reading else place}") for place, item in enumerate(value)]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return _number(value, path)


def _number(value, path):
    found = (Integer if isinstance(value, int) else Real)(value)
    found.path = path
    return found


def _followed(sign, reflected=False):
    """Arithmetic that keeps the path; with a constant it is a change of unit and the path stays."""
    function = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[sign]

    def method(self, other):
        plain = [one.plain if isinstance(one, Number) else one for one in (self, other)]
        paths = [one.path for one in (self, other) if isinstance(one, Number)]
        if reflected:
            plain.reverse(), paths.reverse()
        path = f" {sign} ".join(paths) if len(set(paths)) > 1 else paths[0]
        return _number(function(*plain), path)

    return method


class Number:
    def __format__(self, spec):
        return f"{START}{self.path}{MIDDLE}{format(self.plain, spec)}{END}"

    def __str__(self):
        return format(self, "")

    def __html__(self):
        return html.escape(str(self))

    __add__, __radd__ = _followed("+"), _followed("+", True)
    __sub__, __rsub__ = _followed("-"), _followed("-", True)
    __mul__, __rmul__ = _followed("*"), _followed("*", True)
    __truediv__, __rtruediv__ = _followed("/"), _followed("/", True)


class Real(Number, float):
    @property
    def plain(self):
        return float(self)


class Integer(Number, int):
    @property
    def plain(self):
        return int(self)


@dataclass
class Table:
    """Cells are pairs of the text and the `data-value` that the page sorts by, or None."""

    label: str
    heads: list[str] = field(default_factory=list)
    rows: list[list[tuple[str, str | None]]] = field(default_factory=list)


class Page(HTMLParser):
    """Tables, and all other text; what is drawn, the recipe and what scripts read are left out.

    Attributes:
        tables: in their order.
        prose: one string, white space as a browser shows it; of a cell nothing, of a caption all.
    """

    def __init__(self, page):
        super().__init__()
        self.tables, self._text, self._open, self._label, self._cell = [], [], [], "", None
        self.feed(page)
        self.prose = " ".join("".join(self._text).split())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "br":
            self._text.append("\n")
        if tag in {"meta", "br", "img", "wbr", "link"}:
            return
        self._open.append(tag)
        if attributes.get("class") == "scroll":
            self._label = attributes["aria-label"]
        if tag == "table":
            self.tables.append(Table(self._label))
        if tag == "tr" and "thead" not in self._open:
            self.tables[-1].rows.append([])
        if tag in {"td", "th"}:
            self._cell = ["", attributes.get("data-value"), int(attributes.get("colspan", 1))]
        if tag in {"p", "dd", "dt", "li", "div", "h1", "h2", "h3", "summary", "caption"}:
            self._text.append("\n")

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass
        if tag in {"td", "th"}:
            text, value, span = self._cell
            text = " ".join(text.split())
            if "thead" in self._open:
                self.tables[-1].heads += [text] * span
            else:
                self.tables[-1].rows[-1] += [(text, value)] * span
            self._cell = None

    def handle_data(self, data):
        if set(self._open) & {"style", "script", "svg", "title", "pre"}:
            return
        if self._cell is not None:
            self._cell[0] += data
        else:
            self._text.append(data)


def keyed(text):
    """The text with a path in braces for each number of report.json."""
    return MARK.sub(r"{\1}", text)
