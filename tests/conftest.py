"""Shared fixtures: one finished run of the whole road, made once."""

import gc
import os

import numpy as np
import pytest

from road import RECIPE, add_private, edgedistill, write_images

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """A folder with images/, r.toml and runs/r: every stage done."""
    folder = tmp_path_factory.mktemp("road")
    add_private(write_images(folder / "images", per_class=30))
    (folder / "r.toml").write_text(RECIPE)
    folder_run = edgedistill("run", "r.toml", cwd=folder, fresh=True)
    (folder / "said.txt").write_text(folder_run.stdout)
    return folder


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(items):
    """Who needs the finished run is slow. Files with slow tests come first: none is then left for the end,
    when one worker of two would wait for it."""
    for item in items:
        if "finished_run" in item.fixturenames:
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
    """What was imported stays: no search for garbage need look through it again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    gc.unfreeze()  # or Triton's bindings, which are among it, count their functions as leaked when Python ends


def pytest_terminal_summary(terminalreporter):
    """What the torture suite tried, in one table at the end."""
    from torture.ledger import table

    noted = [
        pair
        for key in ("passed", "failed")
        for report in terminalreporter.stats.get(key, [])
        for pair in report.user_properties
    ]
    rows = [row for name, row in noted if name == "torture"]
    if rows:
        terminalreporter.section("torture: what was tried, what was lost")
        for line in [*table(rows), *(line for name, line in noted if name == "torture said")]:
            terminalreporter.write_line(line)
