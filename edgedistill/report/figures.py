"""The report's pictures: inline SVG without a script, in the page's own colours.

Drawn with sentinel colours that are replaced by CSS variables, so that one drawing serves light,
dark and print. Equal input gives equal bytes.
"""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# sentinel -> CSS variable of page.html.j2
_COLOURS = {
    "#010101": "var(--ink)", "#020202": "var(--line)", "#030303": "var(--teacher)",
    "#040404": "var(--baseline)", "#050505": "var(--student)", "#060606": "var(--muted)",
}  # fmt: skip
_INK, _LINE, _TEACHER, _BASELINE, _STUDENT, _MUTED = _COLOURS
_NETS = {"teacher": _TEACHER, "baseline": _BASELINE, "student": _STUDENT}
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "edgedistill", "font.family": "sans-serif",
    "font.size": 10, "text.color": _INK, "axes.labelcolor": _INK, "xtick.color": _INK,
    "ytick.color": _INK, "axes.edgecolor": _LINE, "axes.spines.top": False,
    "axes.spines.right": False, "text.parse_math": False,
}  # fmt: skip


def accuracy_figure(report: dict[str, Any]) -> str:
    """Top-1 of the three networks with 95 % intervals, and the majority class's."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(2.2)
        for row, (name, colour) in enumerate(_NETS.items()):
            low, high = (100 * value for value in report[name]["top1_interval"])
            top1 = 100 * report[name]["top1_fraction"]
            axes.plot([low, high], [row, row], color=colour, linewidth=3, solid_capstyle="round")
            axes.plot([top1], [row], "o", color=colour, markersize=9)
            axes.annotate(f"{top1:.1f} %", (top1, row), xytext=(0, 9), ha="center",
                          textcoords="offset points")  # fmt: skip
        chance = 100 * report["chance"]["top1_fraction"]
        axes.axvline(chance, color=_MUTED, linestyle="--")
        axes.annotate("majority class", (chance, 2.42), xytext=(4, 0), color=_MUTED,
                      textcoords="offset points")  # fmt: skip
        axes.set_yticks(range(3), list(_NETS))
        axes.set_ylim(2.6, -0.6)
        axes.set_xlabel("top-1 on the test images, %, with 95 % interval")
        return _svg(figure, "accuracy", "Accuracy of teacher, baseline and student")


def ladder_figure(report: dict[str, Any]) -> str:
    """Top-1 and balanced accuracy at each precision."""
    ladder = report["accuracy_ladder"]
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(2.6)
        for offset, key, colour, text in (
            (-0.2, "top1_fraction", _STUDENT, "top-1"),
            (0.2, "balanced_accuracy_fraction", _BASELINE, "balanced accuracy"),
        ):
            heights = [100 * step[key] for step in ladder.values()]
            places = [i + offset for i in range(len(ladder))]
            axes.bar(places, heights, width=0.36, color=colour, label=text)
            for place, height in zip(places, heights, strict=True):
                axes.annotate(f"{height:.1f}", (place, height), xytext=(0, 2), ha="center",
                              textcoords="offset points", fontsize=9)  # fmt: skip
        axes.set_xticks(range(len(ladder)), [f"{n}\n({s['provenance'].split(':')[0]})"
                                             for n, s in ladder.items()])  # fmt: skip
        axes.set_ylim(0, 112)
        axes.set_ylabel("%")
        axes.legend(frameon=False, loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.2))
        return _svg(figure, "ladder", "Accuracy at each precision")


def curves_figure(report: dict[str, Any]) -> str:
    """Validation top-1 after each epoch."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(2.8)
        for name, colour in _NETS.items():
            rows = report["histories"][name]
            if rows:
                axes.plot([row["epoch"] for row in rows],
                          [100 * row["eval_top1_fraction"] for row in rows],
                          color=colour, label=name, marker="." if len(rows) < 40 else "")  # fmt: skip
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation top-1, %")
        axes.legend(frameon=False, loc="lower right")
        return _svg(figure, "curves", "Validation accuracy while training")


def recall_figure(report: dict[str, Any]) -> str:
    """Recall of each class for the three networks; the 30 the student is worst at."""
    recalls = report["student"]["per_class_recall"]
    worst = sorted((name for name, value in recalls.items() if value is not None),
                   key=recalls.__getitem__)[:30]  # fmt: skip
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(1.2 + 0.3 * len(worst))
        for name, colour in _NETS.items():
            values = [100 * (report[name]["per_class_recall"][c] or 0) for c in worst]
            axes.plot(values, range(len(worst)), "o", color=colour, label=name, markersize=7)
        axes.set_yticks(range(len(worst)), [_short(name) for name in worst])
        axes.set_ylim(len(worst) - 0.5, -0.5)
        axes.grid(axis="y", color=_LINE, linewidth=0.6)
        axes.set_xlabel("recall on the test images, %")
        axes.legend(frameon=False, loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1))
        return _svg(figure, "recall", "Recall of each class")


def latency_figure(report: dict[str, Any]) -> str | None:
    """Share of images that were done within a time; None without raw samples."""
    samples = report["device"]["samples_ms"]
    if not samples:
        return None
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(2.6)
        for scope, colour in (("host_ms", _STUDENT), ("end_to_end_ms", _TEACHER)):
            ordered = sorted(samples[scope])
            shares = [100 * (i + 1) / len(ordered) for i in range(len(ordered))]
            label = "network" if scope == "host_ms" else "from the image file"
            axes.step(ordered, shares, color=colour, label=label, where="post")
        axes.set_xlabel("ms for one image")
        axes.set_ylabel("images done, %")
        axes.legend(frameon=False, loc="lower right")
        return _svg(figure, "latency", "Distribution of the latency")


def _figure(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, name: str, title: str) -> str:
    """One inline <svg> whose ids begin with `name`, so that several stand on a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Title": title})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="([^"]+)"', rf' id="{name}-\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", svg)
    for sentinel, variable in _COLOURS.items():
        svg = svg.replace(sentinel, variable)
    head, rest = svg.split(">", 1)
    head = re.sub(r' width="[^"]*"| height="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{title}">{rest}'


def _short(name: str) -> str:
    return name if len(name) <= 32 else name[:31] + "\N{HORIZONTAL ELLIPSIS}"
