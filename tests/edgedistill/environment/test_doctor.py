"""`edgedistill doctor` on this computer, and with parts taken away."""

import http.server
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import types
from importlib import metadata
from pathlib import Path

import pytest

from edgedistill.environment import doctor, requirements
from edgedistill.environment.requirements import install_command

ROOT = Path(__file__).parents[3]


def named(name: str) -> doctor.Check:
    return next(check for check in doctor.examine() if check.name == name)


def bounds(requirements: list[str]) -> dict[str, str]:
    """{distribution: lowest version} of requirement lines such as `timm>=1.0.20,<2`."""
    return dict(re.match(r"([\w.-]+)>=([\w.]+)", line).groups() for line in requirements)


def test_looks_for_what_pyproject_requires():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ours = {row.name: row.lowest for row in requirements.PACKAGES}
    assert ours == bounds(project["dependencies"])
    extras = project["optional-dependencies"]
    theirs = [line for extra, lines in extras.items() if extra not in ("dev", "fuzz") for line in lines]
    assert {row.name: row.lowest for row in requirements.EXTRAS} == bounds(theirs)
    assert install_command("optuna", "shtab") == "pip install 'optuna>=4' 'shtab>=1.13'"


def test_this_computer_is_ready_and_every_failure_has_cost_and_cure():
    checks = doctor.examine()
    assert [check.name for check in checks if check.required and not check.ok] == []
    assert all(check.cost and check.cure for check in checks if check.ok is False)
    assert len({(check.part, check.name) for check in checks}) == len(checks)
    assert doctor.text_from_checks(checks).splitlines()[-1].startswith("ready")


def test_reads_versions_that_pip_reads():
    assert named("torch").found == metadata.version("torch")


def test_a_missing_package_is_told_with_its_cost_and_fails(monkeypatch):
    real = metadata.version

    def version(name):
        if name == "onnxslim":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    check = named("onnxslim")
    assert (check.ok, check.required, check.found) == (False, True, "not installed")
    text = doctor.text_from_checks(doctor.examine())
    assert "MISSING onnxslim" in text
    assert "cure: pip install 'onnxslim>=0.1.98'" in text
    assert text.splitlines()[-1] == "not ready: onnxslim"


@pytest.mark.parametrize(
    ("version", "ok"), [("1.9.9", False), ("1.26", True), ("1.26.0rc1", True), ("1.100.0+cpu", True), ("2.0", True)]
)
def test_versions_are_compared_as_numbers(monkeypatch, version, ok):
    monkeypatch.setattr(metadata, "version", lambda name: version)
    assert named("numpy").ok is ok


def test_a_package_whose_module_is_gone_is_not_ok(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "timm" else real(n))
    check = named("timm")
    assert not check.ok
    assert "its module timm is gone" in check.found
    assert "--force-reinstall" in check.cure


def test_two_versions_of_opencv_are_caught(monkeypatch):
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda n: "4.9.0.80" if n == "opencv-python-headless" else real(n))
    check = named("cv2")
    assert not check.ok
    assert "opencv-python-headless 4.9.0.80" in check.found
    assert f"opencv-python-headless=={real('opencv-python')}" in check.cure


def test_an_emptied_cv2_is_caught(monkeypatch):
    """After `pip uninstall` of one of the two wheels, `import cv2` works and gives nothing."""
    emptied = types.ModuleType("cv2")
    emptied.__spec__ = importlib.machinery.ModuleSpec("cv2", None)
    monkeypatch.setitem(sys.modules, "cv2", emptied)
    check = named("cv2")
    assert not check.ok
    assert "cv2 does not answer" in check.found


def test_programs_are_looked_for_on_the_path(monkeypatch, tmp_path):
    broken = tmp_path / "openssl"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (named("openssl").ok, named("openssl").required) == (False, False)
    assert named("sftp").found == "not on the PATH"


def test_the_board_is_not_claimed_to_be_examined():
    board = [check for check in doctor.examine() if check.part == "board"]
    names = " ".join(check.name for check in board)
    assert all(part in names for part in ("JetPack", "TensorRT", "numpy", "cv2"))
    assert {check.ok for check in board} == {None}


def test_command_line_and_no_heavy_import():
    code = (
        "import sys; from edgedistill.cli.main import main; code = main(['doctor', '--json'])\n"
        "assert not {'torch', 'timm', 'albumentations', 'onnxruntime'} & set(sys.modules)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert {row["name"] for row in rows} >= {"Python", "torch", "ssh", "disk"}


def test_less_than_the_limit_never_reads_like_the_limit(monkeypatch):
    from edgedistill.environment import doctor

    usage = shutil.disk_usage(".")
    usage = usage.__class__(usage.total, usage.used, int(doctor.FREE_DISK_GIB * 2**30) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    check = doctor._disk()
    assert check.ok is False
    assert f"{doctor.FREE_DISK_GIB:.1f} GiB" not in check.found


def test_a_fact_of_this_computer_is_no_absent_package(monkeypatch):
    monkeypatch.delenv("NO_ALBUMENTATIONS_UPDATE")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    lines = doctor.text_from_checks(doctor.examine()).splitlines()
    (shown,) = (line for line in lines if "albumentations offline" in line)
    assert shown.split() == ["note", "albumentations", "offline", "update", "check", "on"]


@pytest.fixture
def hub():
    """A server on this computer: answers HEAD with the code of its path, and nothing to /silent."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            if self.path == "/silent":
                self.server.released.wait(20)
            self.send_response(200 if self.path == "/silent" else int(self.path[1:]))
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.released = threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.released.set()
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "ok", "said"),
    [
        ("/200", True, "/200 answers"),
        ("/401", True, "/401 answers"),
        ("/silent", False, "cannot be reached: no answer within 0.2 s"),
        (None, False, "cannot be reached: HF_HUB_OFFLINE is set"),
        ("file", False, "HF_ENDPOINT is no address"),
        ("closed", False, "cannot be reached: [Errno 111] Connection refused"),
    ],
)
def test_the_model_hub(monkeypatch, hub, path, ok, said):
    ends = {None: hub, "file": "file:///etc/hostname", "closed": "http://127.0.0.1:9"}
    monkeypatch.setenv("HF_ENDPOINT", ends.get(path) or hub + path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "" if path else "1")
    monkeypatch.setattr(doctor, "HUB_SECONDS", 0.2 if path == "/silent" else 10.0)
    check = doctor._hub()
    assert (check.ok, check.required) == (ok, False)
    assert said in check.found
