"""predict: classes of images, or figures, from a trained student on this computer."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgedistill.config.task import SEPARATOR
from edgedistill.core.text_table import table_lines, terminal_width
from edgedistill.errors import UsageError

_PARTS = ("name", "value", "unit")  # of a figure
OF_ESTIMATE = ("--target", "--precision", "--image-px", "--classes", "--learn")  # its options, which were ours


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="RUN|BUNDLE", help="run folder, or bundle folder")
    parser.add_argument("images", type=Path, nargs="*", metavar="IMAGES", help="image files, and folders of images")
    parser.add_argument("--top", type=int, default=3, metavar="K", help="classes of each image (default: %(default)s)")
    parser.add_argument(
        "--model", choices=("student", "teacher"), default="student", help="network of the run (default: %(default)s)"
    )
    parser.add_argument(
        "--annotate", type=Path, metavar="DIR", help="write copies of the images with class and probability drawn in"
    )
    parser.add_argument(
        "--explain", type=Path, metavar="DIR", help="write what the network sees and which places spoke for the class"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a line of JSON for each image")
    form.add_argument("--csv", action="store_true", help="print CSV, a line for each image")


def refuse_old_form(argv: Sequence[str]) -> None:
    """
    Args:
        argv: of `predict`.

    Raises:
        UsageError: the options of `predict` when it estimated speed.
    """
    old = next((word for word in argv[1:] if word.partition("=")[0] in OF_ESTIMATE), None)
    if old is not None:
        raise UsageError(
            f"predict classifies images and has no {old.partition('=')[0]}; the speed of a network is estimated by: "
            "edgedistill estimate, with the same options"
        )


def run(args: argparse.Namespace) -> int:
    from edgedistill.api.predictions import predict

    show = _json_line if args.json else _Csv(args.top) if args.csv else None

    def on_image(row: dict[str, Any]) -> None:
        if row["reason"] is not None:
            print(f"edgedistill predict: {row['reason']}", file=sys.stderr)
        if show is not None:
            show(row)

    rows = predict(
        args.source,
        args.images,
        top=args.top,
        model=args.model,
        annotate=args.annotate,
        explain=args.explain,
        on_image=on_image,
    )
    if show is None:
        print("\n".join(text_from_rows(rows, terminal_width())))
    return 1 if any(row["reason"] is not None for row in rows) else 0


def text_from_rows(rows: list[dict[str, Any]], columns: int | None = None) -> list[str]:
    """A table: the image, the answer where there are promises or `unknown`, then each class with its probability; or
    the figures, or the labels.

    Args:
        columns: of the terminal; None: any.
    """
    if "top" not in rows[0]:
        return table_lines([_figures(row) for row in rows], right=(), width=columns, head=False)
    most = max(len(row["top"]) for row in rows)
    cells = []
    for row in rows:
        pairs = [text for one in row["top"] for text in (one["class"], _share(one))]
        pairs = pairs or ["not classified"]
        cells.append((row["path"], *_answer(row), *pairs, *[""] * (2 * most - len(pairs))))
    width, first = max(map(len, cells)), 2 + len(_answer(rows[0]))
    rows_of_cells = [(*row, *[""] * (width - len(row))) for row in cells]
    return table_lines(rows_of_cells, right=range(first, width, 2), width=columns, head=False)


def _figures(row: dict[str, Any]) -> tuple[str, str]:
    from edgedistill_device.inference.answers import line_of

    return row["path"], "no answer" if row["reason"] is not None else line_of(row, digits=1)


def _answer(row: dict[str, Any]) -> list[str]:
    """Answer and what decided it; nothing of a student that has no rule for it."""
    return [row[key] or "" for key in ("class", "decided_by") if key in row]


def _share(one: dict[str, Any]) -> str:
    """The probability of a class, or the cosine and the name of its nearest enrolled image."""
    return f"{one['cosine']:.3f} {one['nearest']}" if "cosine" in one else f"{100 * one['probability']:.1f} %"


def _json_line(row: dict[str, Any]) -> None:
    print(json.dumps(row))


class _Csv:
    """Lines of CSV: path, class and decided_by where there is a rule, then class_N and probability_N or cosine_N,
    then reason."""

    def __init__(self, top: int):
        self._top, self._writer = top, csv.writer(sys.stdout, lineterminator="\n")
        self._headed = False

    def __call__(self, row: dict[str, Any]) -> None:
        if "values" in row:
            self._figures(row)
            return
        if "labels" in row:
            self._labels(row)
            return
        if not self._headed:
            share = "cosine" if any("cosine" in one for one in row["top"]) else "probability"
            names = [f"{name}_{number}" for number in range(1, self._top + 1) for name in ("class", share)]
            answered = [key for key in ("class", "decided_by") if key in row]
            self._writer.writerow(["path", *answered, *names, "reason"])
            self._headed = True
        pairs = [value for one in row["top"] for value in (one["class"], one.get("probability", one.get("cosine")))]
        self._writer.writerow(
            [row["path"], *_answer(row), *pairs, *[""] * (2 * self._top - len(pairs)), row["reason"] or ""]
        )

    def _labels(self, row: dict[str, Any]) -> None:
        """As many columns for every image: labels and probabilities each in one cell."""
        if not self._headed:
            self._writer.writerow(["path", "labels", "probabilities", "reason"])
            self._headed = True
        cells = (SEPARATOR.join(str(one[key]) for one in row["labels"]) for key in ("label", "probability"))
        self._writer.writerow([row["path"], *cells, row["reason"] or ""])

    def _figures(self, row: dict[str, Any]) -> None:
        if not self._headed:
            self._writer.writerow(
                ["path", *(f"{part}_{n}" for n in range(1, 1 + len(row["values"])) for part in _PARTS), "reason"]
            )
            self._headed = True
        self._writer.writerow(
            [row["path"], *(one[part] for one in row["values"] for part in _PARTS), row["reason"] or ""]
        )
