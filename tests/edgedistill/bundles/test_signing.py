"""Signatures made here are checked by openssl itself and by the board's code."""

import base64
import os
import subprocess
import sys

import pytest

from edgedistill.bundles.keys import PASSPHRASE, add_public_key, new_key
from edgedistill.bundles.signing import der_from_output, sign_bundle
from edgedistill.errors import SigningError
from edgedistill_device.manifest import NAME, SIGNATURE
from edgedistill_device.releases.signature import signed_manifest_bytes


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / NAME).write_bytes(b'{"version": 2}\n')
    return tmp_path / "bundle"


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys"


def openssl_says(bundle, key):
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", key.public, "-signature", bundle / SIGNATURE, bundle / NAME],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def command(*steps):
    """A program of ours that reads all of stdin and ends as the steps say."""
    return [sys.executable, "-c", "; ".join(["import sys, os, subprocess, base64", *steps])]


def signing_command(key, then="sys.stdout.buffer.write(made)"):
    sign = (
        f"made = subprocess.run(['openssl', 'dgst', '-sha256', '-sign', {str(key.private)!r}], "
        "input=sys.stdin.buffer.read(), stdout=subprocess.PIPE).stdout"
    )
    return command(sign, then)


def test_a_key_signs_what_the_board_then_takes(bundle, keys, tmp_path):
    key = new_key("release", keys)
    assert sign_bundle(bundle, "release", keys=keys) == key.key_id
    assert openssl_says(bundle, key) == "Verified OK"
    (tmp_path / "root" / "trusted.d").mkdir(parents=True)
    os.link(key.public, tmp_path / "root" / "trusted.d" / "release.pem")
    assert signed_manifest_bytes(bundle, tmp_path / "root") == ((bundle / NAME).read_bytes(), key.key_id)


def test_a_good_signature_is_kept_and_a_stale_one_is_not(bundle, keys):
    new_key("release", keys)
    sign_bundle(bundle, "release", keys=keys)
    first = (bundle / SIGNATURE).read_bytes()
    sign_bundle(bundle, "release", keys=keys)
    assert (bundle / SIGNATURE).read_bytes() == first
    (bundle / NAME).write_bytes(b'{"version": 3}\n')
    sign_bundle(bundle, "release", keys=keys)
    assert (bundle / SIGNATURE).read_bytes() != first
    other = new_key("other", keys)
    sign_bundle(bundle, "other", keys=keys)
    assert openssl_says(bundle, other) == "Verified OK"


def test_the_passphrase_opens_the_key(bundle, keys, monkeypatch):
    key = new_key("release", keys, "right")
    monkeypatch.setenv(PASSPHRASE, "wrong-one")
    with pytest.raises(SigningError, match="wrong passphrase; nothing was signed") as caught:
        sign_bundle(bundle, "release", keys=keys)
    assert "wrong-one" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (bundle / SIGNATURE).exists()
    monkeypatch.setenv(PASSPHRASE, "right")
    sign_bundle(bundle, "release", keys=keys)
    assert openssl_says(bundle, key) == "Verified OK"


@pytest.mark.parametrize(
    "then",
    [
        "sys.stdout.buffer.write(made)",
        "print(base64.b64encode(made).decode())",
        "sys.stdout.buffer.write(base64.encodebytes(made))",
    ],
)
def test_a_command_signs_in_der_or_base64(bundle, keys, tmp_path, then):
    key = new_key("token", tmp_path / "elsewhere")
    add_public_key("token", key.public, keys)
    sign_bundle(bundle, "token", signing_command(key, then), keys)
    assert openssl_says(bundle, key) == "Verified OK"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (("sys.exit(3)",), "ended with exit code 3"),
        (("pass",), "got 0 bytes that are neither"),
        (("print('Signature: 1234')",), "neither"),
        (("sys.stdout.buffer.write(bytes(64))",), "got 64 bytes that are neither"),
        (("sys.stdout.buffer.write(b'0' + bytes([70]) + bytes(70))",), "is not one of key 'release'"),
    ],
)
def test_a_command_that_gives_no_good_signature_is_refused(bundle, keys, steps, message):
    new_key("release", keys)
    with pytest.raises(SigningError, match=message):
        sign_bundle(bundle, "release", command("sys.stdin.buffer.read()", *steps), keys)
    assert not (bundle / SIGNATURE).exists()


def test_a_command_that_signs_with_another_key_is_refused(bundle, keys):
    new_key("release", keys)
    other = new_key("other", keys)
    with pytest.raises(SigningError, match="not one of key 'release'.*does the command sign with it"):
        sign_bundle(bundle, "release", signing_command(other), keys)


def test_halves_that_are_no_pair_are_refused(bundle, keys):
    key, other = new_key("a", keys), new_key("b", keys)
    key.public.write_bytes(other.public.read_bytes())
    with pytest.raises(SigningError, match=r"a\.key and .*a\.pem are no pair"):
        sign_bundle(bundle, "a", keys=keys)


def test_a_command_that_is_not_there_is_named(bundle, keys):
    new_key("a", keys)
    with pytest.raises(SigningError, match="no program 'no-such-kms'"):
        sign_bundle(bundle, "a", ["no-such-kms", "sign"], keys)


def test_a_command_does_not_see_the_passphrase(bundle, keys, monkeypatch, tmp_path):
    monkeypatch.setenv(PASSPHRASE, "tell-nobody")
    key = new_key("a", keys)
    note = f"open({str(tmp_path / 'seen')!r}, 'w').write(repr(os.environ)); sys.stdout.buffer.write(made)"
    sign_bundle(bundle, "a", signing_command(key, note), keys)
    assert "PATH" in (tmp_path / "seen").read_text()
    assert "tell-nobody" not in (tmp_path / "seen").read_text()


def test_a_public_half_alone_cannot_sign(bundle, keys, tmp_path):
    add_public_key("kms", new_key("x", tmp_path / "elsewhere").public, keys)
    with pytest.raises(SigningError, match=r"no private half here: set deploy\.sign_command"):
        sign_bundle(bundle, "kms", keys=keys)


def test_no_manifest_no_signature(tmp_path, keys):
    new_key("a", keys)
    with pytest.raises(SigningError, match=r"manifest\.json: No such file"):
        sign_bundle(tmp_path, "a", keys=keys)


def test_base64_of_something_else_is_refused():
    with pytest.raises(SigningError, match="neither"):
        der_from_output(base64.b64encode(b"hello, this is no signature"))
