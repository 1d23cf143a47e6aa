"""Nothing lies beside what the manifest lists but one `work` folder, and nothing compiled is read."""

import importlib.util
import os
import py_compile
import shutil
import subprocess
import sys

import pytest

from board_root import copied, served_twice, snapshot
from bundles import make_bundle
from edgedistill_device.errors import JetsonError, ManifestError
from edgedistill_device.manifest import read_manifest
from edgedistill_device.releases.incoming import accept, want
from edgedistill_device.releases.store import activate, rollback, status

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_children")]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return served_twice(tmp_path_factory.mktemp("template"))


@pytest.fixture
def served(template, tmp_path):
    """(board, previous, current)."""
    return copied(template, tmp_path)


def plant(folder, module, marker):
    """Compiled code that Python takes for `module`'s own, since source time and size are right."""
    source = os.path.join(folder, *module.split(".")) + ".py"
    info = os.stat(source)
    evil = marker + ".py"
    with open(evil, "w") as file:
        file.write("open(%r, 'w').close()\n" % (marker,))
    cached = importlib.util.cache_from_source(source)
    os.makedirs(os.path.dirname(cached), exist_ok=True)
    py_compile.compile(evil, cfile=cached, doraise=True)
    with open(cached, "rb+") as file:
        file.seek(8 if sys.version_info >= (3, 7) else 4)
        file.write((int(info.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little"))
        file.write((info.st_size & 0xFFFFFFFF).to_bytes(4, "little"))
    return cached


def file_in(*names):
    def harm(folder):
        path = os.path.join(folder, *names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write("x")

    return harm


def folder_in(*names):
    return lambda folder: os.makedirs(os.path.join(folder, *names))


def link_in(*names):
    return lambda folder: os.symlink("/tmp", os.path.join(folder, *names))


def work_is_a_link(folder):
    os.rename(os.path.join(folder, "work"), folder + ".work")
    os.symlink(folder + ".work", os.path.join(folder, "work"))


HARM = {
    "edgedistill_device/__pycache__": file_in("edgedistill_device", "__pycache__", "bench.cpython-36.pyc"),
    "edgedistill_device/verbs/__pycache__": file_in("edgedistill_device", "verbs", "__pycache__", "x.pyc"),
    "__pycache__": folder_in("__pycache__"),
    "golden/work": file_in("golden", "work", "x"),
    "edgedistill_device/work": folder_in("edgedistill_device", "work"),
    "golden/images/__pycache__": folder_in("golden", "images", "__pycache__"),
    "numpy": folder_in("numpy"),
    "json.py": file_in("json.py"),
    "edgedistill_device/bench.so": file_in("edgedistill_device", "bench.so"),
    "manifest.json.tmp": file_in("manifest.json.tmp"),
    "golden/extra": link_in("golden", "extra"),
    "work": work_is_a_link,
}


@pytest.mark.parametrize("name", sorted(HARM))
def test_what_is_not_listed_is_refused_by_every_verb(served, name):
    board, previous, current = served
    for release in (previous, current):
        HARM[name](board.path("releases", release))
    before = snapshot(board.root)
    folder = board.path("releases", current)
    for verb in (
        lambda: accept(board.root, current),
        lambda: want(board.root, current),
        lambda: activate(board.root, current),
        lambda: rollback(board.root),
        lambda: status(board.root, recover=True),
        lambda: read_manifest(folder),
    ):
        with pytest.raises(JetsonError) as error:
            verb()
        assert "bundle: %s is not in the manifest; remove it" % name in str(error.value)
    assert snapshot(board.root) == before


@pytest.mark.parametrize("name", sorted(HARM))
def test_a_new_copy_of_the_bundle_clears_it_away(served, name):
    board, _, current = served
    folder = board.path("releases", current)
    clean = snapshot(folder)
    HARM[name](folder)
    shutil.copytree(board.bundle, board.path("incoming", current))
    assert want(board.root, current)["release_exists"] is False
    assert accept(board.root, current)["already"] is False
    after = snapshot(folder)
    if name == "work":  # the link to what the board made is gone, and with it the proof
        clean = {path: kept for path, kept in clean.items() if path.split("/")[0] != "work"}
    assert after == clean


def test_a_bundle_does_not_bring_compiled_code(served):
    board = served[0]
    compiled = {"edgedistill_device/__pycache__": None}
    os.makedirs(os.path.join(board.bundle, *compiled))
    try:
        with open(os.path.join(board.bundle, "edgedistill_device", "__pycache__", "x.pyc"), "w") as file:
            file.write("x")
        release = board.send(serial=3)
    finally:
        shutil.rmtree(os.path.join(board.bundle, *compiled))
    accept(board.root, release)
    assert not [path for path in snapshot(board.path("releases", release)) if "__pycache__" in path]


def jetson(folder, *words):
    """As a user types it there: nothing keeps Python from writing compiled files."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    process = subprocess.Popen(
        [sys.executable, "-m", "edgedistill_device"] + list(words),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    out, error = process.communicate()
    assert "Traceback" not in error
    return process.returncode, out, error


def test_a_verb_by_hand_leaves_the_release_as_it_is(served, fresh_children):
    board, _, current = served
    folder, before = board.path("releases", current), snapshot(board.root)
    for words in (["verify"], ["classify", os.path.join("golden", "images")], ["health"]):
        code, _, error = jetson(folder, words[0], "--backend", "onnxruntime", *words[1:])
        assert code == 0, error
    after = snapshot(board.root)
    assert set(after) == set(before)
    assert rollback(board.root)["previous"] == current
    assert rollback(board.root)["id"] == current


@pytest.mark.parametrize(
    "module",
    [
        "edgedistill_device.inference.classify",
        "edgedistill_device.__main__",
        "edgedistill_device.verbs.verify",
        "edgedistill_device.releases.health",
    ],
)
def test_compiled_code_is_not_read_in_place(served, tmp_path, module, fresh_children):
    board, _, current = served
    folder, marker = board.path("releases", current), str(tmp_path / "ran")
    cached = plant(folder, module, marker)
    for verb in (["verify"], ["health"], ["classify", "golden/images"]):
        code, _, error = jetson(folder, verb[0], "--backend", "onnxruntime", *verb[1:])
        assert (code, error.count("\n")) == (1, 1)
        assert "__pycache__ is not in the manifest; remove it" in error
    for call in (lambda: activate(board.root, current), lambda: status(board.root, recover=True)):
        with pytest.raises(ManifestError, match="__pycache__ is not in the manifest"):
            call()
    assert os.path.exists(cached)
    assert not os.path.exists(marker)


def test_what_is_planted_works_where_nobody_looks(tmp_path, fresh_children):
    """Else the test above would show nothing."""
    bundle, marker = make_bundle(tmp_path / "bundle"), str(tmp_path / "ran")
    plant(bundle, "edgedistill_device.inference.classify", marker)
    subprocess.check_call(
        [sys.executable, "-c", "import edgedistill_device.inference.classify"],
        cwd=bundle,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
    )
    assert os.path.exists(marker)


def test_planted_code_in_the_first_module_is_seen_by_the_agent(served, tmp_path):
    """Python reads that one before any code of ours runs: so the agent looks before Python does."""
    board, _, current = served
    marker = str(tmp_path / "ran")
    plant(board.path("releases", current), "edgedistill_device.__init__", marker)
    for call in (
        lambda: activate(board.root, current),
        lambda: accept(board.root, current),
        lambda: status(board.root, recover=True),
    ):
        with pytest.raises(ManifestError, match="edgedistill_device/__pycache__ is not in the manifest"):
            call()
    assert not os.path.exists(marker)
