"""Keys that sign bundles: ECDSA P-256, made by and kept with OpenSSL, never sent anywhere.

FOLDER/NAME.key   private, PKCS#8 in PEM form, mode 0600; absent when it lives in a KMS or a token
FOLDER/NAME.pem   public: what a board gets at enrolment

FOLDER is $XDG_CONFIG_HOME/edgedistill/keys, mode 0700. A passphrase comes from the environment
variable EDGEDISTILL_KEY_PASSPHRASE or from a prompt, and reaches `openssl` through a pipe: argument
lists are for everybody on the machine to read.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edgedistill.environment.secret_values import PASSPHRASE, child_environment, passphrase
from edgedistill.errors import SigningError
from edgedistill_device.board.home import user_folder
from edgedistill_device.errors import SignatureError
from edgedistill_device.releases.signature import key_id_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
# Of PBKDF2-HMAC-SHA256; OpenSSL's own default of 2048 gives in to a guesser. OWASP Password
# Storage Cheat Sheet, 2023.
_ITERATIONS = "600000"
_MOST_PASSPHRASE_BYTES = 1000  # openssl(1) reads at most 1024 from a descriptor
_TIMEOUT_S = 60


class KeyInfo(NamedTuple):
    """One key. `private` is None when only the public half lies here."""

    name: str
    key_id: str
    private: Path | None
    public: Path


def keys_folder() -> Path:
    """Where keys lie when no folder is given."""
    config = user_folder("XDG_CONFIG_HOME", ".config")
    if config is None:
        raise SigningError("this user has no home folder to keep keys in; set XDG_CONFIG_HOME or HOME")
    return Path(config) / "edgedistill" / "keys"


def new_key(name: str, folder: Path | None = None, passphrase: str | None = None) -> KeyInfo:
    """Make a key pair. An existing one is never overwritten.

    Args:
        name: letters, digits, `_`, `.`, `-`; at most 64.
        folder: made with mode 0700 when absent.
        passphrase: encrypts the private key (PBKDF2, AES-256); None or "" leaves it plain.

    Raises:
        SigningError: a name that is taken or is none, or no working openssl.
    """
    private, public = _free_places(name, folder)
    pem = _made("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    public_pem = _made("pkey", "-pubout", stdin=pem)
    if passphrase:
        pem = _made(
            "pkcs8",
            "-topk8",
            "-v2",
            "aes-256-cbc",
            "-v2prf",
            "hmacWithSHA256",
            "-iter",
            _ITERATIONS,
            stdin=pem,
            passout=passphrase,
        )
    _write_new(private, pem, 0o600)
    try:
        _write_new(public, public_pem, 0o644)
    except BaseException:
        private.unlink()  # half a pair would keep the name
        raise
    return load_key(name, folder)


def add_public_key(name: str, pem: Path, folder: Path | None = None) -> KeyInfo:
    """Take in the public half of a key whose private half lives elsewhere: a KMS, a token.

    Raises:
        SigningError: the file holds no P-256 public key, or the name is taken.
    """
    _, public = _free_places(name, folder)
    _key_id(pem)
    _write_new(public, pem.read_bytes(), 0o644)
    return load_key(name, folder)


def load_key(name: str, folder: Path | None = None) -> KeyInfo:
    """A key by name.

    Raises:
        SigningError: it is not there, is no P-256 key, or others can read its private half.
    """
    private, public = _places(name, folder)
    if not public.is_file():
        if private.is_file():
            raise SigningError(f"{public} is missing; openssl pkey -in {private} -pubout -out {public}")
        names = ", ".join(sorted(pem.stem for pem in public.parent.glob("*.pem"))) or "none"
        raise SigningError(f"no key {name!r} in {public.parent} (there: {names}); make it: edgedistill keys new {name}")
    if private.is_file():
        mode = stat.S_IMODE(private.stat().st_mode)
        if mode & 0o077:
            raise SigningError(
                f"{private} has mode {mode:04o}, so others can read it; expected 0600: chmod 600 {private}"
            )
    return KeyInfo(name, _key_id(public), private if private.is_file() else None, public)


def list_keys(folder: Path | None = None) -> list[KeyInfo]:
    """All keys of a folder, by name.

    Raises:
        SigningError: one of them is not usable; the line names it.
    """
    return [load_key(pem.stem, folder) for pem in sorted((folder or keys_folder()).glob("*.pem"))]


def is_encrypted(private: Path) -> bool:
    """Whether a private key wants a passphrase."""
    return b"ENCRYPTED" in private.read_bytes()[:200]


def has_terminal() -> bool:
    """Whether somebody is there to ask."""
    return sys.stdin is not None and sys.stdin.isatty()  # None: started with stdin closed


def passphrase_of(key: KeyInfo) -> str | None:
    """What opens the private half; None when it is plain.

    Raises:
        SigningError: a passphrase is needed, and there is neither the variable nor a terminal.
    """
    if key.private is None or not is_encrypted(key.private):
        return None
    from_environment = passphrase()
    if from_environment is not None:
        return from_environment
    if not has_terminal():
        raise SigningError(f"key {key.name!r} has a passphrase: set {PASSPHRASE}, or run this in a terminal")
    return getpass.getpass(f"passphrase of key {key.name}: ")


def run_openssl(
    *arguments: str, stdin: bytes = b"", passin: str | None = None, passout: str | None = None
) -> subprocess.CompletedProcess:
    """One call of openssl; stdout and stderr are bytes.

    Args:
        arguments: never a secret.
        passin, passout: passphrase, handed over through a pipe.

    Raises:
        SigningError: no openssl, no answer, or a passphrase that cannot be one line.
    """
    program = shutil.which("openssl")
    if program is None:
        raise SigningError("openssl is not installed; Debian and Ubuntu: sudo apt install openssl")
    secret = passin if passin is not None else passout
    with contextlib.ExitStack() as stack:
        command = [program, *arguments]
        descriptors: tuple[int, ...] = ()
        if secret is not None:
            descriptor = stack.enter_context(_readable(secret))
            command += ["-passin" if passin is not None else "-passout", f"fd:{descriptor}"]
            descriptors = (descriptor,)
        try:
            return subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
                pass_fds=descriptors,
                env=child_environment(),
                start_new_session=True,  # without a terminal openssl cannot ask: it fails instead
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SigningError(f"openssl gave no answer: {error}") from None


@contextlib.contextmanager
def _readable(secret: str) -> Iterator[int]:
    """A file descriptor to read one line of secret from."""
    line = secret.encode()
    if b"\n" in line or b"\r" in line or b"\0" in line or len(line) > _MOST_PASSPHRASE_BYTES:
        raise SigningError(f"a passphrase is one line of at most {_MOST_PASSPHRASE_BYTES} bytes; this one is not")
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as file:
            file.write(line + b"\n")
        yield reading
    finally:
        os.close(reading)


def _made(*arguments: str, stdin: bytes = b"", passout: str | None = None) -> bytes:
    done = run_openssl(*arguments, stdin=stdin, passout=passout)
    if done.returncode != 0 or not done.stdout:
        raise SigningError(f"openssl {arguments[0]} made no key (exit code {done.returncode})")
    return done.stdout


def _places(name: str, folder: Path | None) -> tuple[Path, Path]:
    if not _NAME.match(name):
        raise SigningError(f"key name {name!r}: expected letters, digits, _ . - and at most 64 of them")
    folder = folder or keys_folder()
    return folder / f"{name}.key", folder / f"{name}.pem"


def _free_places(name: str, folder: Path | None) -> tuple[Path, Path]:
    private, public = _places(name, folder)
    for path in (private, public):
        if path.exists():
            raise SigningError(f"{path} is there and is never overwritten; take another name")
    try:
        private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SigningError(f"{private.parent}: {error.strerror}") from None
    return private, public


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never over an existing file: also when two run at once."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(beside, path)
    except FileExistsError:
        raise SigningError(f"{path} is there and is never overwritten; take another name") from None
    except OSError as error:
        raise SigningError(f"{path}: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):  # what made the write fail may make this fail too
            beside.unlink()


def _key_id(public: Path) -> str:
    try:
        return key_id_of(public)
    except SignatureError as error:
        raise SigningError(str(error)) from None
