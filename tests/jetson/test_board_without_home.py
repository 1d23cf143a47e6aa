"""A user without a home folder: nothing is written into the folder that a verb is run from."""

import os
import subprocess
import sys

import pytest

import fakes
from bundles import make_bundle
from edgedistill_device.board import home

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_children")]

NO_HOMES = {"unset": None, "empty": "", "root": "/", "dots": "/..", "relative": "somewhere", "tilde": "~"}


@pytest.mark.parametrize("value", sorted(NO_HOMES))
def test_what_is_no_home_folder(monkeypatch, tmp_path, value):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if NO_HOMES[value] is not None:
        monkeypatch.setenv("HOME", NO_HOMES[value])
    monkeypatch.setattr(home.pwd, "getpwuid", without_entry)
    assert home.home_folder() is None
    assert home.user_folder("XDG_CACHE_HOME", ".cache") is None
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the XDG specification
    assert home.user_folder("XDG_CACHE_HOME", ".cache") is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert home.user_folder("XDG_CACHE_HOME", ".cache") == str(tmp_path)
    monkeypatch.setattr(home.pwd, "getpwuid", lambda uid: type("Entry", (), {"pw_dir": "/srv/edge"}))
    assert home.home_folder() == "/srv/edge"


def test_home_comes_before_the_passwd_entry(monkeypatch):
    monkeypatch.setenv("HOME", "/srv/edge")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert home.user_folder("XDG_CACHE_HOME", ".cache") == "/srv/edge/.cache"


def without_entry(uid):
    raise KeyError("getpwuid(): uid not found: %d" % uid)


def run(bundle, environment, *words):
    """A verb as a user without a passwd entry: by a uid that has none where this is root, else by a patch."""
    code = (
        "import os, pwd, runpy, sys\n"
        "def getpwuid(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = getpwuid\n"
        "sys.argv[1:] = %r\n"
        "sys.path.insert(0, '.')\n"
        "runpy.run_module('edgedistill_device', run_name='__main__')" % (list(words),)
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=bundle,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    out, error = process.communicate()
    assert "Traceback" not in error
    return process.returncode, error


@pytest.mark.parametrize("value", ["unset", "root", "relative", "unwritable"])
def test_build_writes_no_folder_that_is_not_the_bundles(tmp_path, value):
    bundle = make_bundle(tmp_path / "bundle")
    before = set(os.listdir(bundle)) | {"work"}
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    environment.update(PYTHONPATH=fakes.write_modules(tmp_path / "fake", "8.2", sm=53), PYTHONDONTWRITEBYTECODE="1")
    if value == "unwritable":
        (tmp_path / "file").write_text("")
        environment["HOME"] = str(tmp_path / "file")  # no folder can be made in it
    elif NO_HOMES[value] is not None:
        environment["HOME"] = NO_HOMES[value]
    code, error = run(bundle, environment, "build")
    assert code == 0, error
    assert "the timing cache was not stored" in error
    assert set(os.listdir(bundle)) == before
    code, error = run(bundle, environment, "verify")  # the bundle is still the signed one
    assert code == 0, error


def test_an_agents_verb_without_a_home_asks_for_the_folder(tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    environment = {k: v for k, v in os.environ.items() if k != "HOME"}
    code, error = run(bundle, environment, "status")
    assert code == 2
    assert "--root" in error.splitlines()[-1]
    assert "~" not in os.listdir(bundle)
