"""Every numpy name, keyword and word of a keyword in the board's code is one that this numpy has.

Run on numpy 1.13.3 (JetPack 4) and on numpy 2 (JetPack 7) by tests/device_test.sh, it also sees lines that
no other test runs.
"""

import ast
import glob
import inspect
import os

import numpy as np
import pytest

from bundles import ROOT

FILES = sorted(
    path
    for package in ("jetson", "calibration")
    for path in glob.glob(os.path.join(ROOT, package, "**", "*.py"), recursive=True)
)
# What a signature does not tell: words and methods, with the numpy that they came with.
NEWER_WORDS = {("kind", "stable"): "1.15", ("method", None): "1.22", ("initial", None): "1.15", ("where", None): "1.17"}


def dotted(node):
    """["linalg", "norm"] of `np.linalg.norm`, or None."""
    names = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return names if isinstance(node, ast.Name) and node.id == "np" and names else None


def problems(source):
    """["line 3: np.quantile is not in numpy 1.13.3", ...] of one file's text."""
    found, unseen = [], object()
    for node in ast.walk(ast.parse(source)):
        names = dotted(node)
        if names:
            value = np
            for name in names:
                value = getattr(value, name, unseen)
            if value is unseen:
                found.append((node.lineno, "np.%s is not in numpy %s" % (".".join(names), np.__version__)))
        if isinstance(node, ast.Call):
            found += [(node.lineno, line) for line in _keywords(node, dotted(node.func))]
    return ["line %d: %s" % pair for pair in sorted(set(found))]


def _keywords(call, names):
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if not names and not hasattr(np.ndarray, method):
        return
    for keyword in call.keywords:
        try:
            word = ast.literal_eval(keyword.value)
        except ValueError:  # an expression
            word = None
        word = word if isinstance(word, str) else None
        newer = NEWER_WORDS.get((keyword.arg, word)) or NEWER_WORDS.get((keyword.arg, None))
        if newer:
            yield "%s=%s came with numpy %s" % (keyword.arg, word or "", newer)
        elif names and not _takes(names, keyword.arg):
            yield "np.%s has no %s in numpy %s" % (".".join(names), keyword.arg, np.__version__)


def _takes(names, keyword):
    value = np
    for name in names:
        value = getattr(value, name, None)
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):  # builtins of old releases do not tell
        return True
    return any(p.name == keyword or p.kind == p.VAR_KEYWORD for p in parameters)


@pytest.mark.parametrize("path", FILES, ids=[os.path.relpath(path, ROOT) for path in FILES])
def test_every_name_is_one_of_this_numpy(path):
    with open(path, encoding="utf-8") as file:
        assert problems(file.read()) == []


def test_what_the_check_sees():
    assert problems("np.argsort(x, kind='stable')\nx.argsort(kind='stable')") == [
        "line 1: kind=stable came with numpy 1.15",
        "line 2: kind=stable came with numpy 1.15",
    ]
    assert problems("x.max(initial=0)") == ["line 1: initial= came with numpy 1.15"]
    assert problems("np.take_it(x)") == ["line 1: np.take_it is not in numpy " + np.__version__]
    assert problems("np.median(x, axes=0)") == ["line 1: np.median has no axes in numpy " + np.__version__]
    assert problems("np.argsort(x, kind='mergesort')\nsorted(x, key=1)") == []
