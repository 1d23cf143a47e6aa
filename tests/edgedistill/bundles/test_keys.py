"""Against the real openssl."""

import os
import stat
import subprocess
import threading

import pytest

from edgedistill.bundles import keys
from edgedistill.bundles.keys import add_public_key, list_keys, load_key, new_key, passphrase_of
from edgedistill.errors import SigningError


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=True, **options)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_key_is_p256_and_for_its_owner_only(tmp_path):
    old = os.umask(0)
    try:
        key = new_key("release", tmp_path / "config" / "keys")
    finally:
        os.umask(old)
    assert mode_of(key.private) == 0o600
    assert mode_of(key.private.parent) == 0o700
    assert b"prime256v1" in openssl("pkey", "-in", key.private, "-noout", "-text").stdout
    assert openssl("pkey", "-in", key.private, "-pubout").stdout == key.public.read_bytes()
    assert key == load_key("release", key.private.parent)
    assert sorted(os.listdir(key.private.parent)) == ["release.key", "release.pem"]


def test_the_id_is_the_hash_of_the_public_half(tmp_path):
    key = new_key("a", tmp_path)
    der = openssl("pkey", "-pubin", "-in", key.public, "-outform", "DER").stdout
    digest = openssl("dgst", "-sha256", "-r", input=der).stdout.decode()
    assert key.key_id == digest[:16]


def test_a_key_is_never_overwritten(tmp_path):
    content = new_key("a", tmp_path).private.read_bytes()
    with pytest.raises(SigningError, match="never overwritten"):
        new_key("a", tmp_path)
    assert (tmp_path / "a.key").read_bytes() == content


def test_of_two_that_make_one_name_at_once_one_wins(tmp_path, monkeypatch):
    """Both find the name free; the second to write is told so."""
    made, both = [], threading.Barrier(2, timeout=30)
    free = keys._free_places

    def free_then_wait(name, folder):
        places = free(name, folder)
        both.wait()
        return places

    def make():
        try:
            made.append(new_key("a", tmp_path))
        except SigningError as error:
            made.append(str(error))

    monkeypatch.setattr(keys, "_free_places", free_then_wait)
    monkeypatch.setattr(os, "getpid", threading.get_ident)  # two processes, not two threads
    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lost = [one for one in made if isinstance(one, str)]
    assert len(lost) == 1
    assert "never overwritten" in lost[0]
    key = load_key("a", tmp_path)
    assert openssl("pkey", "-in", key.private, "-pubout").stdout == key.public.read_bytes()


def test_half_a_pair_does_not_keep_the_name(tmp_path, monkeypatch):
    def full_for_the_second(source, to, link=os.link):
        if to.suffix == ".pem":
            raise OSError(28, "No space left on device")
        link(source, to)

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", full_for_the_second)
        with pytest.raises(SigningError, match="No space left on device"):
            new_key("a", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "-a", "a\n", "a b", "x" * 65])
def test_a_name_that_is_none_is_refused(tmp_path, name):
    with pytest.raises(SigningError, match="expected letters, digits"):
        new_key(name, tmp_path / "keys")
    assert not (tmp_path / "keys").exists()


def test_a_passphrase_encrypts(tmp_path):
    key = new_key("a", tmp_path, "correct horse")
    assert b"ENCRYPTED" in key.private.read_bytes()
    assert openssl("pkey", "-in", key.private, "-passin", "pass:correct horse", "-pubout").stdout == (
        key.public.read_bytes()
    )
    listing = openssl("asn1parse", "-in", key.private).stdout
    assert b":0927C0" in listing  # 600000 rounds
    assert b"hmacWithSHA256" in listing
    wrong = ["openssl", "pkey", "-in", str(key.private), "-passin", "pass:wrong"]
    assert subprocess.run(wrong, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("passphrase", ["two\nlines", "x" * 1001, "nul\0"])
def test_a_passphrase_that_openssl_would_cut_is_refused(tmp_path, passphrase):
    with pytest.raises(SigningError, match="one line of at most") as caught:
        new_key("a", tmp_path, passphrase)
    assert passphrase not in str(caught.value)
    assert list_keys(tmp_path) == []


def test_no_secret_is_in_an_argument_list(tmp_path, monkeypatch):
    """A stand-in openssl writes down what a neighbour on the machine could see."""
    (tmp_path / "bin").mkdir()
    spy = tmp_path / "bin" / "openssl"
    real = subprocess.run(["which", "openssl"], capture_output=True, text=True, check=True).stdout.strip()
    spy.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/seen\nexec {real} "$@"\n')
    spy.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv(keys.PASSPHRASE, "tell-nobody")
    key = new_key("a", tmp_path / "keys", "tell-nobody")
    assert keys.run_openssl("pkey", "-in", str(key.private), passin=passphrase_of(key)).returncode == 0
    seen = (tmp_path / "seen").read_text()
    assert "genpkey" in seen
    assert "tell-nobody" not in seen


def test_the_passphrase_comes_from_the_environment_or_a_terminal(tmp_path, monkeypatch):
    monkeypatch.delenv(keys.PASSPHRASE, raising=False)
    key = new_key("a", tmp_path, "p")
    assert passphrase_of(new_key("plain", tmp_path)) is None
    with pytest.raises(SigningError, match="EDGEDISTILL_KEY_PASSPHRASE, or run this in a terminal"):
        passphrase_of(key)
    monkeypatch.setenv(keys.PASSPHRASE, "p")
    assert passphrase_of(key) == "p"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_private_key_that_others_read_is_refused(tmp_path, mode):
    new_key("a", tmp_path).private.chmod(mode)
    with pytest.raises(SigningError, match=f"mode {mode:04o}, so others can read it.*chmod 600"):
        load_key("a", tmp_path)


@pytest.mark.parametrize("curve", ["P-384", "secp256k1"])
def test_another_curve_is_refused(tmp_path, curve):
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out", tmp_path / "a.key")
    openssl("pkey", "-in", tmp_path / "a.key", "-pubout", "-out", tmp_path / "a.pem")
    with pytest.raises(SigningError, match="expected a P-256 public key"):
        load_key("a", tmp_path)


def test_a_key_that_is_not_there_is_named_with_those_that_are(tmp_path):
    new_key("release", tmp_path)
    with pytest.raises(SigningError, match=r"no key 'relaese' .*there: release.*keys new relaese"):
        load_key("relaese", tmp_path)


def test_a_public_half_alone_can_be_taken_in(tmp_path):
    key = new_key("kms", tmp_path / "theirs")
    added = add_public_key("kms", key.public, tmp_path / "ours")
    assert (added.key_id, added.private) == (key.key_id, None)
    with pytest.raises(SigningError, match="expected a P-256 public key"):
        add_public_key("other", key.private, tmp_path / "ours")
    assert [path.name for path in (tmp_path / "ours").iterdir()] == ["kms.pem"], "the name is still free"


def test_keys_lie_in_the_users_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert new_key("a").private == tmp_path / "edgedistill" / "keys" / "a.key"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert keys.keys_folder() == tmp_path / "home" / ".config" / "edgedistill" / "keys"
