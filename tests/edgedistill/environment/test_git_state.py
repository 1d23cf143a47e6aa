"""What is said of the checkout that made a bundle: its commit, and whether files differ from it."""

import subprocess

import pytest

from edgedistill.bundles import provenance
from edgedistill.environment.git import commit_of, is_changed


@pytest.fixture
def checkout(tmp_path):
    def git(*words):
        who = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "code.py").write_text("a = 1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return tmp_path, git("rev-parse", "HEAD")


def test_a_file_that_git_knows_is_changed_and_a_stray_one_is_not(checkout):
    folder, commit = checkout
    assert (commit_of(folder), is_changed(folder)) == (commit, False)
    (folder / "stray.txt").write_text("mine")
    assert not is_changed(folder)
    (folder / "below" / "code.py").write_text("a = 2\n")
    assert (commit_of(folder), is_changed(folder)) == (commit, True)
    assert provenance._code(folder) == {
        "name": "edgedistill",
        "digest": {"gitCommit": commit},
        "annotations": {"changed_since": True},
    }


def test_a_project_around_it_says_nothing(checkout):
    folder, _ = checkout
    (folder / "below" / "code.py").write_text("a = 2\n")
    assert (commit_of(folder / "below"), is_changed(folder / "below")) == (None, False)
