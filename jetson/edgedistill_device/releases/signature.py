"""Verify who signed a bundle: ECDSA P-256 over the raw bytes of its manifest, checked before they are parsed.

ROOT/trusted.d/*.pem   public keys that were put there at enrolment
ROOT/revoked           key ids, one a line: no longer trusted, whatever lies in trusted.d

Both, and ROOT, may be written by their owner alone. A file that holds no such key is passed over, and
`status` says why.

The check is `openssl dgst -sha256 -verify`, which JetPack 4.6 (OpenSSL 1.1.1) has out of the box.
A key's id is the first 16 hex digits of the SHA-256 of its DER form (RFC 5280's SubjectPublicKeyInfo).
"""

import functools
import hashlib
import os
import shutil
import stat
import subprocess

from edgedistill_device.errors import SignatureError
from edgedistill_device.manifest import MAX_BYTES, NAME, SIGNATURE

TRUSTED, REVOKED = "trusted.d", "revoked"
MAX_SIGNATURE_BYTES = 256  # DER of P-256 has at most 72
_MAX_KEY_BYTES = 1 << 16
_P256_DER_START = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_TIMEOUT_S = 60
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def signed_manifest_bytes(folder, root):
    """(bytes of the manifest, id of the key that signed them); nothing of them was parsed.

    Args:
        folder: where manifest.json and manifest.json.sig lie.
        root: the board's folder, with trusted.d.

    Raises:
        SignatureError: unsigned, altered, or signed by a key that is not trusted here.
    """
    content = _read(os.path.join(str(folder), NAME), MAX_BYTES, "the bundle has no %s" % (NAME,))
    signature = _read(
        os.path.join(str(folder), SIGNATURE),
        MAX_SIGNATURE_BYTES,
        "the bundle is not signed; on the workstation: edgedistill keys new, then make it again",
    )
    return content, key_that_signed(content, signature, root)


def key_that_signed(content, signature, root):
    """Id of the trusted key that a DER signature over `content` (both bytes) is of.

    Raises:
        SignatureError: no key that is trusted here.
    """
    keys, skipped = key_store(root)
    passed_over = "; passed over: %s" % "; ".join(skipped) if skipped else ""
    if not keys:
        raise SignatureError(
            "no key is trusted on this board; on the workstation: edgedistill enrol%s" % (passed_over,)
        )
    for key_id, path in sorted(keys.items()):
        if verifies(content, signature, path):
            return key_id
    raise SignatureError(
        "the signature matches none of the keys trusted here (%s): the manifest was altered, or "
        "another key signed it%s" % (", ".join(sorted(keys)), passed_over)
    )


def trusted_keys(root):
    """{key id: path} of trusted.d, less what is revoked.

    Raises:
        SignatureError: as `key_store`.
    """
    return key_store(root)[0]


def key_store(root):
    """({key id: path} that are trusted, a line for each file that is passed over and why).

    Raises:
        SignatureError: others may write where keys are kept, `revoked` cannot be read, or no openssl.
    """
    folder, revoked = os.path.join(str(root), TRUSTED), _revoked(root)
    for path in (str(root), folder, os.path.join(str(root), REVOKED)):
        fault = _fault_of(path, root) if os.path.lexists(path) else None
        if fault is not None:
            raise SignatureError("%s: %s; no key is trusted until then" % (path, fault))
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".pem"))
    except (IOError, OSError):
        return {}, []
    _program()
    paths, skipped = {}, []
    for name in names:
        path = os.path.join(folder, name)
        try:
            fault = _fault_of(path, root, file=True)
            if fault is not None:
                raise SignatureError("%s: %s" % (path, fault))
            paths[key_id_of(path)] = path
        except SignatureError as error:  # one bad file must not end the trust in all others
            skipped.append(str(error))
    return {key_id: path for key_id, path in paths.items() if key_id not in revoked}, skipped


def _fault_of(path, root, file=False):
    """Why another user may have written the path, and what to do; None where only this user can."""
    try:
        info, ours = os.stat(path), {0, os.geteuid(), os.stat(str(root)).st_uid}
    except (IOError, OSError) as error:
        return error.strerror
    if file and not stat.S_ISREG(info.st_mode):
        return "no plain file; remove it"
    if info.st_uid not in ours:
        return "belongs to another user (uid %d); look whether it is yours, then chown it" % (info.st_uid,)
    if info.st_mode & _OTHERS_WRITE:
        return "other users can write there (mode %04o); look whether its keys are yours, then: chmod go-w %s" % (
            stat.S_IMODE(info.st_mode),
            path,
        )
    return None


def key_id_of(path):
    """Id of the P-256 public key in a PEM file.

    Raises:
        SignatureError: it holds something else.
    """
    try:
        with open(str(path), "rb") as file:
            return _key_id_in(file.read(_MAX_KEY_BYTES))
    except (IOError, OSError, ValueError):
        raise SignatureError("%s: expected a P-256 public key in PEM form" % (path,))


@functools.lru_cache(maxsize=64)  # `status` asks for each release; a board starts openssl in some 20 ms
def _key_id_in(pem):
    done = _openssl(["pkey", "-pubin", "-outform", "DER"], pem)
    if done.returncode != 0 or not done.stdout.startswith(_P256_DER_START):
        raise ValueError("no such key")
    return hashlib.sha256(done.stdout).hexdigest()[:16]


def _revoked(root):
    path = os.path.join(str(root), REVOKED)
    try:
        with open(path, encoding="utf-8") as file:
            return set(file.read().lower().split())
    except FileNotFoundError:
        return set()
    except ValueError:  # what it revoked must not be trusted again
        raise SignatureError("%s: expected ids of keys in UTF-8, one a line; write the file again" % (REVOKED,))
    except (IOError, OSError) as error:  # must not count as none
        raise SignatureError("%s: %s; which keys are revoked is not known" % (path, error.strerror))


def verifies(content, signature, public_pem):
    """Whether a DER signature over `content` (both bytes) is of the key in a PEM file.

    Raises:
        SignatureError: no openssl.
    """
    # The bytes that are checked are the bytes that are used: they go in from memory, by stdin and by
    # a pipe, which holds 4096 bytes at least and leaves no file behind whatever ends this process.
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as file:
            file.write(signature)
        command = ["dgst", "-sha256", "-verify", public_pem, "-signature", "/dev/fd/%d" % reading]
        done = _openssl(command, content, (reading,))
    finally:
        os.close(reading)
    # Both: a wrapper that always ends with 0 must not pass.
    return done.returncode == 0 and done.stdout.strip() == b"Verified OK"


def _openssl(arguments, stdin, descriptors=()):
    try:
        return subprocess.run(
            [_program()] + arguments,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=_TIMEOUT_S,
            check=False,
            pass_fds=descriptors,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SignatureError("openssl gave no answer: %s" % (error,))


def _program():
    program = shutil.which("openssl")
    if program is None:
        raise SignatureError("no openssl on this board, so no bundle can be trusted: sudo apt install openssl")
    return program


def _read(path, limit, absent):
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            content = file.read(limit + 1)
    except (IOError, OSError):
        raise SignatureError(absent)
    if len(content) > limit:
        raise SignatureError("%s: larger than %d bytes, the limit of a manifest" % (path, limit))
    return content
