"""`edgedistill choose`: budgets, order, the picture, and the winner in a recipe."""

import csv
import json
import tomllib
import xml.etree.ElementTree as ElementTree
from importlib import resources

import pytest

from edgedistill.cli.main import main
from edgedistill.config.edit import write_choice
from edgedistill.config.loading import recipe_from_table
from edgedistill.errors import RecipeError
from edgedistill.models.families import STUDENTS
from edgedistill.prediction.choose import SOURCES, Budget, choose, pareto
from edgedistill.prediction.latency import hardware, stored

RECIPE = """# mine, do not touch
[data]
train = "images"   # a folder
image_px = 128     # small

[student]
# the old one was too slow
model = "resnet18" # why?
weights = "hub"

[target]
fps = 30
"""


@pytest.fixture(autouse=True)
def own_data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_what_fits_meets_every_part_of_the_budget():
    found = choose("jetson-nano", budget=Budget(60, 290))
    assert {c.prediction.model for c in found} == set(STUDENTS)
    for candidate in found:
        p = candidate.prediction
        possible = p.memory_mib <= 290 and candidate.preflight != "does not fit"
        assert (candidate.tier == 0) == (possible and p.fps_low >= 60), p.model
        assert (candidate.tier <= 1) == (possible and p.fps >= 60), p.model
    assert {c.tier for c in found} == {0, 1, 2}


def test_order_is_verdict_size_published_accuracy():
    found = choose("jetson-nano", budget=Budget(60), sizes=(128, 224))
    keys = [
        (
            c.tier,
            -c.prediction.image_px,
            c.prediction.extrapolated,
            c.comparable_top1 is None,
            -(c.accuracy.top1_percent if c.accuracy else 0),
        )
        for c in found
        if c.tier < 2
    ]
    assert keys == sorted(keys)
    last = [c.fps_ratio for c in found if c.tier == 2]
    assert last == sorted(last, reverse=True), "the nearest to the budget first"


def test_a_tighter_budget_never_gains_candidates():
    loose = {c.prediction.model for c in choose("jetson-nano", budget=Budget(30)) if c.tier == 0}
    tight = {c.prediction.model for c in choose("jetson-nano", budget=Budget(90)) if c.tier == 0}
    assert tight < loose


def test_fewer_pixels_and_fewer_classes_are_not_slower():
    large, small = (choose("jetson-nano", sizes=(px,), classes=n) for px, n in ((224, 1000), (128, 10)))
    speed = {c.prediction.model: c.prediction.fps for c in small}
    assert all(speed[c.prediction.model] > c.prediction.fps for c in large)


def test_accuracy_of_larger_images_does_not_rank():
    found = {c.prediction.model: c for c in choose("jetson-nano", sizes=(224,))}
    assert found["mobilenetv4_conv_medium"].accuracy.image_px == 320
    assert found["mobilenetv4_conv_medium"].comparable_top1 is None
    assert found["efficientnet_b0"].comparable_top1 == 77.694
    small = {c.prediction.model: c for c in choose("jetson-nano", sizes=(128,))}
    assert small["efficientnet_b0"].comparable_top1 is None


def test_every_accuracy_has_a_source_and_is_of_a_student():
    text = (resources.files("edgedistill.prediction") / "accuracy.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    for row in rows:
        assert row["model"] in STUDENTS
        assert row["source"] in SOURCES
        assert 50 < float(row["top1_percent"]) < 90
    assert len({row["model"] for row in rows}) == len(rows)


def test_torchvision_s_figures_are_those_of_its_weights():
    from torchvision.models import (
        ShuffleNet_V2_X1_0_Weights,
        SqueezeNet1_0_Weights,
        SqueezeNet1_1_Weights,
    )

    found = {c.prediction.model: c.accuracy for c in choose("jetson-nano")}
    for name, weights in (
        ("squeezenet1_0", SqueezeNet1_0_Weights),
        ("squeezenet1_1", SqueezeNet1_1_Weights),
        ("shufflenet_v2_x1_0", ShuffleNet_V2_X1_0_Weights),
    ):
        metrics = weights.IMAGENET1K_V1.meta["_metrics"]["ImageNet-1K"]
        assert found[name].top1_percent == metrics["acc@1"]


def test_nothing_beats_the_front():
    found = choose("jetson-nano")
    front = pareto(found)
    rated = [c for c in found if c.comparable_top1 is not None and c.preflight != "does not fit"]
    for candidate in rated:
        beaten = any(
            other.prediction.fps >= candidate.prediction.fps
            and other.comparable_top1 >= candidate.comparable_top1
            and other is not candidate
            for other in rated
        )
        assert (candidate in front) == (not beaten), candidate.prediction.model


def test_the_picture_is_an_svg_with_the_front_s_names(tmp_path, capsys):
    path = tmp_path / "p.svg"
    assert main(["choose", "--fps", "30", "--plot", str(path)]) == 0
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    assert root.tag.endswith("svg")
    words = " ".join(root.itertext())
    assert all(c.prediction.model in words for c in pareto(choose("jetson-nano", budget=Budget(30))))
    first = path.read_bytes()
    main(["choose", "--fps", "30", "--plot", str(path)])
    assert path.read_bytes() == first


def test_a_budget_that_nothing_meets_exits_1_with_the_nearest(capsys):
    assert main(["choose", "--fps", "5000"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[2].split()[-1] == "no", "the first of them"
    assert "no student fits" in err
    assert main(["choose", "--fps", "-3"]) == 1
    assert main(["choose", "--target", "orin-nano-8gb", "--memory-mib", "500"]) == 1
    assert "cannot be checked" in capsys.readouterr().err
    assert main(["choose", "--image-px", "200"]) == 1
    assert "counted at 96, 128" in capsys.readouterr().err


CAMERA = ["choose", "--fps", "29", "--camera", "--target", "orin-nano-8gb"]


def test_a_camera_gets_the_mode_of_least_energy_that_holds_its_rate():
    """Each student in each mode alone: the advisor's is the one of least energy among the best that hold the rate."""
    advised = {c.prediction.model: c for c in choose("agx-xavier", budget=Budget(150, camera=True))}
    every = {
        mode: {c.prediction.model: c for c in choose("agx-xavier", budget=Budget(150, camera=True), mode=mode)}
        for mode in hardware()["agx-xavier"].modes
    }
    for model, one in advised.items():
        rivals = [candidates[model] for candidates in every.values()]
        best = min(rival.tier for rival in rivals)
        assert one.tier == best
        assert one.frame_mj == min(rival.frame_mj for rival in rivals if rival.tier == best), model
    slow, fast = (
        {c.prediction.mode for c in choose("agx-xavier", budget=Budget(fps, camera=True)) if c.tier == 0}
        for fps in (10, 1500)
    )
    assert slow == {"MODE_10W"}
    assert "MODE_10W" not in fast


def test_a_camera_s_frame_by_hand():
    """All that the board draws until the next frame: while it computes, and while it waits."""
    (one,) = [c for c in choose("tx2", budget=Budget(20, camera=True), mode="MAXQ") if c.prediction.model == "resnet18"]
    power = stored()["power"]["boards"]["tx2"]
    idle = power["base_w"] + power["cpu_w"] * (1200 / 2000) ** 3
    busy_ms = one.prediction.latency_ms
    assert one.frame_mj == pytest.approx(busy_ms * one.prediction.watts + (50 - busy_ms) * idle)


def test_the_advisor_s_line_and_what_it_refuses(capsys):
    assert main(CAMERA) == 0
    out = capsys.readouterr().out
    assert "least energy for 29 FPS: 7W, " in out
    assert "predicted" in out
    assert "mJ a frame" in out.splitlines()[1]
    for more, said in (
        (["choose", "--camera"], "--camera goes with --fps N"),
        (["choose", "--camera", "--fps", "30", "--target", "agx-orin"], "no watts of agx-orin are published"),
        (["choose", "--mode", "15W"], "jetson-nano has no power mode '15W'; it has: MAXN, 5W"),
    ):
        assert main(more) == 1
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    assert main(["choose", "--camera", "--fps", "5000"]) == 1
    assert "no power mode of jetson-nano holds 5000 FPS" in capsys.readouterr().out


def test_a_slower_mode_is_slower(capsys):
    usual, slow = (
        {c.prediction.model: c.prediction for c in choose("jetson-nano", mode=mode)} for mode in (None, "5W")
    )
    assert {p.mode for p in usual.values()} == {"MAXN"}
    for model, prediction in slow.items():
        assert 1 < prediction.latency_ms / usual[model].latency_ms < 1.7, "clocks of 922 and 640, 1479 and 918 MHz"
        assert prediction.watts < usual[model].watts


def test_into_changes_two_values_and_keeps_every_other_byte(tmp_path, capsys):
    path = tmp_path / "r.toml"
    path.write_text(RECIPE)
    main(["choose", "--fps", "1e6", "--into", str(path), "--json"])
    assert {row["verdict"] for row in json.loads(capsys.readouterr().out)} == {"does not fit"}
    assert path.read_text() == RECIPE, "none that fits is none to take"
    assert main(["choose", "--fps", "30", "--memory-mib", "500", "--into", str(path), "--json"]) == 0
    best = json.loads(capsys.readouterr().out)[0]
    expected = RECIPE.replace('"resnet18"', f'"{best["model"]}"').replace("128", "224")
    assert path.read_text() == expected
    assert [p.name for p in tmp_path.iterdir() if p.name != "data"] == ["r.toml"]


def test_into_counts_with_the_classes_of_the_recipes_images(tmp_path, capsys):
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{n}.png,{'abc'[n % 3]}\n" for n in range(9)))
    for number in range(9):
        (tmp_path / f"{number}.png").touch()
    (tmp_path / "r.toml").write_text('[data]\ntrain = "list.csv"\n')
    words = ["choose", "--into", str(tmp_path / "r.toml"), "--json"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert {row["classes"] for row in json.loads(said.out)} == {3}
    assert "3 classes, as the images of" in said.err
    assert main([*words, "--classes", "7"]) == 0
    assert {row["classes"] for row in json.loads(capsys.readouterr().out)} == {7}
    (tmp_path / "list.csv").unlink()
    assert main(words) == 0
    assert "counted with 1000 classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('[data]\ntrain = "x"\n', '[data]\ntrain = "x"\nimage_px = 160\n\n[student]\nmodel = "m"\n'),
        ("[data]\r\nimage_px = 64\r\n[student]\r\n", '[data]\r\nimage_px = 160\r\n[student]\r\nmodel = "m"\r\n'),
        ("[student] # s\nmodel='old'#c\n[data]\nimage_px=64", '[student] # s\nmodel="m"#c\n[data]\nimage_px=160'),
        ('student = { model = "a" }\n[data]\nimage_px = 64\n', 'student = { model = "m" }\n[data]\nimage_px = 160\n'),
        ('student.model = "a" # s\ndata.image_px = 64\n', 'student.model = "m" # s\ndata.image_px = 160\n'),
        (
            '[data]\nnote = """\n[student]\nmodel = "a"\n"""\nimage_px = [64, 32] # h, w\n[student]\nmodel = "a"\n',
            '[data]\nnote = """\n[student]\nmodel = "a"\n"""\nimage_px = 160 # h, w\n[student]\nmodel = "m"\n',
        ),
    ],
)
def test_into_finds_its_place(tmp_path, before, after):
    path = tmp_path / "r.toml"
    path.write_bytes(before.encode())
    write_choice(path, "m", 160)
    assert path.read_bytes().decode() == after


@pytest.mark.parametrize("text", ["student = 3\n", "[[data]]\nimage_px = 64\n", "[data\n"])
def test_what_is_no_recipe_stays_as_it_is(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match="r.toml"):
        write_choice(path, "m", 160)
    assert path.read_text() == text
    with pytest.raises(RecipeError, match="no such recipe"):
        write_choice(tmp_path / "none.toml", "m", 160)


def test_the_seed_scenario_is_one_recipe_that_choose_made():
    """ResNet-152 teacher, 500 MB, 30 FPS on a Nano: the shipped recipe names the first of `choose`."""
    text = (resources.files("edgedistill.config.recipes") / "nano-30fps.toml").read_text(encoding="utf-8")
    recipe = recipe_from_table(tomllib.loads(text), "nano-30fps.toml")
    target = recipe.target
    assert recipe.teacher.model == "resnet152"
    assert (target.device, target.fps, target.memory_mib) == ("jetson-nano", 30, 500)
    best = choose(target.device, target.precision, Budget(target.fps, target.memory_mib), (recipe.data.image_px,))[0]
    assert best.tier == 0
    assert recipe.student.model == best.prediction.model
    assert best.prediction.fps_low >= 30
    assert best.prediction.memory_mib <= 500
    assert target.min_retention_fraction == 0.98  # the loss of accuracy that is aimed for
