"""Green means run: who may skip, and that no test is passed over in any other way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SKIPPERS = {
    "skip",
    "skipif",
    "skipIf",
    "skipUnless",
    "importorskip",
    "xfail",
    "SkipTest",
    "expectedFailure",
    "collect_ignore",
    "collect_ignore_glob",
    "__test__",
    "pytest_ignore_collect",
    "pytest_collection_modifyitems",
}
# Who may call it: what CI has no place for.
CI_DOES_WITHOUT = {
    "edgedistill/test_gstreamer.py": "an OpenCV of Debian's, 500 MB with all it needs",
}
KNOWN = {
    "conftest.py": {"pytest_collection_modifyitems"},  # marks and groups
    "torture/conftest.py": {"pytest_collection_modifyitems"},  # TORTURE=short
    "board_behind_sshd.py": {"__test__"},  # no test, but TestBoard would be taken for one
}
OUTSIDE = tuple(f"/{folder}/" for folder in ("work", "root", "home")) + (
    "../shared",
)  # test_boundaries reads this file too


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(TESTS.rglob("*.py"))}


def skips_in(tree: ast.Module) -> list[tuple[int, str]]:
    """(line, what) of whatever keeps a test from running without `tools.lacking`."""
    found = []
    for node in ast.walk(tree):
        names = SKIPPERS.intersection(getattr(node, key, None) for key in ("attr", "id", "name") if key in node._fields)
        found += [(node.lineno, name) for name in names if not isinstance(node, ast.alias)]
        if isinstance(node, ast.ImportFrom | ast.Import):
            whole = getattr(node, "module", None) == "unittest"
            found += [
                (node.lineno, alias.name)
                for alias in node.names
                if alias.name in {*SKIPPERS, "unittest"} or (whole and alias.name != "mock")
            ]
        elif isinstance(node, ast.Module | ast.ClassDef):
            found += [(inner.lineno, "a test that is defined on a condition") for inner in _conditional_tests(node)]
        elif _is_test(node):
            found += [(line, "return before anything was asserted") for line in _early_returns(node)]
    return sorted(found)


def _is_test(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_")


def _early_returns(test: ast.FunctionDef) -> list[int]:
    """Lines of `if x: return` in the test itself, not in what it defines, ahead of its first assertion."""
    asserted, returned, ahead = [], [], list(test.body)
    while ahead:
        node = ahead.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.If) and isinstance(node.body[0], ast.Return):
            returned.append(node.lineno)
        if isinstance(node, ast.Assert) or getattr(node, "attr", None) in {"raises", "warns"}:
            asserted.append(node.lineno)
        ahead += ast.iter_child_nodes(node)
    return [line for line in returned if line < min(asserted, default=line + 1)]


def _conditional_tests(node: ast.Module | ast.ClassDef) -> list[ast.FunctionDef]:
    branches = [inner for inner in node.body if isinstance(inner, ast.If | ast.Try)]
    return [inner for branch in branches for inner in ast.walk(branch) if _is_test(inner)]


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import pytest\npytest.skip('x')", "skip"),
        ("from pytest import skip as gone", "skip"),
        ("from pytest import importorskip", "importorskip"),
        ("import pytest\nx = pytest.importorskip('x')", "importorskip"),
        ("import pytest\n@pytest.mark.skipif(True, reason='x')\ndef test_a(): assert 1", "skipif"),
        ("import pytest\npytest.param(1, marks=pytest.mark.xfail)", "xfail"),
        ("import unittest", "unittest"),
        ("from unittest import TestCase", "TestCase"),
        ("raise SkipTest", "SkipTest"),
        ("collect_ignore = ['test_a.py']", "collect_ignore"),
        ("class TestA:\n    __test__ = False", "__test__"),
        ("def pytest_collection_modifyitems(items): items.clear()", "pytest_collection_modifyitems"),
        ("def pytest_ignore_collect(): return True", "pytest_ignore_collect"),
        ("def test_a():\n    if not here(): return\n    assert x", "return before anything was asserted"),
        ("if here():\n    def test_a():\n        assert x", "a test that is defined on a condition"),
        (
            "try:\n    import x\nexcept ImportError: pass\nelse:\n    def test_a(): assert x",
            "a test that is defined on a condition",
        ),
    ],
)
def test_a_way_of_skipping_is_found(source, what):
    assert [found for _, found in skips_in(ast.parse(source))] == [what]


def test_what_is_no_skip_is_none():
    assert (
        skips_in(
            ast.parse(
                "from unittest import mock\ndef skip_unreadable(): pass\n"
                "def test_a():\n    def inner(): return 1\n    assert inner()\n    return"
            )
        )
        == []
    )


def test_only_tools_skips(trees):
    files = {str(path.relative_to(TESTS)): path for path in trees}
    for name in ("optional_tools.py", Path(__file__).name):
        del files[name]
    found = {name: skips_in(trees[path]) for name, path in files.items()}
    assert {name: {what for _, what in rows} for name, rows in found.items() if rows} == KNOWN
    assert {name for name, path in files.items() if "lacking_in_ci_too" in path.read_text()} == set(CI_DOES_WITHOUT)


def test_what_is_lacking_fails_in_ci_and_skips_elsewhere(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "from optional_tools import imported, lacking_in_ci_too, needs\n"
        "def test_program(): needs('no-such-program', 'none')\n"
        "def test_module(): imported('no_such_module', 'pip install it')\n"
        "def test_known(): lacking_in_ci_too('x', 'y')\n"
        "def test_here(): assert imported('json', '').loads('1') == 1; needs('sh', 'dash')\n"
    )
    for ci, counts in (("1", "2 failed, 1 passed, 1 skipped"), ("", "1 passed, 3 skipped")):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            env={"EDGEDISTILL_CI": ci, "PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert counts in done.stdout.splitlines()[-1]


def test_no_test_reads_outside_the_repository(trees):
    found = []
    for path, tree in trees.items():
        above = len(path.relative_to(TESTS.parent).parents)  # parents[above] lies outside
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant):
                outside = str(node.value).startswith(OUTSIDE) and path != Path(__file__)
            else:
                outside = (
                    isinstance(node, ast.Subscript)
                    and getattr(node.value, "attr", None) == "parents"
                    and ast.literal_eval(node.slice) >= above
                )
            if outside:
                found.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    assert not found
