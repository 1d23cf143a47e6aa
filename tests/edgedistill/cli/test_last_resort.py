"""What the operating system or a library refuses is one line and exit code 1, whatever the verb."""

import os
import subprocess
import sys

import pytest

from edgedistill.cli import main as cli
from edgedistill.errors import is_out_of_memory
from end_to_end import edgedistill, write_project


def one_line(done, *words):
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize("words", [["students"], ["students", "--json"], ["doctor"]])
def test_a_full_disk_behind_stdout(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "edgedistill", *words], stdout=full, stderr=-1, text=True)
    assert done.returncode == 1
    one_line(done, f"edgedistill {words[0]}: ", "No space left on device")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "a/b"), "a/b: Permission denied\n"),
        (OSError(38, "Function not implemented"), "cannot read or write: Function not implemented\n"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "expected text in UTF-8\n"),
    ],
)
@pytest.mark.parametrize(("words", "prefix"), [(["run", "r.toml"], "edgedistill run: "), ([], "edgedistill: ")])
def test_what_no_stage_met(monkeypatch, capsys, words, prefix, error, line):
    def refuses(argv):
        raise error

    monkeypatch.setattr(cli, "_run", refuses)
    assert cli.main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith(prefix)
    assert said.endswith(line)


def test_memory_that_ran_out_below_an_error_of_another_name():
    """As in `torch.save`, which ends the file whose write had no memory left."""
    error = RuntimeError("unexpected pos 6668800 vs 2474396")
    assert not is_out_of_memory(error)
    error.__context__ = MemoryError()
    assert is_out_of_memory(error)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("last-resort"), per_class=10)


def test_events_into_a_pipe_that_nobody_reads(place):
    os.mkfifo(place / "pipe")
    done = edgedistill("data", "r.toml", "--events", "pipe", cwd=place, check=False)
    assert done.returncode == 1
    one_line(done, "--events pipe: No such device or address", "start the program that reads this pipe first")


def test_more_threads_than_a_computer_has(place):
    done = edgedistill("run", "r.toml", "--set", "run.threads=99999999999", cwd=place, check=False)
    assert done.returncode == 1
    one_line(done, "run.threads", "1024")


@pytest.mark.parametrize(
    ("storage", "code", "words"),
    [("nonsense", 2, "Could not parse"), ("sqlite:////nowhere/at/all/study.db", 1, "unable to open database file")],
)
def test_a_sweeps_storage_is_opened_before_anything_is_trained(place, storage, code, words):
    axis = ("--over", "distill.temperature=1,2")
    done = edgedistill("sweep", "r.toml", *axis, "--storage", storage, cwd=place, check=False)
    assert done.returncode == code
    one_line(done, f"--storage {storage}", words, "expected a database's URL")
    assert not (place / "runs/r/teacher").exists()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_traceback(tmp_path, closed):
    command = f"{sys.executable} -m edgedistill completion bash {closed}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (" >&-" not in f" {closed}")
