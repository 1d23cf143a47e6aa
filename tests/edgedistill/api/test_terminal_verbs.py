"""`edgedistill.keys` and `edgedistill.completion`: what their verbs do, without a terminal."""

import argparse
import json
import subprocess

import pytest

import edgedistill
from edgedistill.bundles.keys import PASSPHRASE
from edgedistill.cli.main import main
from edgedistill.config.target import target_names
from edgedistill.errors import SigningError, UsageError
from optional_tools import needs


@pytest.fixture(autouse=True)
def own_keys(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv(PASSPHRASE, raising=False)


def test_keys_gives_what_the_command_prints(capsys):
    assert edgedistill.keys() == []
    (plain,) = edgedistill.keys("new", "plain")
    (encrypted,) = edgedistill.keys("new", "encrypted", passphrase="of a test")
    assert (plain["about"], encrypted["about"]) == ("without a passphrase", "with a passphrase")
    assert edgedistill.keys("list") == [encrypted, plain]
    for action in ("show", "reset"):
        assert edgedistill.keys(action, "plain") == [plain]
        assert main(["keys", action, "plain", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == plain


def test_keys_adds_a_public_key(tmp_path):
    (made,) = edgedistill.keys("new", "made")
    (added,) = edgedistill.keys("add", "added", pem=made["public"])
    assert (added["key_id"], added["private"]) == (made["key_id"], None)


def test_keys_refuses_in_one_line():
    for arguments, line in (
        (("new",), "'new' needs the name of a key"),
        (("add", "a"), "'add' needs pem="),
        (("sign", "a"), "expected new, add, list, show or reset, got 'sign'"),
    ):
        with pytest.raises(UsageError, match=line):
            edgedistill.keys(*arguments)
    with pytest.raises(SigningError):
        edgedistill.keys("show", "none")


def test_a_script_completes_the_parser_that_is_given():
    needs("bash", "bash")
    parser = argparse.ArgumentParser("bake")
    parser.add_argument("--target")
    script = edgedistill.completion("bash", parser)
    words = 'COMP_WORDS=(bake --target jetson-n); COMP_CWORD=2; _shtab_bake; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", f"{script}\n{words}"], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {name for name in target_names() if name.startswith("jetson-n")}
