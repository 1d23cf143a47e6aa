"""What the torture tests share: a finished small run, commands by fork, and the results log."""

import json
import shutil

import pytest

from end_to_end import made_once, write_images
from fork_client import ForkClient
from small_recipe import small_recipe
from suite_length import MODE, SEED


@pytest.fixture(scope="session")
def fork_client():
    return ForkClient()


@pytest.fixture(scope="session")
def small_run(fork_client, tmp_path_factory):
    """A folder with images/, r.toml and run/: every stage done, undisturbed."""

    def make(folder):
        write_images(folder / "images", per_class=12)
        (folder / "r.toml").write_text(small_recipe())
        done = fork_client.run("run", "r.toml", "--run-dir", "run", cwd=folder)
        assert done.code == 0, done.err

    return made_once(tmp_path_factory, "small", make)


@pytest.fixture
def copy_of_run(small_run, tmp_path):
    """A copy of the finished run's artifacts; the images and the recipe stay where they are."""
    shutil.copytree(small_run / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def tried(record_property):
    """`tried(subject, what, times, lost=0)` writes a row of the table at the end.

    `times` counts what happened: kills that hit, errors that were raised. A row with none fails the test.
    """
    never = []

    def note(subject, what, times, lost=0):
        record_property("torture", [subject, what, times, lost])
        if times < 1:
            never.append(f"{subject}, {what}")

    yield note
    assert not never, f"nothing of this ever happened, so nothing was shown: {'; '.join(never)}"


@pytest.fixture
def said(record_property):
    """`said(what, figures)` writes a line below the table."""

    def note(what, figures):
        record_property("torture said", f"{what}: {json.dumps(figures)}")

    return note


def pytest_collection_modifyitems(config, items):
    """What TORTURE=short has no time for is deselected, and pytest says how many those are."""
    if MODE == "short":
        late = [item for item in items if item.get_closest_marker("beyond_short")]
        items[:] = [item for item in items if item not in late]
        config.hook.pytest_deselected(items=late)


def pytest_report_header():
    return f"torture: TORTURE={MODE} TORTURE_SEED={SEED}"
