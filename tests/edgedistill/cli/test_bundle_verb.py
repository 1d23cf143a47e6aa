"""`edgedistill keys` and `edgedistill bundle` as a person calls them."""

import json
import os
import shutil

import pytest

from edgedistill.bundles.keys import PASSPHRASE, keys_folder, load_key
from edgedistill.cli import keys as keys_verb
from edgedistill.cli.main import main
from edgedistill_device.manifest import SIGNATURE

SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def own_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(PASSPHRASE, raising=False)


def test_keys_are_made_listed_and_shown(capsys):
    assert main(["keys", "list"]) == 0
    assert "make one: edgedistill keys new" in capsys.readouterr().out
    assert main(["keys", "new", "--no-passphrase"]) == 0
    key = load_key("release")
    said = capsys.readouterr().out
    assert key.key_id in said
    assert "without a passphrase" in said
    assert "PRIVATE" not in said
    assert main(["keys", "new", "second", "--json", "--no-passphrase"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["key_id"] == load_key("second").key_id
    assert main(["keys", "list"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [
        "release",
        "second",
    ]
    assert main(["keys", "show", "second"]) == 0
    assert "BEGIN PUBLIC KEY" in capsys.readouterr().out


def test_a_key_of_a_kms_is_taken_in(capsys, tmp_path):
    assert main(["keys", "new", "kms", "--no-passphrase"]) == 0
    shutil.move(load_key("kms").public, tmp_path / "kms.pem")
    load = tmp_path / "config" / "edgedistill" / "keys" / "kms.key"
    load.unlink()
    assert main(["keys", "add", "kms", str(tmp_path / "kms.pem")]) == 0
    assert "private half elsewhere" in capsys.readouterr().out


def test_refusals_are_one_line(capsys):
    assert main(["keys", "new", "a", "--no-passphrase"]) == 0
    capsys.readouterr()
    for words in (["new", "a"], ["show", "b"], ["new", "../c"], ["add", "d", "none.pem"]):
        assert main(["keys", *words]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("edgedistill keys: ")
        assert said.err.count("\n") == 1


def test_a_passphrase_is_asked_for_twice(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    answers = iter(["one", "other", SECRET, SECRET, ""])
    monkeypatch.setattr(keys_verb.getpass, "getpass", lambda prompt: next(answers))
    assert main(["keys", "new", "a"]) == 1
    assert "the two passphrases differ; no key was made" in capsys.readouterr().err
    assert main(["keys", "new", "a"]) == 0
    assert "with a passphrase" in capsys.readouterr().out
    assert main(["keys", "new", "b"]) == 0
    assert "without a passphrase" in capsys.readouterr().out
    assert main(["keys", "new", "c", "--no-passphrase"]) == 0


@pytest.mark.parametrize("stdin", ["/dev/null", "closed"])
@pytest.mark.parametrize("variable", [None, ""])
def test_without_a_terminal_no_key_is_made_in_the_clear_unless_asked(monkeypatch, capsys, stdin, variable):
    if variable is not None:
        monkeypatch.setenv(PASSPHRASE, variable)
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing if stdin == "/dev/null" else None)
        made_without_asking(capsys)


def made_without_asking(capsys):
    assert main(["keys", "new", "a"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "set EDGEDISTILL_KEY_PASSPHRASE, or give --no-passphrase" in said.err
    assert said.err.count("\n") == 1
    assert not list(keys_folder().glob("*"))
    assert main(["keys", "new", "a", "--no-passphrase"]) == 0
    assert "without a passphrase" in capsys.readouterr().out


def test_a_signed_archive_in_one_command_and_the_passphrase_nowhere(finished_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(PASSPHRASE, SECRET)
    assert main(["keys", "new"]) == 0
    run = tmp_path / "kept"
    archives = [run / "r.edb.tar", tmp_path / "b.edb.tar"]  # by the recipe's name, where none is named
    shutil.copytree(finished_run / "runs" / "r", run)
    capsys.readouterr()
    said = ""
    for out, named in zip(archives, ([], ["--out", archives[1]]), strict=True):
        words = [
            "bundle",
            finished_run / "r.toml",
            "--run-dir",
            run,
            "--set",
            "deploy.sign_key=release",
            "--force",
            "bundle",
            "--format",
            "archive",
            *named,
        ]
        assert main([str(word) for word in words]) == 0
        captured = capsys.readouterr()
        assert captured.out == f"{out}\n"
        said += captured.err
    assert archives[0].read_bytes() == archives[1].read_bytes()
    values = json.loads((run / "bundle" / "bundle.json").read_text())
    assert (values["signed"], values["key_id"]) == (True, load_key("release").key_id)
    assert (run / "bundle" / "bundle" / SIGNATURE).is_file()
    assert SECRET not in said
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path

    def planned(*words):
        assert main(["run", str(finished_run / "r.toml"), "--run-dir", str(run), "--dry-run", "--json", *words]) == 0
        rows = json.loads(capsys.readouterr().out)["stages"]
        return next((row["action"], row["reason"]) for row in rows if row["stage"] == "bundle")

    assert planned()[0] == "keep", "another verb without the setting leaves it signed"
    assert planned("--set", "deploy.sign_key=") == ("run", 'recipe: deploy.sign_key was "release", is null')


def test_a_serial_rises_and_a_recipe_that_names_a_program_is_said_to_run_it(
    finished_run, tmp_path, monkeypatch, capsys
):
    assert main(["keys", "new", "--no-passphrase"]) == 0
    key = load_key("release")
    signer = tmp_path / "signer"
    signer.write_text(f"#!/bin/sh\nexec openssl dgst -sha256 -sign {key.private}\n")
    signer.chmod(0o755)
    shutil.copytree(finished_run / "runs" / "r", tmp_path / "r")
    words = [
        "bundle",
        str(finished_run / "r.toml"),
        "--run-dir",
        str(tmp_path / "r"),
        "--force",
        "bundle",
        "--set",
        "deploy.sign_key=release",
        "--set",
        f'deploy.sign_command=["{signer}", "1234"]',
    ]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert main(words) == 0
    said = capsys.readouterr().err
    assert f"the recipe's deploy.sign_command runs {signer} to sign\n" in said
    assert "1234" not in said
    assert main([*words, "--set", "deploy.golden_images=5"]) == 1
    assert "boards take no serial that does not rise" in capsys.readouterr().err
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000001")
    assert main([*words, "--set", "deploy.golden_images=5"]) == 0


def test_without_a_key_nothing_is_exported(finished_run, tmp_path, capsys):
    words = [
        "bundle",
        str(finished_run / "r.toml"),
        "--run-dir",
        str(tmp_path / "r"),
        "--format",
        "oci",
    ]
    assert main(words) == 1
    assert "what leaves this computer is signed: edgedistill keys new" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_key_that_is_not_there_stops_a_run_before_its_first_stage(finished_run, tmp_path, capsys):
    words = ["run", str(finished_run / "r.toml"), "--run-dir", str(tmp_path / "r"), "--set"]
    assert main([*words, "deploy.sign_key=relaese"]) == 1
    assert "no key 'relaese' in" in capsys.readouterr().err
    assert not (tmp_path / "r" / "data").exists()
