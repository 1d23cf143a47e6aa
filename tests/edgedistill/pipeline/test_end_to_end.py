"""The whole pipeline in processes of their own: resume, freshness, exclusion, the bundle elsewhere."""

import contextlib
import hashlib
import json
import random
import shutil
import subprocess
import sys
import time

import pytest

from edgedistill.errors import RunFolderError
from edgedistill.pipeline.run_folder import RunFolder
from end_to_end import CHECKPOINTS, RECIPE, ROOT, command_words, edgedistill, write_images

pytestmark = pytest.mark.slow

TRAINED = ("teacher", "baseline", "distill")


def weights_of(run):
    return {s: hashlib.sha256((run / s / "weights.safetensors").read_bytes()).hexdigest() for s in TRAINED}


def until_free(run):
    """A killed command that was forked dies a moment after what stood for it."""
    while True:
        with contextlib.suppress(RunFolderError), RunFolder(run):
            return
        time.sleep(0.01)


def test_every_stage_leaves_its_json_and_the_report_holds_what_the_design_promises(finished_run):
    run = finished_run / "runs" / "r"
    report = json.loads((run / "report" / "report.json").read_text())
    for net in ("teacher", "baseline", "student"):
        assert {"top1_fraction", "parameters", "macs", "file_bytes"} <= set(report[net])
    assert set(report["accuracy_ladder"]) == {"float", "onnx", "fp16", "int8"}
    assert report["device"]["requested"] == "int8"
    assert report["device"]["executed_on_target"] == "fp16"
    assert "stand-in" in report["device"]["provenance"]
    assert {"data", "teacher", "distill", "deploy"} <= set(report["cost"])
    assert report["published"]["rows"] == []
    assert report["published"]["reason"].startswith("unknown: no published measurement")
    assert report["accuracy_ladder"]["onnx"]["agreement_fraction"] == 1
    assert (run / "report" / "report.html").stat().st_size > 20_000
    assert not list(run.glob("*.partial")) + list(run.rglob("*.tmp")) + list(run.rglob("checkpoint.pt"))
    said = (finished_run / "said.txt").read_text()
    assert "retention" in said
    assert said.strip().endswith("report.html")


def test_what_is_said_of_a_run_s_own_files_and_trainings_is_so(finished_run):
    run, files = finished_run / "runs" / "r", {"images": "data/images.csv", "student": "distill/weights.safetensors"}
    files |= {"teacher": "teacher/weights.safetensors"}
    digests = {name: hashlib.sha256((run / file).read_bytes()).hexdigest() for name, file in files.items()}
    made_from = json.loads((run / "bundle/bundle/manifest.json").read_text())["provenance"]
    assert made_from["images_sha256"] == digests["images"]
    assert made_from["student_weights_sha256"] == digests["student"]
    stated = json.loads((run / "bundle/bundle/provenance.json").read_text())["predicate"]["buildDefinition"]
    of_names = {row["name"]: row["digest"].get("sha256") for row in stated["resolvedDependencies"] if "name" in row}
    expected = {"images.csv": "images", "teacher weights": "teacher", "student weights": "student"}
    assert {name: of_names[name] for name in expected} == {name: digests[file] for name, file in expected.items()}
    said = json.loads((run / "quantize/quantize.json").read_text())
    for precision in ("int8", "fp16"):
        assert said[f"{precision}_file_bytes"] == (run / f"quantize/student_{precision}.onnx").stat().st_size
    ranges = json.loads((run / "quantize/amax.json").read_text())
    widest = said["widest_range"]
    assert widest["amax"] == max(ranges.values()) == ranges[widest["tensor"]]
    for stage, epochs in (("teacher", 3), ("baseline", 4), ("distill", 4)):
        trained = json.loads((run / stage / f"{stage}.json").read_text())
        cost, seconds = trained["artifact"]["cost"], trained["artifact"]["seconds"]
        images = trained["steps"] * 16
        assert 0 < cost["training_seconds"] <= seconds + 0.01
        assert cost["images_per_second"] == pytest.approx(images / cost["training_seconds"])
        assert trained["steps"] == epochs * (60 // 16)


def test_with_the_normalisation_in_the_graph_the_board_only_resizes(finished_run, tmp_path):
    """Manifest, goldens and INT8 ranges follow the file; the accuracy is what it was."""
    known, ours = finished_run / "runs" / "r", tmp_path / "r"
    shutil.copytree(known, ours)
    done = edgedistill(
        "run", finished_run / "r.toml", "--run-dir", ours, "--set", "export.normalise_in_graph=true", cwd=tmp_path
    )
    assert "] distill: up to date" in done.stderr
    before, after = (json.loads((run / "report/report.json").read_text()) for run in (known, ours))
    bundle = ours / "bundle" / "bundle"
    spec = json.loads((bundle / "manifest.json").read_text())["preprocess"]
    assert (spec["mean"], spec["std"]) == ([0, 0, 0], [1 / 255] * 3)
    assert json.loads((bundle / "calibration.json").read_text())["image"] > 100
    old = json.loads((known / "bundle/bundle/calibration.json").read_text())
    assert old["image"] < 5
    ladders = before["accuracy_ladder"], after["accuracy_ladder"]
    assert [ladder["onnx"]["agreement_fraction"] for ladder in ladders] == [1, 1]
    assert ladders[0]["float"] == ladders[1]["float"]
    done = subprocess.run(
        [sys.executable, "-m", "edgedistill_device", "verify", "--backend", "onnxruntime"],
        cwd=bundle,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1])["top1_agreement_fraction"] == 1


def test_the_student_learns(finished_run):
    """Three shapes that a net of this size tells apart: chance is a third."""
    report = json.loads((finished_run / "runs" / "r" / "report" / "report.json").read_text())
    history = report["histories"]["student"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert set(history[0]["terms"]) == {"kd", "label", "feature"}
    assert history[-1]["terms"]["kd"] < history[0]["terms"]["kd"]


def test_a_second_run_skips_everything(finished_run):
    again = edgedistill("run", "r.toml", cwd=finished_run)
    assert again.stderr.count("up to date") == 12
    first = again.stderr.splitlines()[0]
    assert first.startswith("target.precision = 'int8': Jetson Nano 4GB has no INT8 hardware (sm_53)")


def test_changing_one_key_redoes_only_what_depends_on_it(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "copy")
    before = weights_of(tmp_path / "copy" / "runs" / "r")
    # Absolute paths of the images differ in the copy, so the run folder alone is copied back.
    done = edgedistill(
        "run",
        finished_run / "r.toml",
        "--run-dir",
        tmp_path / "copy" / "runs" / "r",
        "--set",
        "distill.temperature=1.5",
        cwd=tmp_path,
    )
    said = done.stderr
    for stage in ("data", "teacher", "logits", "baseline"):
        assert f"] {stage}: up to date" in said
    assert "distill.temperature was 2.0, is 1.5" in said
    after = weights_of(tmp_path / "copy" / "runs" / "r")
    assert before["baseline"] == after["baseline"]
    assert before["distill"] != after["distill"]


def test_killed_at_any_instant_it_ends_with_the_same_bits(finished_run, tmp_path):
    """SIGKILL at random moments of the trainings, then the run is finished undisturbed."""
    chance = random.Random(7)
    run = tmp_path / "run"
    command = [*command_words(), "evaluate", str(finished_run / "r.toml"), "--run-dir", str(run), *CHECKPOINTS]
    kills = 0
    for _ in range(4):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 1 + chance.random() * 4
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
        until_free(run)
    edgedistill("evaluate", finished_run / "r.toml", "--run-dir", run, cwd=ROOT)
    assert kills >= 1
    assert weights_of(run) == weights_of(finished_run / "runs" / "r")
    assert not list(run.rglob("*.tmp")) + list(run.glob("*.partial")) + list(run.glob("*.old"))


def test_two_runs_in_one_folder_exclude_each_other(finished_run):
    with RunFolder(finished_run / "runs" / "r"):
        second = edgedistill("run", "r.toml", cwd=finished_run, check=False)
    assert second.returncode == 1
    assert "is in use by process" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_weak_teacher_stops_the_run_and_a_lower_gate_does_not_train_it_again(finished_run, tmp_path):
    words = (
        "logits",
        finished_run / "r.toml",
        "--run-dir",
        tmp_path / "weak",
        "--set",
        "teacher.epochs=1",
        "--set",
        "teacher.peak_lr=1e-9",
        "--set",
    )
    done = edgedistill(*words, "teacher.min_top1_fraction=0.99", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "validation images, teacher.min_top1_fraction asks for 0.990" in done.stderr
    assert not (tmp_path / "weak" / "logits").exists()
    again = edgedistill(*words, "teacher.min_top1_fraction=0.0", cwd=tmp_path)
    assert "] teacher: up to date" in again.stderr


def test_a_finished_teacher_serves_again_without_training(finished_run, tmp_path):
    weights = finished_run / "runs" / "r" / "teacher" / "weights.safetensors"
    edgedistill(
        "teacher",
        finished_run / "r.toml",
        "--run-dir",
        tmp_path / "r",
        "--set",
        "teacher.epochs=0",
        "--set",
        f"teacher.weights={weights}",
        cwd=tmp_path,
    )
    assert (tmp_path / "r" / "teacher" / "weights.safetensors").read_bytes() == weights.read_bytes()


def test_a_teacher_of_other_classes_is_refused(finished_run, tmp_path):
    write_images(tmp_path / "images", per_class=16, kinds=("disc", "stripes"))
    (tmp_path / "images" / "stripes").rename(tmp_path / "images" / "waves")
    (tmp_path / "r.toml").write_text(RECIPE)
    weights = finished_run / "runs" / "r" / "teacher" / "weights.safetensors"
    done = edgedistill(
        "teacher",
        "r.toml",
        "--set",
        "teacher.epochs=0",
        "--set",
        f"teacher.weights={weights}",
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    assert "teacher.epochs = 0" in done.stderr.splitlines()[-1]
    assert "take weights whose head is for these classes" in done.stderr.splitlines()[-1]


def test_a_gate_on_int8_and_training_for_it_leave_their_marks(finished_run, tmp_path):
    """Whether INT8 passes a gate of 0 points on this set is not for a test to say; what follows is."""
    shutil.copytree(finished_run / "runs" / "r", tmp_path / "r")
    words = (
        "quantize",
        finished_run / "r.toml",
        "--run-dir",
        tmp_path / "r",
        "--set",
        "quantize.max_int8_drop_points=0",
        "--set",
        "quantize.qad_epochs=1",
    )
    edgedistill(*words, cwd=tmp_path)
    made = json.loads((tmp_path / "r" / "quantize" / "quantize.json").read_text())
    gate = made["int8_gate"]
    qad, last = made["qad"], gate["curve"][-1]
    assert qad["kept"] is all(qad["after"][key] >= qad["before"][key] for key in ("top1_fraction", "sqnr_db"))
    assert gate["passed"] is ((qad["after"] if qad["kept"] else last)["drop_points"] <= 0)
    left = last["float_layers"] if gate["passed"] and not qad["kept"] else 0
    assert len(gate["kept_float"]) == left
    chosen = json.loads((tmp_path / "r" / "quantize" / "calibration_images.json").read_text())
    assert len(chosen["images"]) == 16
    files = {path.name for path in (tmp_path / "r" / "quantize").iterdir()}
    assert files == {
        "amax.json",
        "calibration_images.json",
        "quantize.json",
        "student_fp16.onnx",
        "student_int8.onnx",
        "test_logits.npz",
        *(["student_int8_weights.onnx"] if qad["kept"] else []),  # for the calibration cache
    }
    trained = json.loads((tmp_path / "r" / "distill" / "distill.json").read_text())["steps"]
    assert 1 <= qad["steps"] <= max(1, trained / 10)


def test_weights_made_for_int8_reach_the_bundle_with_their_ranges(finished_run, tmp_path):
    """For a board with INT8. What is kept on this set is not for a test to say; what follows is."""
    shutil.copytree(finished_run / "runs" / "r", tmp_path / "r")
    orin = ("--set", "target.device=orin-nano-8gb", "--set", "target.precision=int8")
    for verb in ("export", "quantize", "bundle"):
        done = edgedistill(verb, finished_run / "r.toml", "--run-dir", tmp_path / "r", *orin, cwd=tmp_path)
        if verb == "quantize":
            assert "PTQ: equalisation " in done.stderr
    quantized, bundle = tmp_path / "r" / "quantize", tmp_path / "r" / "bundle" / "bundle"
    ptq = json.loads((quantized / "quantize.json").read_text())["ptq"]
    assert (ptq["fitted_images"], ptq["held_out_images"]) == (12, 4)
    ours, theirs = quantized / "student_int8_weights.onnx", bundle / "model_int8_weights.onnx"
    assert ours.is_file() is theirs.is_file() is any(step["kept"] for step in ptq["steps"])
    if ours.is_file():
        assert ours.read_bytes() == theirs.read_bytes()
    assert json.loads((bundle / "calibration.json").read_text()) == json.loads((quantized / "amax.json").read_text())
    assert (bundle / "model.onnx").read_bytes() == (tmp_path / "r" / "export" / "student.onnx").read_bytes()


def test_the_bundle_runs_on_pythons_that_have_no_edgedistill(finished_run):
    """From the bundle's own folder, its own device code; -I keeps this checkout out of the path."""
    bundle = finished_run / "runs" / "r" / "bundle" / "bundle"
    program = (
        "import sys; sys.path.insert(0, '.'); from edgedistill_device.__main__ import main; raise SystemExit(main())"
    )
    for verb in ("verify", "bench"):  # bench wants what has passed
        done = subprocess.run(
            [sys.executable, "-I", "-B", "-c", program, verb, "--backend", "onnxruntime"],
            cwd=bundle,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        last = json.loads(done.stdout.strip().splitlines()[-1])
        assert last["verb"] == verb
        assert "stand-in" in last["provenance"]
    shutil.rmtree(bundle / "work", ignore_errors=True)
