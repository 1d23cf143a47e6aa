"""What a student can be taught on and against: pool, synthesised images, mixed views, maps, embeddings."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from edgedistill.config.loading import load_recipe
from edgedistill.errors import RecipeError, TrainingError
from edgedistill.pipeline.plan import MIXED_BF16
from edgedistill.pipeline.runner import run_stages
from edgedistill.progress.reporter import Talk
from edgedistill.training import autotune
from end_to_end import RECIPE, write_images

pytestmark = pytest.mark.slow

SHORT = ["teacher.epochs=4", "teacher.batch_size=8", "distill.epochs=2", "distill.feature_weight=0"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Labelled images, a pool beside them, and a run whose teacher and data serve all tests."""
    folder = tmp_path_factory.mktemp("lessons")
    write_images(folder / "images", per_class=20)
    write_images(folder / "pool", per_class=10, seed=7)
    (folder / "r.toml").write_text(RECIPE)
    run(folder, folder / "run", "teacher")
    return folder


def run(place, run_dir, only, *settings):
    recipe = load_recipe(place / "r.toml", [*SHORT, *settings])
    path = run_stages(recipe, run_dir, Talk(quiet=True), only=only)
    return json.loads(path.read_text())


@pytest.fixture
def run_dir(place, tmp_path):
    shutil.copytree(place / "run", tmp_path / "run")
    return tmp_path / "run"


def terms(history):
    return [row["terms"] for row in history]


UNTRAINED = "distill.peak_lr=1e-12"  # the student stays as it began: nearly equal logits for every class


def holds_what_the_cache_asks_of_an_untrained_student(history, run_dir, temperature=2.0):
    """Mean over the epochs, one for each cached view: T^2 KL(teacher | equal probabilities) over all that is cached."""
    shards = sorted((run_dir / "logits").glob("shard-*.npy"))
    logits = np.concatenate([np.load(path)["logits"].astype(np.float64) for path in shards]) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = temperature**2 * (np.exp(logs) * (logs + np.log(logs.shape[1]))).sum(axis=1).mean()
    assert expected > 0.01, "this teacher tells nothing"
    assert np.mean([row["kd"] for row in terms(history)]) == pytest.approx(expected, rel=0.5)


@pytest.mark.parametrize("pool", ["data.unlabelled=pool", "data.train_labels=40"])
def test_the_pool_is_learnt_from_beside_the_labelled_images(place, run_dir, pool):
    found = run(place, run_dir, "evaluate", pool, UNTRAINED)
    distill = json.loads((run_dir / "distill/distill.json").read_text())
    baseline = json.loads((run_dir / "baseline/baseline.json").read_text())
    train = found["images"] and json.loads((run_dir / "data/data.json").read_text())
    assert distill["training_images"] == train["images"]["train"] + train["pool_images"]
    assert baseline["training_images"] == train["images"]["train"]
    assert baseline["steps"] == distill["steps"], "the baseline gets as many steps"
    holds_what_the_cache_asks_of_an_untrained_student(distill["history"], run_dir)


def test_of_the_pool_those_images_are_learnt_from_that_the_teacher_is_sure_of(place, run_dir):
    whole = run(place, run_dir, "logits", "data.unlabelled=pool", "distill.views=2")
    shards = [np.load(path)["logits"] for path in sorted((run_dir / "logits").glob("shard-*.npy"))]
    logits = np.concatenate(shards).astype(np.float64).reshape(2, whole["images"], 3)[:, -30:]  # the pool comes last
    odds = np.exp(logits - logits.max(axis=2, keepdims=True))
    means = (odds / odds.sum(axis=2, keepdims=True)).mean(axis=0)
    least = float(np.median(means.max(axis=1)))
    keys = ("data.unlabelled=pool", "distill.views=2", "distill.pool_temperature=1", "distill.pool_kd_weight=1")
    found = run(place, run_dir, "distill", *keys, f"distill.pool_min_confidence={least}")
    use, kept = found["pool"], means[means.max(axis=1) >= least]
    assert (use["images"], use["kept"]) == (30, len(kept))
    assert use["mean_confidence"] == pytest.approx(means.max(axis=1).mean(), abs=1e-3)
    assert [*use["kept_by_class"].values()] == np.bincount(kept.argmax(axis=1), minlength=3).tolist()
    assert found["training_images"] == whole["images"] - 30 + len(kept)
    assert found["steps"] == 2 * (whole["images"] // 16), "as many as with all of them"
    with pytest.raises(TrainingError, match="the teacher is that sure of none of the 30 images without a label"):
        run(place, run_dir, "distill", *keys, "distill.pool_min_confidence=1")


def test_the_pool_instead_needs_no_label_at_all(place, run_dir):
    found = run(place, run_dir, "distill", "data.unlabelled=pool", "distill.pool=instead", "distill.loss=dkd")
    assert [row["label"] for row in terms(found["history"])] == [0, 0]
    logits = json.loads((run_dir / "logits/logits.json").read_text())
    assert logits["train_top1_fraction"] is None


def test_data_free_keeps_and_shows_its_images_and_goes_on_after_a_stop(place, run_dir, monkeypatch):
    from edgedistill.distillation import inversion
    from edgedistill.stages import synthesise

    settings = ("distill.method=data_free", "distill.synthetic_images=8", "distill.synthetic_steps=4")
    settings = (*settings, "distill.seed=3")
    monkeypatch.setattr(synthesise, "MIN_WANTED_FRACTION", 0.0)
    three = partial(inversion.InversionSettings, batch_size=3)
    monkeypatch.setattr(synthesise, "InversionSettings", three)
    made = []

    def stopping(*given):
        made.append(given[3])
        asked = given[2]
        assert (asked.steps, asked.seed, asked.batch_size) == (4, 3, 3), "as the recipe says"
        if len(made) == 2:
            raise KeyboardInterrupt
        return inversion.synthesise_batch(*given)

    monkeypatch.setattr(synthesise, "synthesise_batch", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(place, run_dir, "synthesise", *settings)
    found = run(place, run_dir, "distill", *settings)
    assert made == [0, 1, 1, 2], "the first batch was not made again"
    assert found["training_images"] == 8
    assert (run_dir / "synthesise/images.png").read_bytes()[:4] == b"\x89PNG"
    assert set(found["history"][0]["terms"]) == {"kd", "label"}
    synthetic = json.loads((run_dir / "synthesise/synthesise.json").read_text())
    assert len(set(synthetic["sha256"])) == synthetic["images"] == 8, "of the three batches of three"


@pytest.mark.parametrize("kind", ["relational", "fitnet", "attention", "review"])
def test_features_are_matched_and_only_the_student_is_kept(place, run_dir, kind):
    found = run(
        place,
        run_dir,
        "distill",
        f"distill.feature_loss={kind}",
        "distill.feature_weight=2",
        "distill.feature_warmup_fraction=0.0",
        "distill.epochs=6",
    )
    first, *_, last = terms(found["history"])
    assert last["feature"] < first["feature"]
    plain = load_file(run_dir / "distill/weights.safetensors")
    assert not [key for key in plain if "projector" in key or "matcher" in key]
    logits = json.loads((run_dir / "logits/cache.json").read_text())
    assert bool(logits["features"]) == (kind == "relational"), "maps are not cached"


def test_taps_by_name_that_are_not_there_are_named(place, run_dir):
    with pytest.raises(RecipeError, match="blocks"):
        run(
            place,
            run_dir,
            "distill",
            "distill.feature_weight=0.5",
            "distill.feature_loss=fitnet",
            'distill.student_taps=["blocks.99"]',
        )


def test_an_embedding_student_is_measured_by_its_neighbours(place, run_dir):
    settings = ("student.output=embedding", "distill.feature_weight=1.0")
    evaluated = run(place, run_dir, "evaluate", *settings)
    for net in ("teacher", "baseline", "student"):
        assert 0 <= evaluated[net]["recall_at_1"]["recall_at_1_fraction"] <= 1
        assert evaluated[net]["neighbours"] == 5
    stored = np.load(run_dir / "evaluate/test_logits.npz")
    assert stored["student"].shape[1] == evaluated["student"]["width"] > 3
    trained = json.loads((run_dir / "distill/distill.json").read_text())
    assert set(trained["history"][0]["terms"]) == {"feature"}
    found = run(place, run_dir, "export", *settings)
    assert found["student"]["max_relative_difference"] < 1e-4


def test_mixed_views_are_the_cached_ones(place, run_dir):
    """The teacher's outputs for a mixed view belong to it: changing the mix makes them anew."""
    plain = run(place, run_dir, "logits")["artifact"]["digest"]
    mixed = run(place, run_dir, "logits", "distill.mixup_alpha=0.4", "distill.cutmix_alpha=1.0")
    assert mixed["artifact"]["digest"] != plain
    assert mixed["train_top1_fraction"] is None
    found = run(place, run_dir, "distill", "distill.mixup_alpha=0.4", "distill.cutmix_alpha=1.0", UNTRAINED)
    holds_what_the_cache_asks_of_an_untrained_student(found["history"], run_dir)


def test_runs_share_one_cache_of_one_teacher(place, run_dir, tmp_path, monkeypatch):
    shutil.copytree(run_dir, tmp_path / "other")
    shared = f"run.cache_dir={tmp_path / 'shared'}"
    first = run(place, run_dir, "logits", shared)
    from edgedistill.stages import logits

    def none(*_):
        raise AssertionError("the teacher ran again")

    monkeypatch.setattr(logits, "cache_teacher", none)
    second = run(place, tmp_path / "other", "logits", shared, "distill.temperature=3")
    assert first["artifact"]["digest"] == second["artifact"]["digest"]
    ours, theirs = (folder / "logits" / "shard-00000.npy" for folder in (run_dir, tmp_path / "other"))
    assert ours.stat().st_ino == theirs.stat().st_ino


def test_a_teacher_answers_in_bfloat16_where_the_computer_has_it(place, run_dir, tmp_path, monkeypatch):
    """On any computer: PyTorch computes bfloat16 without instructions for it too."""
    other = shutil.copytree(run_dir, tmp_path / "other")
    answered, stage = {}, [f"run.cache_dir={tmp_path / 'shared'}", "distill.views=1"]

    def ask(folder, hardware, *settings):
        monkeypatch.setattr(autotune, "cpu_computes_bfloat16", lambda: hardware)
        artifact = run(place, folder, "logits", *stage, *settings)["artifact"]
        answered[folder] = np.load(folder / "logits" / "shard-00000.npy")["logits"].astype(np.float64)
        return artifact["cost"]["speed"], artifact["inputs"]["recipe"]["run.precision"]

    assert ask(run_dir, False) == ("float32, channels last", "fp32")
    assert ask(other, True) == ("bfloat16, channels last", MIXED_BF16)
    furthest = np.abs(answered[other] - answered[run_dir]).max()
    assert 0 < furthest < 0.03 * np.abs(answered[run_dir]).max()
    assert ask(other, False)[0] == "bfloat16, channels last"  # a finished run that is copied keeps its answers
    assert ask(other, True, "run.precision=fp32") == ("float32, channels last", "fp32")
    assert (answered[other] == answered[run_dir]).all()
    assert len(list((tmp_path / "shared").glob("*/cache.json"))) == 2


@pytest.mark.parametrize("store", ["decoded", "files"])
def test_runs_of_other_pixels_share_no_cache(place, run_dir, tmp_path, store):
    shutil.copytree(run_dir, tmp_path / "other")
    finished = place / "run" / "teacher" / "weights.safetensors"
    settings = (f"run.cache_dir={tmp_path / 'shared'}", f"data.store={store}", "distill.views=1")
    settings = (*settings, "teacher.epochs=0", f"teacher.weights={finished}")  # the same one on both
    for folder, training_px in ((run_dir, 32), (tmp_path / "other", 64)):
        run(place, folder, "logits", *settings, f"data.training_px={training_px}")
    assert len(list((tmp_path / "shared").glob("*/cache.json"))) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["distill.pool=instead"], "needs images without labels: set data.unlabelled"),
        (["distill.pool_kd_weight=1"], "distill.pool_kd_weight is for images without a label: set data.unlabelled"),
        (
            ["data.unlabelled=pool", "distill.loss=dist", "distill.pool_temperature=1"],
            "compares the images of a batch with each other, so they have one temperature",
        ),
        (["distill.method=data_free", "data.unlabelled=pool"], "makes its own images"),
        (["distill.method=data_free", "data.train_labels=9"], "leave data.unlabelled and data.train_labels out"),
        (["student.output=embedding"], "learns from the teacher's pooled features"),
        (["distill.feature_loss=relational", "distill.batch_size=2"], "three images"),
        (["distill.method=self", "distill.feature_weight=0.1"], "is for one teacher"),
    ],
)
def test_what_does_not_go_together_is_said(place, settings, said):
    with pytest.raises(RecipeError, match=said):
        load_recipe(place / "r.toml", [*SHORT, *settings])


@pytest.mark.parametrize("precision", ["bf16", "auto"])
def test_other_precisions_train_and_say_what_they_were(place, run_dir, precision):
    from edgedistill.training.autotune import CANDIDATES

    found = run(place, run_dir, "distill", f"run.precision={precision}", UNTRAINED)
    holds_what_the_cache_asks_of_an_untrained_student(found["history"], run_dir)
    taken = found["artifact"]["cost"]["speed"]
    assert taken in map(str, CANDIDATES)
    assert precision == "auto" or taken == "bfloat16, channels last"
    assert {v.dtype for v in load_file(run_dir / "distill/weights.safetensors").values()} <= {
        np.dtype("float32"),
        np.dtype("int64"),
    }


@pytest.mark.parametrize(("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_teacher_beside_the_student_computes_as_the_training_does(place, run_dir, monkeypatch, precision, expected):
    from edgedistill.distillation import feature_losses

    seen, compare = set(), feature_losses.hint_loss

    def look(student_map, teacher_map):
        seen.add(teacher_map.dtype)
        return compare(student_map, teacher_map)

    monkeypatch.setattr(feature_losses, "hint_loss", look)
    maps = ("distill.feature_loss=fitnet", "distill.feature_weight=0.1", "distill.epochs=1")
    run(place, run_dir, "distill", f"run.precision={precision}", *maps)
    assert seen == {expected}
