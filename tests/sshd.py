"""A real sshd on loopback: Debian's, unprivileged, own port, own keys, and a client config that knows it.

Nothing of the user's ~/.ssh is read or written: the client is given `config` by -F, and that names
the key, the known hosts and the agent (none). The login is whoever runs the tests; the remote
command's home is the machine's own, so a board's root is given as an absolute path.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

from optional_tools import lacking

PROGRAM = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")


def need_sshd():
    """Skip without Debian's openssh-server; in CI that is a failure."""
    if not (PROGRAM and shutil.which("ssh") and shutil.which("sftp")):
        lacking("sshd", "apt install openssh-server openssh-client")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_key(path):
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


class Sshd:
    """One server. `with Sshd(folder) as board: ssh -F board.config board ...`

    Args:
        folder: for keys, configs and the log.
        limits: words of `ulimit` that it and its sessions run under, such as "-f 8".
        shell: what the login has for a shell, instead of its own.
    """

    def __init__(self, folder, limits="", shell=None):
        self.folder, self.limits, self.port, self.shell = folder, limits, free_port(), shell
        folder.mkdir(parents=True, exist_ok=True)
        make_key(folder / "host_key")
        make_key(folder / "user_key")
        (folder / "authorized_keys").write_bytes((folder / "user_key.pub").read_bytes())
        self.config, self._server = folder / "config", None
        self.write_config({"board": self.port})

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.stop()

    def start(self):
        settings = f"""
            Port {self.port}
            ListenAddress 127.0.0.1
            HostKey {self.folder}/host_key
            AuthorizedKeysFile {self.folder}/authorized_keys
            PidFile none
            UsePAM no
            StrictModes no
            PasswordAuthentication no
            KbdInteractiveAuthentication no
            PermitRootLogin yes
            MaxStartups 100
            MaxSessions 100
            PrintMotd no
            Subsystem sftp internal-sftp
            # OpenSSH's first choice, sntrup761, takes a quarter of a second of each connection
            KexAlgorithms curve25519-sha256
            # with it, bash does not read the .bashrc of whoever runs the tests
            SetEnv SHLVL=3
        """
        if self.shell is not None:
            settings = settings.replace("internal-sftp", "/usr/lib/openssh/sftp-server")
            settings += f'\nForceCommand exec {self.shell} -c "$SSH_ORIGINAL_COMMAND"\n'
        (self.folder / "sshd_config").write_text(settings)
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # its privilege separation, for root only
        command = f"ulimit {self.limits}; exec " if self.limits else "exec "
        command += f"{PROGRAM} -D -e -f {self.folder}/sshd_config"
        with open(self.folder / "sshd.log", "ab") as log:
            self._server = subprocess.Popen(
                ["sh", "-c", command], stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._server.poll() is None, (self.folder / "sshd.log").read_text()
            time.sleep(0.02)
        raise AssertionError("sshd does not listen")

    def stop(self):
        """It, its sessions and what they run, at once: as when a board loses its power."""
        if self._server is None:
            return
        for process in [*descendants(self._server.pid), self._server.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._server.wait()
        self._server = None

    def freeze(self):
        """Connections stay open, and nobody answers."""
        for process in descendants(self._server.pid):
            os.kill(process, signal.SIGSTOP)

    def log(self):
        return (self.folder / "sshd.log").read_text()

    def write_config(self, hosts, known=None, extra=""):
        """The client's: {alias: port}, all with this server's host key unless `known` is given."""
        key = (self.folder / "host_key.pub").read_text().split()[:2]
        lines = [f"[127.0.0.1]:{port} {' '.join(key)}" for port in hosts.values()]
        (self.folder / "known_hosts").write_text(known if known is not None else "\n".join(lines) + "\n")
        blocks = [f"Host {name}\n  HostName 127.0.0.1\n  Port {port}\n" for name, port in hosts.items()]
        (self.folder / "config").write_text(
            "\n".join(blocks)
            + f"""
{extra}
Host *
  IdentityFile {self.folder}/user_key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {self.folder}/known_hosts
  GlobalKnownHostsFile /dev/null
"""
        )

    def config_with(self, folder, **settings):
        """The client's config with some settings before it: ssh takes the first of each."""
        lines = [f"  {name} {value}" for name, value in settings.items()]
        path = folder / "changed_config"
        path.write_text("Host board\n" + "\n".join(lines) + "\n" + self.config.read_text())
        return path


class Cut:
    """A cable that breaks: forwards a port, and cuts everything after so many bytes to the server.

    `with Cut(port, after) as cable: connect to cable.port`; it stays broken until it is left.
    """

    def __init__(self, port, after):
        self._to, self._after, self._left = port, after, after
        self._sockets, self._threads = [], []
        self._broken = threading.Event()

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    @property
    def carried(self):
        """Bytes to the server so far."""
        return self._after - self._left

    @property
    def broke(self):
        """Whether the cable broke while it was in use."""
        return self._broken.is_set()

    def __exit__(self, *error):
        self._break()
        for thread in self._threads:
            thread.join()

    def _start(self, call, *words):
        self._threads.append(threading.Thread(target=call, args=words, daemon=True))
        self._threads[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while not self._broken.is_set():
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [here, there]
                self._start(self._pump, here, there, True)
                self._start(self._pump, there, here, False)

    def _pump(self, source, sink, counts):
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 14):
                if counts:
                    piece = piece[: max(0, self._left)]
                    self._left -= len(piece)
                sink.sendall(piece)
                if self._left <= 0:
                    break
            if self._left <= 0:
                self._break()
            else:
                sink.shutdown(socket.SHUT_WR)

    def _break(self):
        self._broken.set()
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def descendants(pid):
    """Process ids below one, from /proc; what detached itself keeps its session's parent only."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError), open(f"/proc/{name}/stat") as file:
                parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
    found, last = [], {pid}
    while last:
        last = {child for child, parent in parents.items() if parent in last}
        found += last
    return found
