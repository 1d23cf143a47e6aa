"""The passphrase reaches no program but openssl, and deploy.sign_command no file, no message and no hint."""

import os
import shutil
import subprocess
import sys
import tomllib

import pytest

from edgedistill.bundles import keys
from edgedistill.bundles.keys import new_key
from edgedistill.bundles.unsigned import write_throwaway
from edgedistill.cli.main import main
from edgedistill.deployment.local import verify_and_bench
from edgedistill.deployment.ssh import Connection
from edgedistill.deployment.streams import ask
from edgedistill.environment.secret_values import PASSPHRASE, shown_value, without_secrets
from edgedistill.errors import DeviceError, RecipeError, SshError
from edgedistill.pipeline.sweep import Sweep
from edgedistill.progress.reporter import Talk
from edgedistill.records.sweep import TrialResult
from edgedistill_device.manifest import write_manifest
from tiny_onnx import model_bytes

PIN = "pin-8462-of-the-token"
COMMAND = f'deploy.sign_command=["kms", "--pin", "{PIN}"]'


@pytest.fixture(autouse=True)
def passphrase(monkeypatch, tmp_path):
    monkeypatch.setenv(PASSPHRASE, PIN)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_a_program_that_is_asked_does_not_get_it():
    script = f"import os; print(os.environ.get({PASSPHRASE!r}), 'PATH' in os.environ)"
    assert ask([sys.executable, "-c", script]).line == "None True"


def test_what_a_library_starts_while_a_verb_works_does_not_get_it(monkeypatch, capsys):
    """matplotlib asks fc-list, ctypes the linker: with whatever the environment holds."""

    def asks(*a):
        script = f"import os; print(os.environ.get({PASSPHRASE!r}))"
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        raise DeviceError(f"{found.stdout.strip()}, {keys.passphrase() == PIN}")

    monkeypatch.setattr(keys, "list_keys", asks)
    assert main(["keys", "list"]) == 1
    assert "None, True" in capsys.readouterr().err
    assert os.environ[PASSPHRASE] == PIN, "as it was, for whoever called"


def test_neither_do_ssh_nor_what_its_configuration_names(tmp_path):
    """A ProxyCommand, and a Match exec: both are run by the user's shell with ssh's environment."""
    for name in ("proxy", "match"):
        (tmp_path / name).write_text(f"#!/bin/sh\nenv > {tmp_path}/{name}.env\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "config").mkdir(exist_ok=True)
    config = tmp_path / "ssh_config"
    config.write_text(f"Match exec {tmp_path}/match\nHost board\n  ProxyCommand {tmp_path}/proxy\n")
    with pytest.raises(SshError), Connection("board", config):
        pass
    for name in ("proxy", "match"):
        found = (tmp_path / f"{name}.env").read_text()
        assert "PATH=" in found
        assert PIN not in found


def test_neither_does_the_code_of_a_bundle_that_came_from_elsewhere(tmp_path):
    (tmp_path / "edgedistill_device").mkdir()
    (tmp_path / "edgedistill_device" / "__init__.py").touch()
    (tmp_path / "edgedistill_device" / "__main__.py").write_text(
        f"import os, sys\nsys.exit('it has it' if {PASSPHRASE!r} in os.environ else 'nothing')\n"
    )
    with pytest.raises(DeviceError, match="nothing"):
        verify_and_bench(tmp_path, 10)


def test_nor_does_a_bundle_that_bench_times_here(tmp_path, capsys):
    model = tmp_path / "net.onnx"
    model.write_bytes(model_bytes([[4.0, -1.0, 0.5], [-1.0, 3.0, 0.0]], [0.1, -0.2], 32))
    manifest = write_throwaway(model, tmp_path / "b", "fp16")
    spy = f"import os\nopen({str(tmp_path / 'env')!r}, 'a').write(repr(dict(os.environ)))\n"
    code = tmp_path / "b" / "edgedistill_device" / "__init__.py"
    code.write_text(spy + code.read_text())
    write_manifest(str(tmp_path / "b"), manifest)
    main(["bench", str(tmp_path / "b"), "--runs", "10"])
    assert "PATH" in (tmp_path / "env").read_text()
    assert PIN not in (tmp_path / "env").read_text()


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('data.train = "images"\ntarget.device = "local"\n')
    return path


@pytest.mark.parametrize("form", ["table", "lines", "dotted", "inline", None])
def test_the_best_recipe_of_a_sweep_has_no_signing_command(recipe, tmp_path, form):
    """Neither from the recipe's text, in each way that TOML has, nor from --set, which ended in a KeyError."""
    command = f'["kms", "--pin", "{PIN}"]'
    parts = {
        "table": f'[deploy]\nsign_key = "release"\nsign_command = {command}  # of the token\n',
        "lines": f'[deploy]\nsign_key = "release"\nsign_command = [\n  "kms",  # what\n  "{PIN}",\n]\n',
        "dotted": f'deploy.sign_key = "release"\ndeploy.sign_command = {command}\n',
        "inline": f'deploy = {{sign_key = "release", sign_command = {command}}}\n',
    }
    recipe.write_text(recipe.read_text() + parts.get(form, ""))
    given = [] if form else ["deploy.sign_key=release", COMMAND]
    made = Sweep(recipe, given, {"distill.temperature": [2.0]}, tmp_path / "run", Talk(quiet=True))
    assert made.recipe_of(made.grid[0]).deploy.sign_command[0] == "kms"
    best = made._best_toml(TrialResult(settings=made.grid[0], value=0.5, state="complete", epochs=1))
    assert PIN not in best
    assert "kms" not in best
    assert "# deploy.sign_command is left out, since it may hold a secret" in best
    found = tomllib.loads(best)
    assert found["deploy"] == {"sign_key": "release"}
    assert found["distill"]["temperature"] == 2.0


def test_a_whole_sweep_and_its_run_folder_hold_neither(finished_run, tmp_path, capsys):
    run = shutil.copytree(finished_run / "runs" / "r", tmp_path / "run")
    new_key("release")
    words = [
        "sweep",
        finished_run / "r.toml",
        "--run-dir",
        run,
        "--over",
        "distill.temperature=2.0",
        "--set",
        "deploy.sign_key=release",
        "--set",
        COMMAND,
        "--json",
    ]
    assert main([str(word) for word in words]) == 0
    assert PIN not in "".join(capsys.readouterr())
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert PIN.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    "override",
    [
        f"deploy.sign_command=kms --pin {PIN}",
        f'deploy.sign_command=["kms", ["{PIN}"]]',
        f"deploy.sign_command:{PIN}",
        f'deploy={{sign_command = ["kms", "{PIN}"]}}',
        f'deploy:{{sign_command = ["kms", "{PIN}"]}}',
    ],
)
def test_a_refusal_of_the_recipe_does_not_repeat_it(recipe, tmp_path, override, capsys):
    words = ["run", str(recipe), "--run-dir", str(tmp_path / "r"), "--set", override]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "deploy" in said
    assert PIN not in said


def test_the_value_of_the_key_is_hidden_from_its_section_down_and_others_are_shown():
    hidden = ("deploy", "deploy.sign_command", "deploy.sign_command.1")
    shown = ("deploy.sign_key", "deploy.sign_commands", "sign_command", "dep", "data")
    assert {shown_value(key, PIN) for key in hidden} == {"(not shown)"}
    assert {shown_value(key, "x") for key in shown} == {"'x'"}


def test_the_hint_how_to_go_on_does_not_repeat_it(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "edgedistill.pipeline.runner.run_stages", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    new_key("release")
    words = ["run", str(recipe), "--run-dir", str(tmp_path / "r"), "--set", "deploy.sign_key=release"]
    for given in (["--set", COMMAND], [f"--set={COMMAND}"]):
        assert main([*words, *given]) == 130
        said = capsys.readouterr().err
        assert "deploy.sign_command=(not shown)" in said
        assert PIN not in said


def test_the_password_of_a_database_is_not_shown_either():
    words = ["--storage", "postgresql://me:secret@host:5432/db", "http://host:80/x", "a@b:c"]
    shown = ["--storage", "postgresql://me:(not shown)@host:5432/db", "http://host:80/x", "a@b:c"]
    assert without_secrets(words) == shown


def test_what_is_wrong_elsewhere_is_still_repeated(tmp_path):
    (tmp_path / "r.toml").write_text('[data]\ntrain = "x"\n[distill]\ntemperature = "hot"\n')
    with pytest.raises(RecipeError, match="got 'hot'"):
        Sweep(tmp_path / "r.toml", [], {"distill.kd_weight": [0.5]}, tmp_path / "run", Talk(True))
