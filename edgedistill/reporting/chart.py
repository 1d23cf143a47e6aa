"""Draw the report's figures as inline SVG without scripts, in the page's colours and font.

Sentinel colours are replaced by CSS variables, so that one drawing serves light, dark and print
modes. Equal input gives equal bytes.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from typing import TYPE_CHECKING, Any

import matplotlib
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

# sentinel -> CSS variable of style.css
_COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--line)",
    "#030303": "var(--teacher)",
    "#040404": "var(--baseline)",
    "#050505": "var(--student)",
    "#060606": "var(--muted)",
    "#070707": "var(--paper)",
}
INK, LINE, TEACHER, BASELINE, STUDENT, MUTED, PAPER = _COLOURS
NETS = {"teacher": (TEACHER, "s"), "baseline": (BASELINE, "D"), "student": (STUDENT, "o")}
TERMS = (STUDENT, BASELINE, TEACHER, MUTED)
SHORT_AXIS = 10  # end over beginning of a logarithmic axis; a decade holds three of 1, 2, 5
_STYLE: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edgedistill",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.edgecolor": LINE,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,  # 22765, not 5 beside +2.276e4
    "axes.formatter.limits": (-4, 7),
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "legend.handlelength": 1.4,
}
STYLED = matplotlib.rc_context(_STYLE)  # as a decorator: artists read the style when they are made


def new_figure(height: float) -> tuple[Figure, Any]:
    """Make a figure of 5.4 x `height` inches; the page scales it to a column."""
    figure = Figure(figsize=(5.4, height), layout="constrained")
    return figure, figure.add_subplot()


def new_panels(heights: list[float]) -> tuple[Figure, list[Any]]:
    """Make panels of these heights in inches, stacked over one horizontal axis."""
    figure = Figure(figsize=(5.4, sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)
    return figure, list(axes[:, 0])


def plain_decades(axis: Any) -> None:
    """Set the ticks of a logarithmic axis, whose limits stand, to 1, 2, 5, 10, 20, ..., in plain notation.

    On an axis so short that fewer than three of them would lie on it, ticks have equal distances in value.
    """
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high >= SHORT_AXIS * low else MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(which="minor", size=0)


def within_percent(axis: Any) -> None:
    """End an axis of percentages where they end: a margin but no tick lies below 0 or above 100."""
    low, high = sorted(axis.get_view_interval())
    margin = 0.04 * (high - low)
    limits = max(low, -margin), min(high, 100 + margin)  # ticks lie further apart than the margin
    getattr(axis.axes, f"set_{axis.axis_name}lim")(*limits)


def svg_of(figure: Figure, name: str, title: str) -> Markup:
    """Return an inline <svg> whose ids begin with `name`, so that a page can hold several."""
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set(facecolor="none", edgecolor="none")
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The browser draws the text with its own fonts, so what matplotlib's font lacks is no loss.
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        # `savefig` would draw it all once more, for the layout alone.
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    # Only inside tags: a class may be named ` id="x"`.
    svg = re.sub(r"<[^>]*>", lambda tag: _own_tag(tag.group(), name), svg)
    head, _, body = svg.partition(">")
    (size,) = re.findall(r'viewBox="[^"]+"', head)
    body = re.sub(r"\n\s*", "\n", body)
    # matplotlib escapes the text in its SVG
    return Markup(f'<svg {size} role="img" aria-label="{html.escape(title)}">{body}')  # noqa: S704 - escaped


def _own_tag(tag: str, name: str) -> str:
    tag = re.sub(r' id="([^"]+)"', rf' id="{name}-\1"', tag)
    tag = tag.replace('xlink:href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    for sentinel, variable in _COLOURS.items():
        tag = tag.replace(sentinel, variable)
    return tag
