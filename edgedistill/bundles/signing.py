"""Sign a bundle: ECDSA P-256 over the raw bytes of its manifest, by a key here or by a command.

A command (AWS KMS, PKCS#11, cosign, ...) gets the bytes on stdin and gives the signature on stdout,
in DER form or as base64 of it. Any signature counts only after a check with
the public key.
"""

from __future__ import annotations

import base64
import binascii
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgedistill.bundles.keys import KeyInfo, load_key, passphrase_of, run_openssl
from edgedistill.core.files import write_bytes
from edgedistill.environment.secret_values import child_environment
from edgedistill.errors import SigningError
from edgedistill_device.errors import SignatureError
from edgedistill_device.manifest import NAME, SIGNATURE
from edgedistill_device.releases.signature import MAX_SIGNATURE_BYTES, verifies

_COMMAND_TIMEOUT_S = 300  # a person may have to touch a token


def sign_bundle(folder: Path, key: str, command: Sequence[str] = (), keys: Path | None = None) -> str:
    """Write manifest.json.sig, unless a good one of this key is there: that one is kept.

    Args:
        folder: a bundle with its manifest.
        key: name of the key; with a command, its public half is enough.
        command: program and arguments that sign instead of the key's private half.
        keys: folder of keys, the default one when None.

    Returns:
        The key's id: 16 hex digits.

    Raises:
        SigningError: no manifest, no such key, or no signature that its public half confirms.
    """
    signer = load_key(key, keys)
    try:
        content = (folder / NAME).read_bytes()
    except OSError as error:
        raise SigningError(f"{folder / NAME}: {error.strerror}; a bundle is what can be signed") from None
    if not has_good_signature(folder, signer):
        require_signer(key, command, keys)
        signature = _by_command(content, command) if command else _by_key(content, signer)
        if not _confirmed(content, signature, signer):
            raise SigningError(
                f"the signature that was made is not one of key {key!r} ({signer.key_id}): "
                + (
                    "does the command sign with it, ECDSA P-256 over SHA-256?"
                    if command
                    else f"{signer.private} and {signer.public} are no pair"
                )
            )
        write_bytes(folder / SIGNATURE, signature)
    return signer.key_id


def require_signer(key: str, command: Sequence[str] = (), keys: Path | None = None) -> KeyInfo:
    """Check that the key or the command can sign, before long work that ends with a signature.

    Raises:
        SigningError: no such key, or neither its private half nor a program.
    """
    signer = load_key(key, keys)
    if command:
        _program(command)
    elif signer.private is None:
        raise SigningError(
            f"key {key!r} has no private half here: set deploy.sign_command, or make a key with `edgedistill keys new`"
        )
    return signer


def has_good_signature(folder: Path, key: KeyInfo) -> bool:
    """Whether the manifest that is there is signed by this key."""
    try:
        content, signature = (folder / NAME).read_bytes(), (folder / SIGNATURE).read_bytes()
    except OSError:
        return False
    return len(signature) <= MAX_SIGNATURE_BYTES and _confirmed(content, signature, key)


def _confirmed(content: bytes, signature: bytes, key: KeyInfo) -> bool:
    try:
        return verifies(content, signature, str(key.public))
    except SignatureError as error:
        raise SigningError(str(error)) from None


def _by_key(content: bytes, key: KeyInfo) -> bytes:
    passphrase = passphrase_of(key)
    done = run_openssl("dgst", "-sha256", "-sign", str(key.private), stdin=content, passin=passphrase)
    if done.returncode != 0:
        why = "wrong passphrase" if passphrase is not None else "openssl cannot read it"
        raise SigningError(f"{key.private}: {why}; nothing was signed")
    return done.stdout


def _by_command(content: bytes, command: Sequence[str]) -> bytes:
    """stderr is the command's own: it may ask for a PIN there, and nothing of it is kept."""
    try:
        done = subprocess.run(
            [_program(command), *command[1:]],
            input=content,
            stdout=subprocess.PIPE,
            check=False,
            timeout=_COMMAND_TIMEOUT_S,
            env=child_environment(),
        )
    except subprocess.TimeoutExpired:
        raise SigningError(f"deploy.sign_command: {command[0]}: no answer within {_COMMAND_TIMEOUT_S} s") from None
    except OSError as error:
        raise SigningError(f"deploy.sign_command: {command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        raise SigningError(f"deploy.sign_command: {command[0]} ended with exit code {done.returncode}")
    return der_from_output(done.stdout)


def _program(command: Sequence[str]) -> str:
    program = shutil.which(command[0])
    if program is None:
        raise SigningError(f"deploy.sign_command: no program {command[0]!r}; is it installed?")
    return program


def der_from_output(output: bytes) -> bytes:
    """The DER signature in what a signing command printed.

    Raises:
        SigningError: it is neither DER of an ECDSA signature nor base64 of that.
    """
    if _is_der(output):
        return output
    try:
        decoded = base64.b64decode(b"".join(output[: 4 * MAX_SIGNATURE_BYTES].split()), validate=True)
    except binascii.Error:
        decoded = b""
    if not _is_der(decoded):
        raise SigningError(
            f"deploy.sign_command: expected an ECDSA signature on stdout, in DER form or as base64 "
            f"of it; got {len(output)} bytes that are neither"
        )
    return decoded


def _is_der(signature: bytes) -> bool:
    """Whether it is a SEQUENCE of its stated length (X.690); the check with the public key decides the rest."""
    return 8 <= len(signature) <= 72 and signature[0] == 0x30 and signature[1] == len(signature) - 2
