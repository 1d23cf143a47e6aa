import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from edgedistill.core.files import sha256_of, write_bytes, write_json
from edgedistill.errors import RunFolderError
from edgedistill.pipeline import run_folder
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.records.result import Result

INPUTS = {"recipe": {"distill.temperature": 2.0}, "artifacts": {}}


def make(run, text="weights", inputs=INPUTS):
    out = run.begin("distill", inputs)
    (out / "w.bin").write_text(text)
    run.finish("distill", inputs, Result({"top1": 1}, ("w.bin",)), 1.0)


def test_an_artifact_is_fresh_until_what_it_was_made_from_changes(tmp_path):
    with RunFolder(tmp_path) as run:
        assert run.why_stale("distill", INPUTS) == "not done yet"
        make(run)
        assert run.why_stale("distill", INPUTS) is None
        other = {"recipe": {"distill.temperature": 4.0}, "artifacts": {}}
        assert run.why_stale("distill", other) == "recipe: distill.temperature was 2.0, is 4.0"
        (tmp_path / "distill" / "w.bin").write_text("altered")
        assert "w.bin is missing or was changed" in run.why_stale("distill", INPUTS)


def test_a_key_that_is_null_in_one_and_absent_in_the_other_hides_no_later_change(tmp_path):
    with RunFolder(tmp_path) as run:
        make(run, inputs={"recipe": {"a": None, "b": 1}, "source files": "1"})
        assert run.why_stale("distill", {"recipe": {"b": 1}, "source files": "1"}) is None
        assert run.why_stale("distill", {"recipe": {"b": 1}, "source files": "2"}) == 'source files was "1", is "2"'


def test_a_touched_but_equal_file_is_still_fresh_and_read_once(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(run_folder, "sha256_of", lambda path: (read.append(path), sha256_of(path))[1])
    with RunFolder(tmp_path) as run:
        make(run)
        read.clear()
        file = tmp_path / "distill" / "w.bin"
        os.utime(file, (1, 1))
        assert run.why_stale("distill", INPUTS) is None
        assert run.why_stale("distill", INPUTS) is None
        assert read == [file]
        file.write_text("WEIGHTS")  # as long as before, and its time set back
        os.utime(file, (1, 1))
        assert "w.bin is missing or was changed" in run.why_stale("distill", INPUTS)


def test_the_digest_tells_content_not_time(tmp_path):
    with RunFolder(tmp_path) as run:
        make(run)
        first = run.digest("distill")
        make(run)
        assert run.digest("distill") == first
        make(run, "others")
        assert run.digest("distill") != first
        partial = run.begin("distill", INPUTS)
        (partial / "w.bin").write_text("weights")  # the file of `make`, with another value beside it
        run.finish("distill", INPUTS, Result({"top1": 2}, ("w.bin",)), 1.0)
        assert run.digest("distill") != first


def test_work_under_way_is_kept_for_the_same_inputs_and_dropped_for_others(tmp_path):
    with RunFolder(tmp_path) as run:
        (run.begin("distill", INPUTS) / "checkpoint").write_text("half")
        assert (run.begin("distill", INPUTS) / "checkpoint").exists()
        assert not (run.begin("distill", {"recipe": {}}) / "checkpoint").exists()


@pytest.mark.parametrize("moment", ["before the old one moves", "after the old one moved"])
def test_a_kill_while_folders_are_swapped_loses_nothing(tmp_path, moment):
    with RunFolder(tmp_path) as run:
        make(run, "old")
        make(run, "new")
        os.replace(tmp_path / "distill", tmp_path / "distill.partial")
        if moment.startswith("before"):
            make_old = tmp_path / "distill"
            make_old.mkdir()
            (make_old / "distill.json").write_text("{}")
        else:
            (tmp_path / "distill.old").mkdir()
        assert run.why_stale("distill", INPUTS) is None
        assert (tmp_path / "distill" / "w.bin").read_text() == "new"
        assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "distill"]


def test_a_failed_write_leaves_the_previous_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_bytes(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError, match="No space left on device; free some space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_of_two_that_write_one_file_both_succeed_and_one_stays(tmp_path):
    """As two deployments to one board do with its receipt."""
    path, contents = tmp_path / "x.json", [bytes([65 + n]) * 200_000 for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda content: [write_bytes(path, content) for _ in range(10)], contents))
    assert path.read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_killed_just_before_the_swap_and_asked_for_again_no_half_passes_for_a_whole(tmp_path):
    """The whole one is put into its place first; the half of the second is not taken for it."""
    with RunFolder(tmp_path) as run:
        make(run, "whole")
        os.replace(tmp_path / "distill", tmp_path / "distill.partial")  # as the kill left it
        out = run.begin("distill", INPUTS)  # --force: nobody asked whether it is fresh
        (out / "w.bin").write_text("half")
        assert run.why_stale("distill", INPUTS) is None
        assert (out / "w.bin").read_text() == "half"  # a question removes nothing
        run.forget_begun("distill", INPUTS)
        assert (tmp_path / "distill" / "w.bin").read_text() == "whole"
        assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "distill"]


def test_bytes_of_a_file_name_that_are_no_text_come_back(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    write_json(tmp_path / "x.json", {"path": name})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"path": name}


def test_a_full_disk_has_room_for_the_lock(tmp_path):
    with RunFolder(tmp_path):
        pass
    code = (
        "import resource, sys; from pathlib import Path; from edgedistill.pipeline.run_folder import RunFolder\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "with RunFolder(Path(sys.argv[1])): print('held')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("held\n", "")
