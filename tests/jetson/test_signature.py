import os
import shutil
import tempfile

import pytest

from bundles import make_bundle
from edgedistill_device.errors import SignatureError
from edgedistill_device.releases import signature
from keys import new_key, sign_manifest


@pytest.fixture
def board(tmp_path):
    """(bundle signed by `ours`, board's root that trusts it)."""
    root, keys = tmp_path / "root", tmp_path / "keys"
    (root / "trusted.d").mkdir(parents=True)
    keys.mkdir()
    private, public = new_key(keys, "ours")
    os.rename(public, str(root / "trusted.d" / "ours.pem"))
    bundle = make_bundle(tmp_path / "bundle")
    sign_manifest(bundle, private)
    return bundle, root


def test_what_a_trusted_key_signed_is_given_back(board):
    bundle, root = board
    content, key_id = signature.signed_manifest_bytes(bundle, root)
    with open(os.path.join(bundle, "manifest.json"), "rb") as file:
        assert file.read() == content
    assert key_id == signature.key_id_of(root / "trusted.d" / "ours.pem")


def test_a_byte_more_in_the_manifest_is_refused(board):
    bundle, root = board
    with open(os.path.join(bundle, "manifest.json"), "ab") as file:
        file.write(b"\n")
    with pytest.raises(SignatureError, match="matches none of the keys"):
        signature.signed_manifest_bytes(bundle, root)


def test_an_unsigned_bundle_is_refused(board):
    bundle, root = board
    os.remove(os.path.join(bundle, "manifest.json.sig"))
    with pytest.raises(SignatureError, match="not signed"):
        signature.signed_manifest_bytes(bundle, root)


def test_another_key_is_refused_until_it_is_trusted_too(board, tmp_path):
    bundle, root = board
    private, public = new_key(tmp_path, "theirs")
    sign_manifest(bundle, private)
    with pytest.raises(SignatureError, match="matches none"):
        signature.signed_manifest_bytes(bundle, root)
    os.rename(public, str(root / "trusted.d" / "theirs.pem"))
    assert signature.signed_manifest_bytes(bundle, root)


def test_a_revoked_key_is_refused(board):
    bundle, root = board
    key_id = signature.key_id_of(root / "trusted.d" / "ours.pem")
    for text in (key_id, "caf\u00e9 \u2013 lost laptop\r\n%s\r\n" % (key_id.upper(),)):
        (root / "revoked").write_bytes(text.encode("utf-8"))
        with pytest.raises(SignatureError, match="no key is trusted"):
            signature.signed_manifest_bytes(bundle, root)
    (root / "revoked").write_bytes(key_id.encode("utf-16"))  # as some editors write: none is revoked by it
    with pytest.raises(SignatureError, match="revoked: expected ids of keys in UTF-8"):
        signature.signed_manifest_bytes(bundle, root)
    (root / "revoked").unlink()
    (root / "revoked").mkdir()  # there, and not to be read
    with pytest.raises(SignatureError, match="which keys are revoked is not known"):
        signature.signed_manifest_bytes(bundle, root)


def test_a_key_of_another_curve_is_no_key_of_ours(board, tmp_path):
    bundle, root = board
    os.rename(new_key(tmp_path, "p384", "P-384")[1], str(root / "trusted.d" / "p384.pem"))
    assert signature.signed_manifest_bytes(bundle, root)  # the other one still is
    (line,) = signature.key_store(root)[1]
    assert line.endswith("p384.pem: expected a P-256 public key in PEM form")
    (root / "trusted.d" / "ours.pem").unlink()
    with pytest.raises(SignatureError, match="P-256"):
        signature.signed_manifest_bytes(bundle, root)


def test_a_link_is_no_manifest(board, tmp_path):
    bundle, root = board
    manifest = os.path.join(bundle, "manifest.json")
    os.rename(manifest, str(tmp_path / "elsewhere"))
    os.symlink(str(tmp_path / "elsewhere"), manifest)
    with pytest.raises(SignatureError, match="has no manifest.json"):
        signature.signed_manifest_bytes(bundle, root)


@pytest.mark.parametrize("script", [None, "exit 0", "echo Verified OK; exit 1", "echo Verification Failure"])
def test_without_an_openssl_that_says_yes_nothing_is_trusted(board, tmp_path, monkeypatch, script):
    """A program that ends with 0, or only prints the words, is not enough: key_id_of refuses first."""
    bundle, root = board
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    if script is not None:
        program = tmp_path / "bin" / "openssl"
        program.write_text("#!/bin/sh\n" + script + "\n")
        program.chmod(0o755)
    with pytest.raises(SignatureError):
        signature.signed_manifest_bytes(bundle, root)


@pytest.mark.parametrize("script", ["exit 0", "echo Verified OK; exit 1", "echo Verification Failure; exit 0"])
def test_of_a_wrong_signature_neither_exit_code_nor_words_alone_are_believed(board, tmp_path, monkeypatch, script):
    """The program reads keys as the real one does, so that its answer about the signature is what counts."""
    bundle, root = board
    program = tmp_path / "bin" / "openssl"
    program.parent.mkdir()
    real = shutil.which("openssl")
    program.write_text('#!/bin/sh\ncase "$1" in dgst) cat > /dev/null; %s;; *) exec %s "$@";; esac\n' % (script, real))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent) + ":" + os.environ["PATH"])
    with pytest.raises(SignatureError, match="the signature matches none of the keys"):
        signature.signed_manifest_bytes(bundle, root)


def test_no_file_lies_anywhere_while_openssl_is_at_work(board, tmp_path, monkeypatch):
    """Who is killed then leaves nothing behind."""
    bundle, root = board
    place, program, seen = tmp_path / "tmp", tmp_path / "bin" / "openssl", tmp_path / "seen"
    place.mkdir()
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nls %s >> %s\nexec %s "$@"\n' % (place, seen, shutil.which("openssl")))
    program.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setenv("PATH", str(program.parent) + ":" + os.environ["PATH"])
    assert signature.signed_manifest_bytes(bundle, root)
    assert seen.read_text() == ""
