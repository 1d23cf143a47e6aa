"""The report's pictures: inline SVG without a script, in the page's own colours and font.

Drawn with sentinel colours that are replaced by CSS variables, so that one drawing serves light,
dark and print. Equal input gives equal bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

# sentinel -> CSS variable of page.html.j2
_COLOURS = {
    "#010101": "var(--ink)", "#020202": "var(--line)", "#030303": "var(--teacher)",
    "#040404": "var(--baseline)", "#050505": "var(--student)", "#060606": "var(--muted)",
    "#070707": "var(--paper)",
}  # fmt: skip
_INK, _LINE, _TEACHER, _BASELINE, _STUDENT, _MUTED, _PAPER = _COLOURS
_NETS = {"teacher": (_TEACHER, "s"), "baseline": (_BASELINE, "D"), "student": (_STUDENT, "o")}
_TERMS = (_STUDENT, _BASELINE, _TEACHER, _MUTED)
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "edgedistill", "text.parse_math": False,
    "font.family": "sans-serif", "font.size": 10, "text.color": _INK, "axes.labelcolor": _MUTED,
    "xtick.color": _MUTED, "ytick.color": _MUTED, "axes.edgecolor": _LINE, "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": _LINE,
    "grid.linewidth": 0.6, "xtick.major.size": 0, "ytick.major.size": 0, "lines.linewidth": 1.8,
    "legend.frameon": False, "legend.fontsize": 9.5, "legend.handlelength": 1.4,
}  # fmt: skip
_STYLED = matplotlib.rc_context(_STYLE)  # as a decorator: artists read the style when they are made
WORST = 30  # classes in the recall figure


@_STYLED
def accuracy_figure(report: dict[str, Any]) -> str:
    """Top-1 with 95 % interval and balanced accuracy of the three, and the majority class."""
    figure, axes = _figure(2.5)
    for row, (name, (colour, marker)) in enumerate(_NETS.items()):
        low, high = (100 * value for value in report[name]["top1_interval"])
        top1 = 100 * report[name]["top1_fraction"]
        balanced = 100 * report[name]["balanced_accuracy_fraction"]
        axes.plot([low, high], [row, row], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot([top1], [row], marker, color=colour, markersize=9)
        axes.plot([balanced], [row + 0.26], marker, color=colour, markersize=6, fillstyle="none")
        axes.annotate(f"{top1:.1f} %", (top1, row), xytext=(0, 9), ha="center", color=colour,
                      fontweight="bold", textcoords="offset points")  # fmt: skip
    chance = 100 * report["chance"]["top1_fraction"]
    axes.axvline(chance, color=_MUTED, linestyle=(0, (3, 3)), linewidth=1.2)
    axes.annotate("always the majority class", (chance, 2.62), xytext=(4, 0), color=_MUTED,
                  fontsize=9, textcoords="offset points")  # fmt: skip
    axes.set_yticks(range(3), list(_NETS), color=_INK)
    axes.set_ylim(2.75, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("test images, %: top-1 with 95 % interval; hollow: balanced accuracy")
    return _svg(figure, "accuracy", "Accuracy of teacher, baseline and student")


@_STYLED
def curves_figure(report: dict[str, Any]) -> str:
    """The recipe's metric on the validation images after each epoch."""
    metric = report["metric"]
    figure, axes = _figure(2.9)
    for name, (colour, marker) in _NETS.items():
        rows = report["histories"][name]
        if rows:
            axes.plot([row["epoch"] for row in rows], [100 * row[f"eval_{metric}"] for row in rows],
                      color=colour, label=name, marker=marker if len(rows) < 15 else "",
                      markersize=5)  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation images, %")
    if axes.lines:
        axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
    return _svg(figure, "curves", "Validation accuracy after each epoch")


@_STYLED
def terms_figure(report: dict[str, Any]) -> str | None:
    """Each loss term of the student's training, unweighted; None when it has no history."""
    rows = report["histories"]["student"]
    if not rows:
        return None
    figure, axes = _figure(2.9)
    for (name, _), colour in zip(rows[0]["terms"].items(), _TERMS, strict=False):
        axes.plot([row["epoch"] for row in rows], [row["terms"][name] for row in rows],
                  color=colour, label=name)  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss, before its weight")
    axes.legend(loc="lower center", ncols=4, bbox_to_anchor=(0.5, 1))
    return _svg(figure, "terms", "Loss terms of the student")


@_STYLED
def recall_figure(report: dict[str, Any]) -> str:
    """Recall of each class for the three networks; the ones that the student is worst at."""
    recalls = report["student"]["per_class_recall"]
    worst = sorted((name for name, value in recalls.items() if value is not None),
                   key=recalls.__getitem__)[:WORST]  # fmt: skip
    figure, axes = _figure(1.1 + 0.3 * len(worst))
    for row, name in enumerate(worst):
        values = [100 * report[net]["per_class_recall"][name] for net in _NETS]
        axes.plot([min(values), max(values)], [row, row], color=_LINE, linewidth=3, zorder=1)
    for net, (colour, marker) in _NETS.items():
        values = [100 * report[net]["per_class_recall"][name] for name in worst]
        axes.plot(values, range(len(worst)), marker, color=colour, label=net, markersize=7)
    axes.set_yticks(range(len(worst)), [_short(name) for name in worst], color=_INK)
    axes.set_ylim(len(worst) - 0.5, -0.5)
    axes.set_xlim(-3, 103)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("recall on the test images, %")
    axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
    return _svg(figure, "recall", "Recall of each class")


@_STYLED
def latency_figure(report: dict[str, Any]) -> str | None:
    """Share of images that were done within a time; None without raw samples."""
    samples = (report["device"] or {}).get("samples_ms")
    if not samples:
        return None
    figure, axes = _figure(2.9)
    for scope, colour, name in (("host_ms", _STUDENT, "network alone"),
                                ("end_to_end_ms", _TEACHER, "from the image file")):  # fmt: skip
        ordered = sorted(samples[scope])
        shares = [100 * (i + 1) / len(ordered) for i in range(len(ordered))]
        axes.step([ordered[0], *ordered], [0, *shares], color=colour, label=name, where="post")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_tick_params(which="minor", size=0)
    axes.set_xlabel("ms for one image")
    axes.set_ylabel("images done, %")
    axes.legend(loc="lower center", ncols=2, bbox_to_anchor=(0.5, 1))
    return _svg(figure, "latency", "Latency: share of images done within a time")


def _figure(height: float) -> tuple[Figure, Any]:
    """A figure of 5.4 x `height` inches, which the page scales to a column."""
    figure = Figure(figsize=(5.4, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, name: str, title: str) -> str:
    """One inline <svg> whose ids begin with `name`, so that several stand on a page."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The browser draws the text with its own fonts, so what matplotlib's font lacks is no loss.
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    # Only inside tags: a class may be named ` id="x"`.
    svg = re.sub(r"<[^>]*>", lambda tag: _own_tag(tag.group(), name), svg)
    size = re.search(r'viewBox="[^"]+"', svg)
    body = re.sub(r"\n\s*", "\n", svg.split(">", 1)[1])
    return f'<svg {size.group()} role="img" aria-label="{title}">{body}'


def _own_tag(tag: str, name: str) -> str:
    tag = re.sub(r' id="([^"]+)"', rf' id="{name}-\1"', tag)
    tag = tag.replace('xlink:href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    for sentinel, variable in _COLOURS.items():
        tag = tag.replace(sentinel, variable)
    return tag


def _short(name: str) -> str:
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return shown if len(shown) <= 28 else shown[:27] + "\N{HORIZONTAL ELLIPSIS}"
