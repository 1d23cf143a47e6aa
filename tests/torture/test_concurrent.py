"""Two at once: on one run folder, on one shared cache, while a bundle is made; and one of two killed."""

import shutil
import signal

import pytest

from artifacts import bits_of, left_over
from suite_length import chance, rounds
from test_kill import NAMES, without

pytestmark = pytest.mark.slow


def one_gives_way(outcomes):
    """At least one is done, and who is not says who works there."""
    return min(done.code for done in outcomes) == 0 and all(
        done.code == 0 or (done.code == 1 and "is in use by process" in done.last_line) for done in outcomes
    )


def test_two_on_one_folder(fork_client, small_run, copy_of_run, tried):
    """The lock is taken before anything is looked at, so the second refuses at once."""
    run, draw, lost = copy_of_run, chance("one folder"), []
    verbs = ["run", "bundle", "quantize", "logits", "sweep"]
    expected = bits_of(small_run / "run")
    count = rounds(1, 8, 40)
    for _ in range(count):
        without(run, draw.choice(["logits", "quantize", "bundle"]))
        pair = [draw.choice(verbs[:2]), draw.choice(verbs)]
        jobs = [
            {
                "words": [
                    verb,
                    "r.toml",
                    "--run-dir",
                    run,
                    *(("--over", "distill.kd_weight=0.5") if verb == "sweep" else ()),
                ]
            }
            for verb in pair
        ]
        outcomes = fork_client.run_all(*jobs, cwd=small_run)
        after = fork_client.run("bundle", "r.toml", "--run-dir", run, cwd=small_run)
        found = bits_of(run)
        same = all(found[name] == expected[name] for name in NAMES[: NAMES.index("bundle") + 1])
        if not one_gives_way(outcomes) or after.code != 0 or not same or left_over(run):
            lost.append((pair, [done.err for done in outcomes], after.err, left_over(run)))
    tried("together", "two on one run folder", count, len(lost))
    assert not lost, lost


def test_two_runs_on_one_shared_cache(fork_client, small_run, copy_of_run, tmp_path, tried):
    """Both need the teacher's outputs at the same moment; in every other round one of them is killed."""
    other, draw, lost = tmp_path / "other", chance("shared"), []
    shutil.copytree(copy_of_run, other)
    expected = bits_of(small_run / "run")["logits"]
    count, kills, number = rounds(2, 6, 30), 0, -1
    while number + 1 < count or (not kills and number + 1 < count + 8):  # a kill may come too late
        number += 1
        shared = tmp_path / f"shared{number}"
        for run in (copy_of_run, other):
            without(run, "logits")
        jobs = [
            {"words": ["logits", "r.toml", "--run-dir", run, "--set", f"run.cache_dir={shared}"]}
            for run in (copy_of_run, other)
        ]
        if number % 2:
            jobs[0]["kill_after_s"] = draw.uniform(0.01, 0.4)
        outcomes = fork_client.run_all(*jobs, cwd=small_run)
        killed = outcomes[0].code == -signal.SIGKILL
        kills += killed
        again = fork_client.run(*jobs[0]["words"], cwd=small_run)
        for run in (copy_of_run, other):
            if bits_of(run).get("logits") != expected or left_over(run):
                lost.append((number, [done.err for done in outcomes], left_over(run)))
        if again.code or outcomes[1].code or (outcomes[0].code and not killed) or left_over(shared):
            lost.append((number, [done.err for done in [*outcomes, again]], left_over(shared)))
    tried("together", "two runs on one shared cache", number + 1, len(lost))
    tried("together", "two runs on one shared cache, one of them killed", kills)
    assert not lost, lost


def test_two_mend_one_file(fork_client, small_run, tmp_path, tried):
    model, lost = small_run / "run" / "export" / "student.onnx", []
    count = rounds(1, 4, 20)
    for _ in range(count):
        jobs = [{"words": ["check", model, "--fix", tmp_path / "fixed.onnx"]} for _ in range(2)]
        outcomes = fork_client.run_all(*jobs, cwd=tmp_path)
        if any("Traceback" in done.err for done in outcomes) or not (tmp_path / "fixed.onnx").is_file():
            lost.append([done.err for done in outcomes])
        if [path.name for path in tmp_path.iterdir()] != ["fixed.onnx"]:
            lost.append(list(tmp_path.iterdir()))
    tried("together", "two mend one file", count, len(lost))
    assert not lost, lost
