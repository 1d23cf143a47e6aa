"""Format figures and names for the page and the sentences of the report."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape

from edgedistill.config.values import size_text
from edgedistill.core.text import plural, printable
from edgedistill.records.output_report import OutputReportRecord
from edgedistill.records.provenance import Provenance
from edgedistill.records.report import ReportRecord

_WORD_ENDS = re.compile(r"[_/+.,:]+(?=\w)")  # not inside an escape like &amp;, whose end is followed by its own text


def number(value: float, spec: str) -> str:
    """Format `value` with a Python format specification, like `.2f`."""
    return format(value, spec)


def percent(fraction: float | None) -> str:
    return "unknown" if fraction is None else f"{100 * fraction:.1f} %"


def points(value: float, decimals: int = 1) -> str:
    text = f"{value:+.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}" if text.strip("-0.") else "+")


def times(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{ratio:.1f}\N{MULTIPLICATION SIGN}"


def millions(count: float) -> str:
    return f"{count / 1e6:.2f} M" if count < 1e8 else f"{count / 1e6:.0f} M"


def megabytes(count: float) -> str:
    return f"{count / 1e6:.1f} MB"


def fps(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def milliseconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} ms"


def typeset(sentence: str) -> str:
    """Write numbers of a sentence for terminals as those of the page: a minus sign, and a space before %."""
    return re.sub(r"(?<=\d)%", " %", re.sub(r"(?<![\w-])-(?=\d)", "\N{MINUS SIGN}", sentence))


def begun(sentence: str) -> str:
    """Begin a sentence with a capital letter."""
    return sentence[:1].upper() + sentence[1:]


def words(metric: str) -> str:
    """`balanced_accuracy_fraction` -> `balanced accuracy`."""
    return metric.removesuffix("_fraction").replace("_", " ").replace("top1", "top-1 accuracy")


def short(name: str) -> str:
    """A name of at most 28 characters."""
    shown = printable(name, instead="\N{REPLACEMENT CHARACTER}")
    return shown if len(shown) <= 28 else shown[:27] + "\N{HORIZONTAL ELLIPSIS}"


def breakable(name: str) -> Markup:
    """Allow line breaks behind the marks that part the words of a long name, and nowhere else."""
    return Markup(_WORD_ENDS.sub(r"\g<0><wbr>", str(escape(printable(name)))))  # noqa: S704 - escaped


def enlarged(recipe: dict[str, Any]) -> str:
    """Behind the teacher's name: what it sees of the images where that is not what the student sees."""
    image_px = recipe.get("teacher", {}).get("image_px")
    return "" if image_px is None else f" on images enlarged to {size_text(image_px)} px"


def networks(report: ReportRecord | OutputReportRecord) -> str:
    """The networks' names; baseline and student are the same one, from the same first weights."""
    teacher = report.teacher.model + enlarged(report.provenance.recipe)
    return f"teacher {teacher}; baseline and student {report.student.model}"


def command(words: str) -> Markup:
    """Set a command as code that breaks between its words only, not behind the hyphens of an option."""
    spans = Markup(" ").join(Markup("<span>{}</span>").format(word) for word in printable(words).split(" "))
    return Markup('<code class="command">{}</code>').format(spans)


def with_commands(sentence: str) -> Markup:
    """Set what a sentence has between backticks as commands."""
    parts = re.split(r"`([^`]+)`", printable(sentence))
    return Markup("").join(command(part) if number % 2 else escape(typeset(part)) for number, part in enumerate(parts))


def kind(provenance: Provenance | str) -> str:
    """`stand-in: ONNX Runtime ...` -> `stand-in`."""
    return str(Provenance.from_text(str(provenance)).kind)


FILTERS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        begun,
        breakable,
        command,
        enlarged,
        fps,
        kind,
        megabytes,
        milliseconds,
        millions,
        number,
        percent,
        plural,
        points,
        short,
        times,
        typeset,
        with_commands,
        words,
    )
}
"""For the templates of this folder."""
