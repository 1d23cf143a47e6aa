"""The transport against a real sshd: what arrives, what each failure says, what a hostile board can do."""

import filecmp
import json
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from board_behind_sshd import TestBoard, make_keys
from edgedistill.deployment import ssh, streams
from edgedistill.deployment.board import Board
from edgedistill.deployment.here import Here
from edgedistill.deployment.ssh import Connection, Upload
from edgedistill.deployment.streams import MAX_LINE_BYTES, object_from_line
from edgedistill.errors import BoardError, SshError
from edgedistill_device.benchmark.benchreport import MOST_RUNS
from optional_tools import needs
from sshd import Cut, Sshd, free_port, make_key, need_sshd

pytestmark = pytest.mark.slow


def refusal(host, config):
    with pytest.raises(SshError) as caught, Connection(host, config):
        pass
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_every_word_arrives_as_it_is(server):
    words = ["a b", "$HOME", "`id`", "'\"", "a;b|c&", "*", "", "two\nlines", "-n", "caf\u00e9"]
    script = "import json, sys; print(json.dumps(sys.argv[1:]))"
    with Connection("board", server.config) as board:
        answer = board.run([sys.executable, "-IS", "-c", script, *words])
    assert json.loads(answer.line) == words


WORDS = [
    "a b",
    "$HOME",
    "`id`",
    "'\"",
    "a;b|c&",
    "*",
    "",
    "two\nlines",
    "-n",
    "caf\u00e9",
    "!!",
    "a!b",
    "!",
    "\\",
    "\\\\",
    "\\'",
    "\\n",
    "\\0101",
    "ends\n",
    "\n\n",
    "\t",
    "%s %b",
    "~",
    "{a,b}",
    "^a^b",
    "#",
    "$(id)",
    "\udcff",
    "x" * 900,
    "=ls",
]


@pytest.fixture(params=["dash", "bash", "zsh", "tcsh", "fish"])
def of_shell(request, tmp_path):
    """A server whose login has that shell."""
    need_sshd()
    needs(request.param, request.param)
    with Sshd(tmp_path / "sshd", shell=shutil.which(request.param)) as server:
        yield server


def test_every_word_arrives_in_every_shell(of_shell, request):
    shell = request.node.callspec.params["of_shell"]
    script = "import json, os, sys; print(json.dumps([os.fsencode(word).hex() for word in sys.argv[1:]]))"
    with Connection("board", of_shell.config) as board:
        found = board.run([sys.executable, "-IS", "-c", script, *WORDS])
        assert [bytes.fromhex(word) for word in json.loads(found.line)] == [*map(os.fsencode, WORDS)]
        for word in WORDS:  # also alone: one that needs no care beside one that does would hide it
            found = board.run([sys.executable, "-IS", "-c", script, word])
            assert [bytes.fromhex(word) for word in json.loads(found.line)] == [os.fsencode(word)]
        assert board.run(["sh", "-c", "exit 7"]).code == 7
        assert board.run(["sh", "-c", "exit 9 # it's\n"]).code == 9
        assert board.run(["no-such-program"]).code == (1 if shell == "tcsh" else 127)


def test_a_board_is_enrolled_and_asked_whatever_the_shell_of_its_login(of_shell, tmp_path, forked_python):
    keys = make_keys(tmp_path / "keys")
    board = TestBoard(tmp_path / "board", forked_python)
    board.enrol(of_shell.config, keys)
    with Connection("board", of_shell.config) as machine:
        assert Board(machine, str(board.root), str(board.python), print).status().current is None


def test_a_relative_configuration_serves_commands_and_copies(server, tmp_path, monkeypatch):
    """sftp runs elsewhere: the copy of all things failed, and the advice was to run it again."""
    monkeypatch.chdir(server.config.parent)
    (tmp_path / "f").write_bytes(b"content")
    with Connection("board", Path(server.config.name)) as board:
        monkeypatch.chdir(tmp_path)
        board.put(tmp_path, [Upload("f", 7)], str(tmp_path / "there"))
        assert board.run(["cat", str(tmp_path / "there" / "f")]).line == "content"


def test_a_relative_runtime_folder_is_none(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", ".")
    (tmp_path / "f").write_bytes(b"content")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f").write_bytes(b"content")
    with Connection("board", server.config) as board:
        board.put(tmp_path / "sub", [Upload("f", 7)], str(tmp_path / "there"))
    assert (tmp_path / "there" / "f").read_bytes() == b"content"


@pytest.mark.parametrize("runtime", ["short", "long", "missing"])
def test_the_socket_lies_in_the_runtime_folder_where_its_path_fits(tmp_path, monkeypatch, runtime):
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as place:
        folder = {"short": Path(place), "long": Path(place) / ("l" * 50), "missing": Path(place) / "m"}[runtime]
        if runtime == "long":
            folder.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
        made = ssh._private_folder()
        assert (made.parent == folder) == (runtime == "short")
        assert len(str(made)) <= ssh._LONGEST_FOLDER
        assert list(made.iterdir()) == []
        made.rmdir()
        assert runtime == "missing" or list(folder.iterdir()) == []  # what was tried and too long is gone


def test_lines_come_live_and_the_last_ones_are_kept(server):
    said = []
    with Connection("board", server.config) as board:
        answer = board.run(["sh", "-c", "echo one; echo two >&2; echo three; echo four >&2; exit 7"], said.append)
    assert (answer.code, answer.line, answer.error) == (7, "three", "four")
    assert sorted(said) == ["one", "two"]
    said.clear()
    with Connection("board", server.config) as board:
        assert board.run(["sh", "-c", "echo remark >&2; echo {}"], said.append).line == "{}"
    assert said == ["remark"]


def test_hanging_up_leaves_nothing(server, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    with Connection("board", server.config) as board:
        folder = board._folder
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [path.is_socket() for path in folder.iterdir()] == [True]
        pid = board.run(["sh", "-c", "echo $PPID"]).line
        assert board.run(["sh", "-c", "echo $PPID"]).line == pid  # the same session process: one connection
    assert not folder.exists()


def test_without_multiplexing_each_command_connects(server, monkeypatch, tmp_path):
    """Some ssh clients cannot share a connection: here, one that says so."""
    shim = tmp_path / "ssh"
    shim.write_text(f"""#!/bin/sh
case "$*" in *ControlMaster=yes*) echo "muxserver_listen: no" >&2; exit 255;; esac
exec {shutil.which("ssh")} "$@"
""")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "f").write_text("content")
    with Connection("board", server.config) as board:
        assert board.run(["echo", "here"]).line == "here"
        board.put(tmp_path, [Upload("f", 7)], str(tmp_path / "there"))
    assert (tmp_path / "there" / "f").read_text() == "content"


def test_a_changed_host_key_stops_it(server, tmp_path):
    make_key(tmp_path / "other")
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {other}\n")
    config = server.config_with(tmp_path, UserKnownHostsFile=known)
    assert "its host key is NOT the one that is known here, and nothing was sent" in refusal("board", config)
    known.write_text("")
    line = refusal("board", config)
    assert "its host key is not known here; look at it and accept it once: ssh board" in line


def test_a_key_that_is_not_theirs(server, tmp_path):
    config, stranger = tmp_path / "config", make_key(tmp_path / "stranger")
    config.write_text(server.config.read_text().replace(f"{server.folder}/user_key", str(stranger)))
    assert "it refuses this login; `ssh board` must work without a password" in refusal("board", config)


def test_nobody_there_and_no_such_name(server, tmp_path):
    config = server.config_with(tmp_path, Port=free_port())
    assert "nothing listens on its port" in refusal("board", config)
    config = server.config_with(tmp_path, HostName="no-such-host.invalid")
    assert "no such host name" in refusal("board", config)
    (tmp_path / "bad").write_text("NoSuchOption yes\n")
    assert "ssh rejects its configuration" in refusal("board", tmp_path / "bad")
    assert "no such host name" in refusal("no-such-host.invalid", None)  # by the user's own configuration


@pytest.mark.parametrize("host", ["-oProxyCommand=id", "a b", "", "a\nb", "host:22", "x;y", "../x"])
def test_a_host_is_a_word(host):
    with pytest.raises(SshError, match="is not a valid host for ssh"):
        Connection(host)


def test_through_a_jump_host(server, tmp_path):
    need_sshd()
    with Sshd(tmp_path / "gate") as gate:
        keys = [
            f"[127.0.0.1]:{s.port} {' '.join((s.folder / 'host_key.pub').read_text().split()[:2])}\n"
            for s in (server, gate)
        ]
        (tmp_path / "known").write_text("".join(keys))
        (tmp_path / "config").write_text(f"""
Host gate
  HostName 127.0.0.1
  Port {gate.port}
  IdentityFile {gate.folder}/user_key
Host board
  HostName 127.0.0.1
  Port {server.port}
  IdentityFile {server.folder}/user_key
  ProxyJump gate
Host *
  BatchMode yes
  IdentitiesOnly yes
  UserKnownHostsFile {tmp_path}/known
""")
        with Connection("board", tmp_path / "config") as board:
            port = board.run(["sh", "-c", "echo $SSH_CONNECTION"]).line.split()
        assert port[3] == str(server.port)
        assert gate.log().count("Accepted publickey") == 1


def test_a_copy_that_was_cut_is_gone_on_with(server, tmp_path, rng):
    source, there = tmp_path / "here", tmp_path / "there"
    (source / "deep" / "er").mkdir(parents=True)
    big = rng.bytes(3_000_000)
    (source / "deep" / "er" / "big.bin").write_bytes(big)
    (source / "a+b=c@d").write_bytes(b"x")
    names = ["a+b=c@d", "deep/er/big.bin"]
    with Cut(server.port, after=1_500_000) as cable:
        config = server.config_with(tmp_path, Port=cable.port, HostKeyAlias=f"[127.0.0.1]:{server.port}")
        with pytest.raises(SshError, match="run it again"), Connection("board", config) as board:
            board.put(source, [Upload(name, (source / name).stat().st_size) for name in names], str(there))
    half = (there / names[1]).stat().st_size
    assert 0 < half < len(big)
    sent = []
    with Connection("board", server.config) as board:
        board.put(source, [Upload(names[1], len(big), half)], str(there), sent.append)
    assert sent[-1] == len(big)
    assert filecmp.cmpfiles(source, there, names, shallow=False) == (names, [], [])


def test_a_large_file_is_told_while_it_is_under_way(server, tmp_path, monkeypatch):
    there, sent, asked = tmp_path / "there", [], ssh.ask
    there.mkdir()

    def sftp_stops_at_700(command, *words, tick=None, **named):
        if command[0] != "sftp":
            return asked(command, *words, **named)
        (there / "f").write_bytes(bytes(700))
        return asked(["sleep", "0.2"], tick=tick)

    monkeypatch.setattr(streams, "TICK_S", 0.05)
    monkeypatch.setattr(ssh, "ask", sftp_stops_at_700)
    with Connection("board", server.config) as board:
        board.put(tmp_path, [Upload("f", 1000, have=300), Upload("g", 50, have=20)], str(there), sent.append)
    assert set(sent) == {300 + 20 + 400}


def test_a_board_that_falls_silent_is_noticed(tmp_path, monkeypatch):
    """As when its power goes: nothing is closed, nothing answers."""
    need_sshd()
    monkeypatch.setattr(ssh, "ALIVE_INTERVAL_S", 1)
    monkeypatch.setattr(ssh, "ALIVE_COUNT", 1)
    with Sshd(tmp_path / "sshd") as silent, Connection("board", silent.config) as board:
        threading.Timer(0.5, silent.freeze).start()
        with pytest.raises(SshError, match="the connection ended.*run it again"):
            board.run(["sleep", "30"])


def test_a_login_shell_that_prints_and_a_folder_of_another_login(server, tmp_path, monkeypatch):
    said = ssh.reason_of("board", "Received message too long 1466720356\nEnsure the remote shell produces no output")
    assert "its login shell prints something" in said
    (tmp_path / "f").write_text("x")
    lines = 'remote mkdir "/opt/x": Permission denied\nrealpath /opt/x/y: No such file'
    with Connection("board", server.config) as board:
        monkeypatch.setattr(ssh, "ask", lambda *_, **__: ssh.Answer(1, "", lines.splitlines()[1], lines))
        with pytest.raises(BoardError, match=r'remote mkdir "/opt/x": Permission denied; .* another login'):
            board.put(tmp_path, [Upload("f", 1)], "/opt/x/y")


def test_what_the_board_does_not_take(server, tmp_path):
    (tmp_path / "f").write_text("x")
    with Connection("board", server.config) as board:
        with pytest.raises(BoardError, match="the copy failed"):
            board.put(tmp_path, [Upload("f", 1)], "/proc/no/such")
        with pytest.raises(BoardError, match="expected a path of letters"):
            board.put(tmp_path, [Upload("a b", 1)], str(tmp_path))
        with pytest.raises(SshError, match="ended, or the command was killed on the board"):
            board.run(["sh", "-c", "kill -9 $$"])
        with pytest.raises(BoardError, match="no end within 1 s"):
            board.run(["sleep", "30"], timeout_s=1)


HOSTILE = {
    "head -c 9000000 /dev/zero | tr '\\0' x": "is more than edgedistill_device sends",
    "printf '\\033[2J\\033]0;owned\\007\\n'; exit 1": "exit code 1",
    "printf '\\033[2Jowned\\n' >&2; exit 1": r"\?\[2Jowned",
    "echo '[1]'": 'expected an object with "verb": "status"',
    'echo \'{"verb": "activate"}\'': 'expected an object with "verb": "status"',
    'echo \'{"verb": "status", "verb": "status"}\'': "a key comes twice",
    'echo \'{"verb": "status", "x": NaN}\'': "NaN is not a JSON number",
    "yes '[' | head -c 200000 | tr -d '\\n'": "expected one line of JSON",
    "exit 0": "expected one line of JSON",
    "exit 2": "does not know this `status`; update it: edgedistill enrol board",
    "exit 127": "no .* there; name it with --python",
}


@pytest.mark.parametrize("script", HOSTILE)
def test_a_hostile_board_gets_one_line(server, tmp_path, script):
    python, said = tmp_path / "python", []
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    (tmp_path / "agent").mkdir()
    with Connection("board", server.config) as machine, pytest.raises(BoardError, match=HOSTILE[script]) as caught:
        Board(machine, str(tmp_path), str(python), said.append).agent("status")
    for line in [str(caught.value), *said]:
        assert line.isprintable()
        assert len(line) < 700


def test_text_in_json_is_fit_for_a_terminal():
    found = object_from_line('{"verb": "x", "a": ["\\u001b[2J", "\\u202e", {"b": "ok"}], "n": 1.5, "t": null}')
    assert found == {"verb": "x", "a": ["?[2J", "?", {"b": "ok"}], "n": 1.5, "t": None}


def test_the_samples_of_the_most_runs_are_read_and_of_more_are_none(tmp_path):
    """A call of 2 s on average, after a day: longer lines than any bench of an hour writes."""
    samples = {}
    for scope in ("compute_ms", "host_ms", "end_to_end_ms"):
        samples |= {scope: [1999.1234] * MOST_RUNS, f"{scope[:-3]}_start_s": [86399.1234] * MOST_RUNS}
    line = json.dumps(samples)
    assert len(line) < MAX_LINE_BYTES
    (tmp_path / "work").mkdir()
    path = tmp_path / "work" / "bench_samples.json"
    with Here() as machine:
        board = Board(machine, "edgedistill", sys.executable, print)
        path.write_text(line)
        assert board.samples(str(tmp_path)) == samples
        path.write_text(line + " " * MAX_LINE_BYTES)
        assert board.samples(str(tmp_path)) is None


def test_a_board_that_is_not_enrolled(server, tmp_path):
    with Connection("board", server.config) as machine:
        with pytest.raises(BoardError, match="it is not enrolled: edgedistill enrol board"):
            Board(machine, str(tmp_path / "none"), "python3", print).agent("status")
        with pytest.raises(BoardError, match="root .*: expected a path of letters"):
            Board(machine, "a; id", "python3", print)
