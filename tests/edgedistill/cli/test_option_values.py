"""What is typed reaches the board and the recipe as it was typed: only `--set` and `--over` are TOML."""

import json

import pytest

from edgedistill.cli.main import main
from edgedistill.models.students import stored
from edgedistill.records.deployment import BoardDeployment, FleetRecord
from end_to_end import write_images

TEXTS = ["123", "3.11", "true", "nan", "1e3", "0x10", "1979-05-27", "a=b", "/opt/3.11/bin/python3"]


class Reached(Exception):
    """The stages would begin here."""


@pytest.fixture
def recipes(tmp_path, monkeypatch):
    """Recipes that were to be run, in a folder with r.toml."""
    found = []

    def run_stages(recipe, run_dir, talk, only=None, force=(), command=None, alone=False):
        found.append(recipe)
        raise Reached

    monkeypatch.setattr("edgedistill.pipeline.runner.run_stages", run_stages)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text('[data]\ntrain = "x"\n[deploy]\nhosts = ["board"]\n')
    return found


@pytest.mark.parametrize("text", TEXTS)
def test_root_and_python_of_the_stage_deploy_are_text(recipes, text):
    with pytest.raises(Reached):
        main(["deploy", "r.toml", "--root", text, "--python", text])
    assert (recipes[0].deploy.root, recipes[0].deploy.python) == (text, text)


def test_other_options_that_stand_above_the_recipe(recipes, tmp_path):
    with pytest.raises(Reached):
        main(["deploy", "r.toml", "--ssh-config", "2024", "--until", "bench", "--runs", "70", "--seeds", "3"])
    (recipe,) = recipes
    assert recipe.deploy.ssh_config == str(tmp_path / "2024")
    assert (recipe.deploy.until, recipe.deploy.bench_runs, recipe.distill.seeds) == ("bench", 70, 3)


@pytest.mark.parametrize("runs", ["9", "50001"])
@pytest.mark.parametrize(
    "words",
    [
        ["deploy", "r.toml"],
        ["deploy", "r.toml", "--host", "nowhere.invalid"],
        ["run", "r.toml", "--set"],
        ["bench", "model.onnx", "--host", "nowhere.invalid"],
    ],
)
def test_so_many_runs_as_no_board_takes_are_refused_before_anything_is_done(recipes, capsys, words, runs):
    option = [f"deploy.bench_runs={runs}"] if words[-1] == "--set" else ["--runs", runs]
    assert main([*words, *option]) in (1, 2)
    assert not recipes
    error = capsys.readouterr().err
    assert "nowhere.invalid" not in error
    assert ("10" in error) if runs == "9" else ("50000" in error)


@pytest.mark.parametrize("text", ["2024", "3.11", "true", "1979-05-27", '"2024"'])
def test_set_of_a_key_that_holds_text_is_text(recipes, text):
    keys = ["deploy.root", "deploy.sign_key", "data.label_column", "student.model"]
    with pytest.raises(Reached):
        main(["run", "r.toml", *(word for key in keys for word in ("--set", f"{key}={text}"))])
    (recipe,) = recipes
    bare = text.strip('"')
    found = (recipe.deploy.root, recipe.deploy.sign_key, recipe.data.label_column, recipe.student.model)
    assert found == (bare, bare, bare, bare)


def test_set_of_other_keys_is_toml_as_before(recipes, capsys):
    words = ["--set", "distill.epochs=3", "--set", "export.normalise_in_graph=true", "--set", "deploy.hosts=['a', 'b']"]
    with pytest.raises(Reached):
        main(["run", "r.toml", *words])
    (recipe,) = recipes
    assert (recipe.distill.epochs, recipe.export.normalise_in_graph, list(recipe.deploy.hosts)) == (3, True, ["a", "b"])
    assert main(["run", "r.toml", "--set", "distill.temperature=1979-05-27"]) == 1
    assert main(["run", "r.toml", "--set", "distil.temperature=2"]) == 1
    assert main(["run", "r.toml", "--set", "distill.temprature=2"]) == 1
    error = capsys.readouterr().err
    assert "distill.temperature: " in error
    assert "did you mean 'distill'" in error
    assert "did you mean 'temperature'" in error


def test_what_no_root_can_be_is_refused_as_the_recipe_refuses_it(recipes, capsys):
    assert main(["deploy", "r.toml", "--root", "a b"]) == 1
    assert "deploy.root: " in capsys.readouterr().err
    assert recipes == []


def test_a_recipe_is_deployed_from_python_with_the_same_values(recipes):
    import edgedistill

    with pytest.raises(Reached):
        edgedistill.deploy("r.toml", root="123", python="3.11", overrides=["distill.temperature=2"], seeds=2)
    (recipe,) = recipes
    assert (recipe.deploy.root, recipe.deploy.python) == ("123", "3.11")
    assert (recipe.distill.temperature, recipe.distill.seeds) == (2.0, 2)


def test_set_stands_below_python_values_and_its_paths_are_relative_to_the_recipe(recipes, tmp_path):
    import edgedistill

    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "r.toml").write_text('[data]\ntrain = "x"\n')
    given = ["distill.temperature=2", "distill.views=3", "data.val=v"]
    made = edgedistill.recipe("there/r.toml", overrides=given, distill={"temperature": 5.0})
    assert (made.distill.temperature, made.distill.views) == (5.0, 3)
    assert made.data.val == str(tmp_path / "there" / "v")


def nothing_done(fleet):
    return FleetRecord(
        version=1,
        fleet=fleet.name,
        id="1",
        model="m",
        target="local",
        serial=1,
        until="build",
        stopped=None,
        boards=[],
    )


@pytest.mark.parametrize("text", ["2024", "true", "3.11"])
def test_hosts_and_groups_are_names(tmp_path, monkeypatch, text):
    reached = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "edgedistill.deployment.request.roll_out",
        lambda fleet, *more: reached.append([board.name for board in fleet.boards]) or nothing_done(fleet),
    )
    monkeypatch.setattr("edgedistill.deployment.request.signed_bundle", lambda folder: None)
    monkeypatch.setattr("edgedistill.deployment.request.bundle_in", lambda folder: folder)
    (tmp_path / "boards.toml").write_text(
        f'[defaults]\ntarget = "local"\n[groups."{text}"]\n[boards."{text}"]\ngroup = "{text}"\n[boards.other]\n'
    )
    assert main(["deploy", "bundle", "--fleet", "boards.toml", "--group", text, "--json"]) == 0
    assert reached == [[text]]

    monkeypatch.setattr(
        "edgedistill.deployment.request.Deployment.each_host", lambda asked, *more: reached.append(asked.hosts) or []
    )
    assert main(["deploy", "bundle", "--host", text, "--host", "other"]) == 0
    assert reached[1:] == [(text, "other")]


@pytest.mark.slow
def test_columns_of_new_are_names(tmp_path, monkeypatch):
    from edgedistill.config.loading import load_recipe

    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "a", per_class=6)
    rows = [f"{path},{path.parent.name},{path.name}" for path in sorted((tmp_path / "a").glob("*/*.png"))]
    (tmp_path / "t.csv").write_text("\n".join(["true,2024,3.11", *rows]) + "\n")
    words = ["--path-column", "true", "--label-column", "2024", "--group-column", "3.11"]
    assert main(["new", "--train", "t.csv", *words, "r.toml"]) == 0
    data = load_recipe(tmp_path / "r.toml").data
    assert (data.path_column, data.label_column, data.group_column) == ("true", "2024", "3.11")


def test_a_dry_run_sends_nothing_to_a_board(tmp_path, monkeypatch, capsys):
    """Before, `deploy BUNDLE --host BOARD --dry-run` deployed."""
    monkeypatch.chdir(tmp_path)
    assert main(["deploy", "bundle", "--host", "board", "--dry-run"]) == 2
    assert "--dry-run shows what the stages of a RECIPE.toml would do, got bundle" in capsys.readouterr().err


def test_students_refresh_makes_the_table_again(monkeypatch, capsys):
    made = []
    monkeypatch.setattr(
        "edgedistill.onnx_model.student_table.refresh", lambda path, say: made.append(path.name) or stored()
    )
    assert main(["students", "--refresh", "--json"]) == 0
    assert made == ["students.json"]
    said = capsys.readouterr()
    assert "the last refresh took" in said.err
    assert json.loads(said.out)["target"] == "jetson-nano"


def test_a_board_that_is_done_is_told_before_the_next_refuses(tmp_path, monkeypatch, capsys):
    from edgedistill.errors import BoardError

    def each_host(asked, *more):
        row = {
            "host": "first",
            "id": "1",
            "model": "m",
            "target": "local",
            "serial": 1,
            "until": "build",
            "requested": "fp16",
        }
        yield BoardDeployment.model_validate(
            {**row, "backend": "tensorrt", "executed": "fp16", "provenance": "measured: p"}
        )
        raise BoardError("second: no")

    monkeypatch.setattr("edgedistill.deployment.request.Deployment.each_host", each_host)
    monkeypatch.setattr("edgedistill.deployment.request.bundle_in", lambda folder: folder)
    assert main(["deploy", "bundle", "--host", "first", "--host", "second"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("first: m 1, ")
    assert "second: no" in said.err


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "0", "-1"])
@pytest.mark.parametrize(
    "words",
    [
        ["choose", "--fps"],
        ["choose", "--memory-mib"],
        ["check", "none.onnx", "--compile-seconds"],
        ["run", "r.toml", "--set", "target.fps"],
        ["run", "r.toml", "--set", "target.memory_mib"],
        ["run", "r.toml", "--set", "distill.temperature"],
    ],
)
def test_a_number_that_limits_something_is_finite_and_above_0(recipes, capsys, words, text):
    """Nothing is below NaN: as a limit it would hold for every student, or for none."""
    assert main([*words, text] if words[0] != "run" else [*words[:-1], f"{words[-1]}={text}"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert words[-1] in said.err
    assert "expected more than 0, and a finite number" in said.err or "input should be" in said.err
    assert recipes == []


def test_compile_mib_is_above_0(capsys):
    assert main(["check", "none.onnx", "--compile-mib", "0"]) == 1
    assert "--compile-mib 0: expected more than 0" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["choose"], ["estimate", "resnet18"]])
def test_a_billion_classes_are_refused(capsys, words):
    assert main([*words, "--classes", "1000000000"]) == 1
    assert "--classes 1000000000: expected at most 1000000" in capsys.readouterr().err
