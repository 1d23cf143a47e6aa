"""Format figures and names for the page and the sentences of the report."""

from __future__ import annotations

from markupsafe import Markup, escape

from edgedistill.core.text import printable
from edgedistill.records.provenance import Provenance


def number(value: float, spec: str) -> str:
    """Format `value` with a Python format specification, like `.2f`."""
    return format(value, spec)


def percent(fraction: float | None) -> str:
    return "unknown" if fraction is None else f"{100 * fraction:.1f} %"


def points(value: float) -> str:
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def times(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{ratio:.1f}\N{MULTIPLICATION SIGN}"


def millions(count: float) -> str:
    return f"{count / 1e6:.2f} M" if count < 1e8 else f"{count / 1e6:.0f} M"


def megabytes(count: float) -> str:
    return f"{count / 1e6:.1f} MB"


def fps(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def words(metric: str) -> str:
    """`balanced_accuracy_fraction` -> `balanced accuracy`."""
    return metric.removesuffix("_fraction").replace("_", " ").replace("top1", "top-1 accuracy")


def breakable(name: str) -> Markup:
    """Allow line breaks after the underscores of a long name."""
    return escape(printable(name)).replace("_", Markup("_<wbr>"))


def kind(provenance: Provenance | str) -> str:
    """`stand-in: ONNX Runtime ...` -> `stand-in`."""
    return str(Provenance.from_text(str(provenance)).kind)
