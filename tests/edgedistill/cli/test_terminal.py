"""What a run says: on a real pty, into a pipe, as events; and what TAB offers in real shells."""

import json
import os
import shlex
import subprocess
import sys

import pytest

from edgedistill.progress.events import EventLog
from edgedistill.progress.reporter import Talk
from edgedistill.progress.task import Work
from end_to_end import SOURCES, edgedistill
from optional_tools import needs
from terminals import COLOURS, CTRL_C, Terminal

pytestmark = pytest.mark.slow


def events_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_live_view_ctrl_c_and_the_command_that_goes_on(finished_run, tmp_path):
    words = [
        "baseline",
        finished_run / "r.toml",
        "--run-dir",
        tmp_path / "a b",
        "--set",
        "distill.epochs=4000",
        "--set",
        "run.tensorboard=false",
        "--events",
        tmp_path / "events.jsonl",
    ]
    terminal = Terminal(*words, cwd=tmp_path, columns=60)
    # 120 steps take longer than the second between two events, however fast the computer is.
    terminal.until(r"epoch ([4-9]\d|\d{3,})/4000[\s\S]+best so far [\d.]+ \(epoch \d+\)")
    terminal.type(CTRL_C)
    assert terminal.exit_code() == 130
    assert "run      data, baseline: not done yet" in terminal.text
    for shown in (r"[4/12] baseline  ", "/4000, step ", " images/s, ", " left", "label 1."):
        assert shown in terminal.text
    assert terminal.raw.index("\x1b[?25l") < terminal.raw.rindex("\x1b[?25h")  # the cursor is back
    assert "Traceback" not in terminal.text
    *_, last = terminal.text.strip().splitlines()
    assert "edgedistill baseline: stopped in stage baseline; what is finished" in last
    command = shlex.split(last.partition("to resume: ")[2])
    assert command == ["edgedistill", *map(str, words)]

    told = events_of((tmp_path / "events.jsonl").read_text())
    assert [told[0]["event"], told[-1]["event"]] == ["message", "run_stopped"]
    assert told[-1]["reason"] == "interrupted"
    assert told[-1]["stage"] == "baseline"
    work = next(event for event in told if event["event"] == "progress" and event["epochs"])
    assert (work["epochs"], work["total"]) == (4000, 12000)
    assert work["images_per_second"] > 0
    assert work["seconds_left"] > 0
    assert set(work["terms"]) == {"label"}
    epochs = [event for event in told if event["event"] == "epoch"]
    assert [event["epoch"] for event in epochs] == list(range(1, len(epochs) + 1))
    best = max(epochs, key=lambda event: event["eval_top1_fraction"])
    assert (epochs[-1]["best"], epochs[-1]["best_epoch"]) == (
        best["eval_top1_fraction"],
        best["epoch"],
    )

    again = edgedistill(*command[1:], "--dry-run", cwd=tmp_path).stdout
    assert "keep     data: finished" in again
    assert "run      baseline: not done yet; resumes where it stopped" in again


@pytest.mark.parametrize(
    ("settings", "coloured", "live"),
    [({}, True, True), ({"NO_COLOR": "1"}, False, True), ({"TERM": "dumb"}, False, False)],
)
def test_colours_and_cursor_on_a_terminal(finished_run, settings, coloured, live):
    """A run in which all is up to date, with a second one's exclusion as the error."""
    terminal = Terminal("distill", "r.toml", cwd=finished_run, columns=60, **settings)
    assert terminal.exit_code() == 0
    plan = terminal.text[terminal.text.index("  keep ") :].split("[1/12]")[0]
    assert (max(map(len, plan.splitlines())) <= 60) is live, "wrapped between words where there is a live view"
    assert (
        "  keep     data, teacher, logits, distill: finished, and nothing that it depends on has changed"
        in " ".join(plan.replace("\r", "").replace("\n    ", " ").splitlines())
    )
    assert "[1/12] data: up to date" in terminal.text
    assert bool(COLOURS.search(terminal.raw)) is coloured
    assert ("\x1b[?25l" in terminal.raw) is live


@pytest.mark.parametrize(
    ("settings", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_in_a_pipe(tmp_path, settings, coloured):
    environment = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    done = subprocess.run(
        [sys.executable, "-m", "edgedistill", "run", "none.toml"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": SOURCES, **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert bool(COLOURS.search(done.stderr)) is coloured


def test_events_on_stdout_and_the_plan(finished_run):
    done = edgedistill("run", "r.toml", "-q", "--events", "-", cwd=finished_run)
    assert done.stderr == ""
    told = events_of(done.stdout)
    started = next(event for event in told if event["event"] == "run_started")
    assert started["version"] == 1
    assert {row["action"] for row in started["plan"]} == {"keep"}
    assert [event["stage"] for event in told if event["event"] == "stage_kept"] == [
        row["stage"] for row in started["plan"]
    ]
    assert told[-1] == {**told[-1], "event": "run_finished", "result": "runs/r/report/report.json"}
    both = edgedistill("run", "r.toml", "--json", "--events", "-", cwd=finished_run, check=False)
    assert both.returncode == 2
    assert "both want stdout" in both.stderr


def test_dry_run_says_what_and_why_and_touches_nothing(finished_run, tmp_path):
    words = ("run", finished_run / "r.toml", "--dry-run")
    done = edgedistill(*words, "--run-dir", tmp_path / "new", cwd=finished_run)
    assert done.stdout.splitlines()[1].startswith("  run      data, teacher, logits, baseline, distill")
    assert not (tmp_path / "new").exists()
    done = edgedistill(*words, "--json", "--set", "distill.temperature=1.5", "--force", "deploy", cwd=finished_run)
    rows = {row["stage"]: row for row in json.loads(done.stdout)["stages"]}
    assert rows["logits"]["action"] == "keep"
    assert rows["distill"]["reason"] == "recipe: distill.temperature was 2.0, is 1.5"
    assert rows["distill"]["last_seconds"] > 0
    assert rows["quantize"] == {**rows["quantize"], "action": "perhaps", "reason": "if distill comes out different"}
    assert rows["deploy"]["reason"] == "asked for"
    assert rows["report"]["reason"] == "if distill or deploy comes out different"


@pytest.mark.parametrize("where", ["e.jsonl", "-"])
def test_events_of_a_run_folder_whose_name_is_no_text(finished_run, tmp_path, where):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/r\xffn")
    words = ["data", os.fsdecode(finished_run / "r.toml"), "-q", "--run-dir", folder, "--events"]
    edgedistill(*words, "-", cwd=tmp_path)
    done = subprocess.run(  # of the stage that is done, which needs no PyTorch, with the streams that Python opens
        [sys.executable, "-m", "edgedistill", *words, where],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": SOURCES},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout if where == "-" else (tmp_path / where).read_bytes()
    told = {event["event"]: event for event in events_of(text.decode())}
    assert told["run_started"]["run_dir"] == folder
    assert told["run_finished"]["result"] == f"{folder}/data/data.json"


def test_a_reader_that_leaves_does_not_stop_the_run(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    talk = Talk(quiet=True, tell=EventLog(str(tmp_path / "pipe")))
    talk.say("one")
    assert events_of(os.read(reader, 1000).decode())[0]["text"] == "one"
    os.close(reader)
    talk.say("two")
    talk.say("three")
    assert capsys.readouterr().err.count("Broken pipe; continuing without events") == 1


def test_speed_and_time_left_by_hand():
    """Ten counts a second for 10 s, then a pause of 10 s, then five a second."""
    now, told = [0.0], []
    work = Work("w", 300, 50, unit="view", images_each=4, epochs=3, on_change=told.append, clock=lambda: now[0])
    assert (work.images_per_second, work.seconds_left, work.best) == (None, None, None)
    now[0] = 10.0
    work(150, {"kd": 0.5})
    assert (work.images_per_second, work.seconds_left) == (40.0, 15.0)
    now[0] = 20.0
    work(150)
    now[0] = 30.0
    work(200)
    assert work.seconds_left == 100 / (150 / 30)
    assert work.count() == "epoch 1/3, view 200/300"
    assert Work("w", 13_500_000, 1_200_000, unit="byte").count() == "1.2/13.5 MB"
    assert Work("loading PyTorch", 1).count() == ""
    assert work.images_per_second == 4 * 50 / 20  # since 10 s: the last mark that is old enough
    for epoch, value in enumerate((0.5, 0.75, 0.75), start=1):
        work.end_epoch({"epoch": epoch, "eval_top1_fraction": value})
    assert work.best == ("top-1", 0.75, 2, 0.75)
    assert told == ["progress"] * 3 + ["epoch"] * 3


KILL_LINE = b"\x15"
COMPLETE_IN = {
    "bash": 'source "$1"; COMP_WORDS=($2); COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )); '
    '_shtab_edgedistill; printf "%s\\n" "${COMPREPLY[@]}"',
    "fish": 'source $argv[1]; complete --do-complete "$argv[2]"',
}
OFFERED = {
    "edgedistill disti": "distill",
    "edgedistill run --dry": "--dry-run",
    "edgedistill check --target agx-x": "agx-xavier",
    "edgedistill run r.toml --force quant": "quantize",
}


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_completion_by_the_shell_itself(tmp_path, shell):
    needs(shell, shell)
    script = tmp_path / f"edgedistill.{shell}"
    script.write_text(edgedistill("completion", shell, cwd=tmp_path).stdout)
    for line, word in OFFERED.items():
        command = [
            shell,
            "-c",
            COMPLETE_IN[shell],
            *(["sh"] if shell == "bash" else []),
            script,
            line,
        ]
        said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert {row.split("\t")[0].strip() for row in said.splitlines()} == {word}


def test_completion_by_typing_tab_in_zsh(tmp_path):
    needs("zsh", "zsh")
    (tmp_path / "_edgedistill").write_text(edgedistill("completion", "zsh", cwd=tmp_path).stdout)
    shell = Terminal("-f", "-i", program=("zsh",), cwd=tmp_path, columns=200)
    shell.type(b"PS1='> '; fpath+=$PWD; autoload -U compinit; compinit -D -u; echo re''ady\n")
    shell.until("ready")
    for line, word in OFFERED.items():
        shell.type(line.encode() + b"\t").until(line.rpartition(" ")[0] + " " + word + " ", seconds=20)
        shell.type(KILL_LINE)
    shell.type(b"exit\n")
    shell.exit_code()
