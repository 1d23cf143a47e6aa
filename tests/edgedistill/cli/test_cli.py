import json
import os
import resource
import subprocess
import sys

import pytest

from end_to_end import ROOT, SOURCES, edgedistill, write_images

HEAVY = (
    "torch",
    "timm",
    "albumentations",
    "cv2",
    "onnx",
    "onnxruntime",
    "matplotlib",
    "pydantic",
    "numpy",
)


def test_help_imports_nothing_heavy():
    program = (
        "import sys\nfrom edgedistill.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "quickstart" in done.stdout


def test_help_costs_at_most_fifteen_hundredths_of_a_cpu_second():
    """CPU time of a child, the least of five; not wall time, which a busy machine stretches."""
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "edgedistill", "--help"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs) <= 0.15


@pytest.mark.parametrize("words", [[], ["fly"], ["run"], ["check", "m.onnx", "--wings"]])
def test_wrong_usage_is_exit_code_two(tmp_path, words):
    assert edgedistill(*words, cwd=tmp_path, check=False).returncode == 2


def test_force_names_a_stage(tmp_path):
    (tmp_path / "r.toml").write_text('[data]\ntrain = "x"\n')
    done = edgedistill("run", "r.toml", "--force", "distil", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "--force distil: no such stage; there are: data, schedule, teacher" in done.stderr


def test_a_missing_recipe_is_one_line(tmp_path):
    done = edgedistill("run", "none.toml", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "edgedistill run: none.toml: no such recipe; make one with `edgedistill new --train DIR none.toml`"
    )


def test_doctor(tmp_path):
    done = edgedistill("doctor", "--json", cwd=tmp_path)
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["torch"]["ok"]
    assert checks["cv2"]["ok"]
    assert not checks["board"]["ok"]
    text = edgedistill("doctor", cwd=tmp_path).stdout
    assert "all that is required is here" in text


def test_doctor_sees_two_opencvs_of_two_versions(monkeypatch):
    from edgedistill.environment import doctor

    versions = {"opencv-python": "5.0.0", "opencv-python-headless": "4.9.0"}
    monkeypatch.setattr(doctor, "_version", versions.get)
    check = doctor._two_opencvs()
    assert not check.ok
    assert "--force-reinstall" in check.cure
    assert "MISSING cv2" in doctor.text_from_checks([check])


def test_new_writes_a_recipe_that_runs(tmp_path):
    from edgedistill.config.loading import load_recipe

    write_images(tmp_path / "my images", per_class=30)
    write_images(tmp_path / "more", per_class=70, seed=3, kinds=("disc",))
    for path in (tmp_path / "more" / "disc").iterdir():
        path.rename(tmp_path / "my images" / "disc" / f"m{path.name}")
    (tmp_path / "my images" / "disc" / "bad.png").write_bytes(b"x")
    done = edgedistill("new", "--train", "my images", "--target", "jetson-nano", "r.toml", cwd=tmp_path)
    assert "disc: 100" in done.stdout
    assert "imbalance 3.3 to 1" in done.stdout
    assert "UNREADABLE: 1 file," in done.stdout
    recipe = load_recipe(tmp_path / "r.toml")
    assert recipe.data.metric == "balanced_accuracy_fraction"
    assert recipe.data.balance == "loss"
    assert recipe.data.skip_unreadable
    edgedistill("data", "r.toml", cwd=tmp_path)
    again = edgedistill("new", "--train", "my images", "r.toml", cwd=tmp_path, check=False)
    assert again.returncode == 1
    assert "r.toml exists; remove it" in again.stderr


def test_new_tells_leaks_between_the_users_splits(tmp_path):
    write_images(tmp_path / "a", per_class=4)
    write_images(tmp_path / "b", per_class=4, seed=9)
    leaked = (tmp_path / "a" / "disc" / "000.png").read_bytes()
    (tmp_path / "b" / "disc" / "same.png").write_bytes(leaked)
    done = edgedistill("new", "--train", "a", "--val", "b", "r.toml", cwd=tmp_path)
    assert "LEAKS: 1 pair of look-alikes between train and val" in done.stdout


def test_new_with_a_pool_and_more_images_than_can_be_compared(tmp_path, monkeypatch):
    from edgedistill.config.loading import load_recipe
    from edgedistill.new_project.inspect import inspect_and_write

    write_images(tmp_path / "a", per_class=4)
    write_images(tmp_path / "pool", per_class=2, seed=9)
    monkeypatch.setattr("edgedistill.new_project.inspect.MOST_IMAGES", 11)
    monkeypatch.setattr("edgedistill.data.scan.MOST_IMAGES", 11)
    said = []
    inspect_and_write(tmp_path / "a", None, "jetson-nano", tmp_path / "r.toml", said.append, tmp_path / "pool")
    assert "6 images in the unlabelled pool" in said
    assert any("12 images are too many to compare each with each: look-alikes were not" in line for line in said)
    data = load_recipe(tmp_path / "r.toml").data
    assert (data.unlabelled, data.store) == (str(tmp_path / "pool"), "files")
    assert data.near_duplicate_similarity == 0


def test_check_on_the_runs_own_file(finished_run):
    model = finished_run / "runs" / "r" / "export" / "student.onnx"
    done = edgedistill("check", model, "--target", "jetson-nano", "--json", cwd=finished_run)
    assert json.loads(done.stdout)["fits"] is True
    int8 = finished_run / "runs" / "r" / "quantize" / "student_int8.onnx"
    done = edgedistill("check", int8, "--target", "jetson-nano", cwd=finished_run, check=False)
    assert done.returncode == 1
    assert "has no INT8 hardware and refuses Q/DQ nodes" in done.stdout


def test_quickstart_names_what_is_missing(tmp_path):
    """As on a machine without the extra: the package is hidden from the import system."""
    program = (
        "import sys, importlib.util\nreal = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n, *a: None if n == 'elpv_dataset' else real(n, *a)\n"
        "from edgedistill.cli.main import main\nraise SystemExit(main(['quickstart']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": SOURCES},
    )
    assert done.returncode == 1
    assert "pip install 'elpv-dataset>=1.0.0.post1'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("typed", "repeated"),
    [
        (["run", "sub/r.toml"], "edgedistill run sub/r.toml"),
        (["report", "my parts.toml", "--seeds", "2"], "edgedistill run 'my parts.toml' --seeds 2"),
        (
            ["quickstart", "--run-dir", "here", "--set", "distill.epochs=3"],
            "edgedistill quickstart --run-dir here --set distill.epochs=3",
        ),
        (
            ["run", "r.toml", "--set", 'deploy.sign_command=["secret"]', "--set", "data.balance=loss"],
            "edgedistill run r.toml --set data.balance=loss",
        ),
    ],
)
def test_advice_repeats_the_command_without_secrets(typed, repeated):
    from edgedistill.api.options import command_of
    from edgedistill.cli.main import build_parser
    from edgedistill.cli.run_options import options_from_args

    args = build_parser().parse_args(typed)
    assert command_of(getattr(args, "recipe", None), options_from_args(args)) == repeated


@pytest.mark.slow
def test_who_reads_less_than_all_is_no_fault(tmp_path):
    """`edgedistill VERB | head -1`: no traceback, the exit code that SIGPIPE gives, the recipe is there."""
    write_images(tmp_path / "a", per_class=4)
    for words in (["new", "--train", "a", "r.toml"], ["students"], ["--help"]):
        command = [sys.executable, "-m", "edgedistill", *words]
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            command,
            cwd=tmp_path,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": SOURCES},
        )
        os.close(writing)
        # argparse itself passes over a pipe that is closed under its help.
        assert (done.returncode, done.stderr) in ([(141, ""), (0, "")] if words == ["--help"] else [(141, "")])
    assert (tmp_path / "r.toml").exists()


def test_two_thousand_classes_are_a_summary(tmp_path):
    from edgedistill.data.summary import lines_of_classes

    totals = {f"c{number}": number + 1 for number in range(2000)}
    lines = lines_of_classes({name: str(total) for name, total in totals.items()}, totals)
    assert len(lines) <= 20
    assert lines[0] == "  c1999: 2000"
    assert lines[-1] == "  c0: 1"
    assert any("more classes, median 1001 images a class" in line for line in lines)
