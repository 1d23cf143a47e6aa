"""The system's own OpenSSH: whatever `ssh HOST` does in the user's shell, it does here.

Their config, agent, jump hosts and known hosts are theirs to set; host keys are never waved
through. One connection is opened and all commands and copies go through it (ControlMaster); where
that cannot be, each opens its own. Agent, X11 and port forwarding are off: a board gets none of them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgedistill.deployment.streams import Answer, Say, ask, clean
from edgedistill.environment.secret_values import child_environment
from edgedistill.errors import BoardError, SshError

CONNECT_TIMEOUT_S, LOGIN_TIMEOUT_S = 15, 60
ALIVE_INTERVAL_S, ALIVE_COUNT = 5, 3  # a board that lost its power is noticed after their product
LOST = 255  # ssh's own exit code: no connection, or one that ended
_LONGEST_FOLDER = 45  # of a socket's 107 characters, ssh takes 40 for %C and 17 while it makes it
# Port and address belong into ~/.ssh/config: sftp reads "host:..." as a path.
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,200}\Z")
PLAIN_PATH = re.compile(r"(?!-)(?!.*//)[A-Za-z0-9_.+=@/-]{1,200}\Z")

Sent = Callable[[int], None]  # bytes so far


@dataclass(frozen=True)
class Upload:
    """One file of a copy.

    Attributes:
        name: relative to both folders, of a manifest's characters.
        bytes: what it has here.
        have: what lies there already and is its beginning.
    """

    name: str
    bytes: int
    have: int = 0


class Connection:
    """`with Connection(host) as board: board.run([...])`. Entering connects, leaving hangs up.

    Args:
        host: any word that `ssh` accepts: a name of ~/.ssh/config, user@address.
        ssh_config: instead of the user's own, `ssh -F`.

    Raises:
        SshError: on entering: why there is no connection, and what to do.
    """

    def __init__(self, host: str, ssh_config: Path | None = None):
        if not HOST.match(host):
            raise SshError(
                f"{clean(host)!r} is no host for ssh: expected letters, digits, and . _ @ -; give "
                "ports, IPv6 addresses and jump hosts a name in ~/.ssh/config"
            )
        self.name = host
        # Absolute: sftp runs in the folder that it copies from.
        self._config = [] if ssh_config is None else ["-F", str(ssh_config.absolute())]
        self._folder: Path | None = None

    def __enter__(self) -> Connection:
        for program in ("ssh", "sftp"):
            if shutil.which(program) is None:
                raise SshError(f"no {program} on this computer: install OpenSSH's client")
        self._folder = _private_folder()
        try:
            self._open_master()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is None:
            return
        if self._socket_is_there():
            self._ssh(["-O", "exit"], [], timeout_s=CONNECT_TIMEOUT_S)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def run(self, words: Sequence[str], say: Say | None = None, timeout_s: float | None = None) -> Answer:
        """Run a command there; each word arrives as one argument, whatever it holds.

        Raises:
            SshError: the connection ended, or the command was killed there.
            BoardError: see `ask`.
        """
        answer = self._ssh([], [command_line(words)], say, timeout_s)
        self._check_connected(answer)
        return answer

    def put(self, folder: Path, uploads: Sequence[Upload], there: str, sent: Sent | None = None) -> None:
        """Copy files by sftp; those that lie there in part are gone on with.

        Args:
            folder: here.
            there: the folder on the board, made with those below it; relative to the login's home.
            sent: told after each file, and now and then within a large one.

        Raises:
            SshError: the connection ended.
            BoardError: the board does not take a file.
        """
        total = sum(upload.have for upload in uploads)
        sizes = {upload.name: upload.bytes - upload.have for upload in uploads}
        had = {upload.name: upload.have for upload in uploads}

        def say(line: str) -> None:
            nonlocal total
            total += sizes.pop(line.rpartition(" ")[2], 0) if line.startswith("sftp> ") else 0
            if sent is not None:
                sent(total)

        def look() -> None:
            """How much of the file under way lies there; over the open connection that costs little."""
            name = next(iter(sizes), None)
            if sent is None or name is None or self._folder is None:
                return
            with contextlib.suppress(BoardError):
                words = command_line(["stat", "-c", "%s", f"{there}/{name}"])
                answer = self._ssh([], [words], timeout_s=CONNECT_TIMEOUT_S)
                there_now = int(answer.line) if answer.code == 0 and answer.line.isdecimal() else 0
                sent(total + min(max(0, there_now - had[name]), sizes[name]))

        batch = (
            "\n".join(_batch(uploads, there)) + "\npwd\n"
        )  # a last line, so that sftp has echoed every put before it
        command = ["sftp", *self._options(), "-q", "-b", "-", "--", self.name]
        answer = ask(command, say, batch.encode("ascii"), tick=look, cwd=folder, env=_environment())
        self._check_connected(answer)
        if answer.code != 0:
            denied = [line for line in answer.errors.splitlines() if "ermission denied" in line]
            reason = denied[0] if denied else answer.error or "sftp gave no message"
            raise BoardError(
                f"{self.name}: the copy failed: {reason}; is the disk there full or read-only, or the "
                "folder another login's? A rerun resumes here"
            )

    def _options(self) -> list[str]:
        multiplex = "none" if self._folder is None else f"{self._folder}/%C"
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": CONNECT_TIMEOUT_S,
            "ControlPath": multiplex,
            "ControlMaster": "no",
            "ServerAliveInterval": ALIVE_INTERVAL_S,
            "ServerAliveCountMax": ALIVE_COUNT,
            "LogLevel": "ERROR",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "RemoteCommand": "none",
            "RequestTTY": "no",
        }
        return [*self._config, *(f"-o{key}={value}" for key, value in options.items())]

    def _ssh(
        self, flags: list[str], command: list[str], say: Say | None = None, timeout_s: float | None = None
    ) -> Answer:
        words = ["ssh", *flags, *self._options(), "--", self.name, *command]
        return ask(words, say, timeout_s=timeout_s, env=_environment())

    def _open_master(self) -> None:
        """Connect once for all commands, or find that each can connect for itself."""
        flags = ["-oControlMaster=yes", "-oControlPersist=60", "-N", "-f"]  # first value wins
        words = ["ssh", *flags, *self._options(), "--", self.name]
        with tempfile.TemporaryFile() as output:  # a pipe would stay open as long as the connection
            try:
                done = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=_environment(),
                    timeout=LOGIN_TIMEOUT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise SshError(f"{self.name}: no login within {LOGIN_TIMEOUT_S} s; try: ssh {self.name}") from None
            output.seek(0)
            text = output.read(1 << 16).decode("utf-8", "replace")
        if done.returncode == 0:
            return
        reason = reason_of(self.name, text)
        if reason is not None:
            raise SshError(reason)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None  # without multiplexing
        self.run(["true"], timeout_s=LOGIN_TIMEOUT_S)

    def _check_connected(self, answer: Answer) -> None:
        if answer.code == LOST:
            reason = reason_of(self.name, answer.errors)
            raise SshError(
                reason
                or f"{self.name}: the connection ended, or the command was killed there "
                f"({answer.error or 'nothing was said'}); run it again, it resumes there"
            )
        if answer.code < 0:
            raise SshError(f"{self.name}: ssh was stopped here by signal {-answer.code}; run it again")

    def _socket_is_there(self) -> bool:
        return self._folder is not None and any(path.is_socket() for path in self._folder.iterdir())


def reason_of(host: str, output: str) -> str | None:
    """What ssh's words mean and what to do, in one line; None when they say nothing known."""
    text = output.lower()
    for words, line in _REASONS:
        if any(word in text for word in words):
            last = clean(output.strip().splitlines()[-1])
            return f"{host}: " + line.format(host=shlex.quote(host), said=last)
    return None


_REASONS = (
    (
        ("remote host identification has changed", "host key for"),
        "its host key is NOT the one that is known here, and nothing was sent: another machine answers, or the "
        "board was flashed anew; if you know it was, remove the old key (ssh-keygen -R with the name that ssh "
        "uses for it) and look at the new one: ssh {host}",
    ),
    (
        ("host key verification failed", "no matching host key"),
        "its host key is not known here; look at it and accept it once: ssh {host} ({said})",
    ),
    (
        ("permission denied", "too many authentication failures"),
        "it refuses this login; `ssh {host}` must work without a password: ssh-copy-id {host}, or load your "
        "key into ssh-agent ({said})",
    ),
    (
        ("could not resolve hostname", "name or service not known"),
        "no such host name; is it in ~/.ssh/config or on this network? ({said})",
    ),
    (("connection refused",), "nobody listens there; is the board up, is its sshd on, is the port right? ({said})"),
    (
        ("produces no output for non-interactive", "received message too long"),
        "its login shell prints something, which spoils every copy; in ~/.bashrc there, nothing may print before "
        "the line that ends non-interactive shells ({said})",
    ),
    (
        ("timed out", "timeout", "no route to host", "network is unreachable"),
        "no answer; is the board on and on this network? ({said})",
    ),
    (
        ("bad configuration option", "can't open user config file", "bad owner or permissions on"),
        "ssh does not take its configuration: {said}",
    ),
)


def command_line(words: Sequence[str]) -> str:
    """What sshd hands to the login's shell there, whichever that is, so that each word arrives as it is.

    Within single quotes sh, bash, zsh, csh, tcsh and fish agree on all but four characters: csh expands
    `!` and ends a line where it ends, fish reads `\\` and `\'`. Words with one of them, and what is not
    ASCII, go in octal, and a POSIX sh that is started there makes words of it.
    """
    if not any(_SHELLS_DIFFER.search(word) for word in words):
        return " ".join(f"'{word}'" for word in words)
    octal = (
        _SHELLS_DIFFER.sub(lambda match: "".join(f"\\0{byte:03o}" for byte in os.fsencode(match.group())), word)
        for word in words
    )
    return " ".join(f"'{word}'" for word in ("sh", "-c", _FROM_OCTAL, "sh", *octal))


_SHELLS_DIFFER = re.compile(r"[^ -~]|[!'\\]")
# "x" guards a line break at the end of a word, which $( ) would take.
_FROM_OCTAL = (
    'n=$#; while [ $n -gt 0 ]; do w=$(printf %bx "$1"); shift; set -- "$@" "${w%x}"; n=$((n - 1)); done; exec "$@"'
)


def _batch(uploads: Sequence[Upload], there: str) -> list[str]:
    """Lines for `sftp -b`. Nothing is quoted: no name has a character that sftp would read."""
    for name in [there, *(upload.name for upload in uploads)]:
        if not PLAIN_PATH.match(name):
            raise BoardError(f"{clean(name)!r}: expected a path of letters, digits and . _ + = @ - /")
    parents = {str(path) for upload in uploads for path in Path(upload.name).parents} - {"."}
    made = [str(path) for path in [*reversed(Path(there).parents), Path(there)] if str(path) not in "./"]
    lines = [f"-mkdir {path}" for path in made] + [f"cd {there}"]
    lines += [f"-mkdir {path}" for path in sorted(parents)]
    for upload in uploads:
        verb = "reput" if 0 < upload.have < upload.bytes else "put"
        lines.append(f"{verb} {upload.name} {upload.name}")
    return lines


def _private_folder() -> Path:
    """For the socket: ours alone, with a short name."""
    for place in (os.environ.get("XDG_RUNTIME_DIR"), None, "/tmp"):  # noqa: S108 - mkdtemp makes a new folder in it, mode 0700
        if place is None or os.path.isabs(place) and os.access(place, os.W_OK | os.X_OK):
            folder = Path(tempfile.mkdtemp(prefix="edgedistill-", dir=place)).absolute()  # 0700
            if len(str(folder)) <= _LONGEST_FOLDER:
                return folder
            folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="edgedistill-"))


def _environment() -> dict[str, str]:
    """Messages in English, so that they can be told apart; no window that asks for a password."""
    return child_environment(LC_ALL="C", SSH_ASKPASS_REQUIRE="never")
