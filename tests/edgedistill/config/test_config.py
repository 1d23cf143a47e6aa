import re
import tomllib
from typing import get_origin

import pytest
from pydantic import BaseModel

from edgedistill.config.loading import load_recipe, recipe_from_table
from edgedistill.config.recipe import Recipe
from edgedistill.errors import RecipeError
from edgedistill.pipeline.table import STAGES, recipe_values


def test_every_shipped_recipe_loads():
    from importlib import resources

    found = [f for f in resources.files("edgedistill.config.recipes").iterdir() if f.name.endswith(".toml")]
    assert found
    for recipe in found:
        text = recipe.read_text(encoding="utf-8")
        recipe_from_table(tomllib.loads(text), recipe.name)
        assert text.startswith("# edgedistill "), f"{recipe.name} opens with its command"


def test_all_faults_are_told_at_once():
    table = {"data": {"train": "x"}, "distill": {"kd_weight": 2, "temprature": 1}, "dat": {}}
    with pytest.raises(RecipeError) as error:
        recipe_from_table(table, "r.toml")
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("r.toml: ") for line in lines)


def test_overrides_are_toml_values_or_else_text(tmp_path):
    (tmp_path / "r.toml").write_text('[data]\ntrain = "images"\n')
    recipe = load_recipe(tmp_path / "r.toml", ["distill.temperature=3", "student.model=squeezenet1_1"])
    assert recipe.distill.temperature == 3
    assert recipe.student.model == "squeezenet1_1"
    assert recipe.data.train == str(tmp_path / "images")


def test_a_random_teacher_is_no_teacher():
    with pytest.raises(RecipeError, match="random teacher"):
        recipe_from_table({"data": {"train": "x"}, "teacher": {"weights": "scratch", "epochs": 0}}, "r")


def test_every_recipe_key_is_known_to_some_stage_or_to_none_on_purpose():
    """A key that no artifact depends on would change nothing when it is changed."""
    # in no stage's values at their defaults
    newer = {"unlabelled": "pool", "store": "files", "fit": "pad", "sixteen_bit": 12}
    newer |= {"split_column": "s", "image_root": "i", "suffix": ".png", "leave_out": ("*_mask.png",)}
    newer |= {"group_by": "folder"}
    newer |= {"same_names": "keep", "small_classes": "drop", "min_class_images": 5, "train_labels": 9}
    assert not newer.keys() & recipe_from_table({"data": {"train": "x"}}, "r").data.images.keys()
    distill = {"minutes": 1, "pool_temperature": 1, "pool_kd_weight": 1, "pool_min_confidence": 0.5}
    distill |= {"label_error_fraction": 0.1}
    teacher = {"mode": "auto", "tta": "flip", "steps": 9, "choice_minutes": 9, "image_px": 448}
    table = {"teacher": teacher, "distill": distill, "smoothing": {"by": "votes"}}
    recipe = recipe_from_table({"data": {"train": "x", **newer}, **table}, "r")
    used = {key for stage in STAGES for key in recipe_values(stage, recipe)}
    every = {f"{section}.{key}" for section, fields in recipe.model_dump().items() for key in fields}
    in_data = {f"data.{key}" for key in recipe.data.images}
    in_distill = {"distill.synthetic_images", *(f"distill.{key}" for key in recipe.distill.mixing)}
    in_distill |= {"distill.steps", *(f"distill.{key}" for key in {**recipe.distill.length, **recipe.distill.pooling})}
    figures = {"train": "x", "task": "regression", "values": [{"column": "width"}]}
    values = recipe_from_table({"data": figures}, "r").data
    in_data |= {f"data.{key}" for key in {**values.images, **values.learnt_as}}
    several = {"train": "x", "task": "multilabel", "label_columns": ["a"], "label_separator": "/"}
    in_data |= {f"data.{key}" for key in recipe_from_table({"data": several}, "r").data.images}
    in_teacher = {f"teacher.{key}" for key in {**recipe.teacher.training, **recipe.teacher.answers}}
    on_purpose = {
        "data.training_px",  # stage data depends on Recipe.training_px, which it may set
        "deploy.allow_below_chance",  # these change no artifact
        "run.checkpoint_seconds",
        "run.parallel_trainings",
        "run.tensorboard",
        "run.trackers",
        "run.workers",
        "run.cache_dir",
    }
    assert every - used - in_data - in_teacher - in_distill == on_purpose


def test_a_signing_command_is_written_nowhere():
    """The bundle does not depend on it: whoever signs, the key's public half judges."""
    deploy = {"sign_key": "release", "sign_command": ["kms", "--pin", "1234"]}
    recipe = recipe_from_table({"data": {"train": "x"}, "deploy": deploy}, "r")
    values = [recipe_values(stage, recipe) for stage in STAGES]
    for text in (str(values), recipe.model_dump_json()):
        assert "release" in text
        assert "1234" not in text
        assert "kms" not in text


def test_a_signing_command_needs_a_key_to_be_checked_with():
    with pytest.raises(RecipeError, match=r"deploy\.sign_command needs deploy\.sign_key"):
        recipe_from_table({"data": {"train": "x"}, "deploy": {"sign_command": ["kms"]}}, "r")


def test_every_key_is_documented():
    for section in Recipe.model_fields.values():
        for name, field in section.annotation.model_fields.items():
            assert field.description, name


@pytest.mark.parametrize(("image_px", "least", "expected"), [(64, 0.25, 128), ([32, 96], 0.16, 80), (64, 1.0, 64)])
def test_the_smallest_training_crop_still_has_the_inputs_pixels(image_px, least, expected):
    """A crop of a share of the area has the root of it as its side."""
    table = {"data": {"train": "images", "image_px": image_px}, "augment": {"crop_scale_min": least}}
    assert recipe_from_table(table, source="r.toml").training_px == expected


@pytest.mark.parametrize(
    ("image_px", "teacher_px", "refused"),
    [
        (96, 96, False),
        (96, 224, False),
        ([64, 112], [128, 224], False),
        (96, 95, True),  # smaller
        ([64, 112], 224, True),  # another shape
        ([64, 112], [224, 128], True),
    ],
)
def test_the_teacher_sees_the_same_images_enlarged(image_px, teacher_px, refused):
    table = {"data": {"train": "images", "image_px": image_px}, "teacher": {"image_px": teacher_px}}
    if not refused:
        assert recipe_from_table(table, "r.toml").teaching["image_px"] == teacher_px
        return
    with pytest.raises(RecipeError, match=r"teacher\.image_px = .* expected the same shape, and none smaller"):
        recipe_from_table(table, "r.toml")


@pytest.mark.parametrize("section", ["data", "teacher"])
def test_a_size_that_is_none_is_told_with_its_key(section):
    table = {"data": {"train": "images", "image_px": 32}}
    table.setdefault(section, {})["image_px"] = 31.5
    with pytest.raises(RecipeError, match=rf"{section}\.image_px: expected a side or .*, got 31\.5"):
        recipe_from_table(table, "r.toml")


def test_a_student_that_teaches_itself_sees_its_own_images():
    table = {"data": {"train": "images"}, "teacher": {"image_px": 448}, "distill": {"method": "self"}}
    with pytest.raises(RecipeError, match="teacher.image_px: .* leave it out"):
        recipe_from_table(table, "r.toml")


def test_a_teacher_that_sees_what_the_student_sees_is_the_one_of_before():
    assert "image_px" not in recipe_from_table({"data": {"train": "images"}}, "r.toml").teaching


def tables_of(model, prefix=""):
    """Every key that takes a table of one's own names, below all sections."""
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is dict:
            yield prefix + name
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from tables_of(field.annotation, f"{prefix}{name}.")


@pytest.mark.parametrize("key", list(tables_of(Recipe)))
def test_a_key_that_takes_a_table_is_told_with_an_example_that_is_a_setting(tmp_path, key):
    path = tmp_path / "r.toml"
    path.write_text('[data]\ntrain = "images"\n[cost]\ncurrency = "EUR"\n[decide]\n')
    with pytest.raises(RecipeError) as error:
        load_recipe(path, [f"{key}=0.7"])
    (line,) = str(error.value).splitlines()
    expected = rf".*: {re.escape(key)}: expected a table that names the class, as in --set '(.*)', got 0\.7"
    (example,) = re.fullmatch(expected, line).groups()
    promise = [] if key in ("decide.recall", "decide.precision") else ["decide.recall={ crack = 0.9 }"]
    section, name = key.split(".")
    assert getattr(getattr(load_recipe(path, [*promise, example]), section), name) == {"crack": 0.7}


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"augment": {"transforms": [3]}}, "augment.transforms.0: expected a table, got 3"),
        ({"distill": {"teachers": 3}}, "distill.teachers: expected a list, got 3"),
        ({"distill": 3}, "distill: expected a table, got 3"),
        ({"distill": {"temp": 3}}, "[distill] has no key 'temp'; did you mean 'temperature'? it has: "),
        ({"distill": {"kd_wieght": 3}}, "[distill] has no key 'kd_wieght'; did you mean 'kd_weight'? it has: "),
        ({"distill": {"xyzzy": 3}}, "[distill] has no key 'xyzzy'; it has: "),
    ],
)
def test_a_fault_is_in_words_of_toml(table, line):
    with pytest.raises(RecipeError) as error:
        recipe_from_table({"data": {"train": "x"}} | table, "r.toml")
    assert str(error.value).startswith(f"r.toml: {line}")
