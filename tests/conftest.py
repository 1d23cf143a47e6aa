"""Shared fixtures: one finished run of the whole pipeline, made once."""

import gc
import os
import shutil
import signal

import numpy as np
import pytest

from end_to_end import RECIPE, add_private, edgedistill, made_once, write_images

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
# A shell's background job ignores Ctrl-C, and what a test starts inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
MEMORY, ROOM_BYTES = "/dev/shm", 6 << 30
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
    # A disk takes milliseconds for each fsync of thousands, and both workers wait meanwhile.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def make_finished_run(folder):
    add_private(write_images(folder / "images", per_class=30))
    (folder / "r.toml").write_text(RECIPE)
    said = edgedistill("run", "r.toml", cwd=folder, fresh=True).stdout
    (folder / "said.txt").write_text(said)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """A folder of this worker with images/, r.toml and runs/r: every stage done."""
    return made_once(tmp_path_factory, "pipeline", make_finished_run)


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(items):
    """Who needs the finished run is slow. Files with slow tests come first: none is then left for the end,
    when one worker of two would wait for it. Before those of the finished run come the others: the workers
    then get to it at different times, and neither waits while the other makes it."""
    of_the_run = {item.path for item in items if "finished_run" in item.fixturenames}
    for item in items:
        if "finished_run" in item.fixturenames:
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path in of_the_run))


def pytest_collection_finish():
    """What was imported stays: no search for garbage need look through it again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    gc.unfreeze()  # or Triton's bindings, which are among it, count their functions as leaked when Python ends


def pytest_terminal_summary(terminalreporter):
    """What the torture suite tried, in one table at the end."""
    from torture.results_log import table

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
