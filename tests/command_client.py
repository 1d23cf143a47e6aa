"""Who asks the server of command_server.py for a command.

    python -S -E command_client.py SOCKET WORDS  stands for `python WORDS`: same folder, environment, streams, signals,
                                      umask and exit code; when it is killed, so is the command

It starts hundreds of times in a test run, so it has only what the interpreter has loaded by then or is built of C:
`socket`, `signal` and `json` would take three times as long as all else of it.
"""

import _signal
import _socket
import os
import sys

STREAMS = (0, 1, 2)
PASSED_ON = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)


class Command:
    """One that the server at a socket has begun.

    Args:
        streams: descriptors of its stdin, stdout and stderr.
    """

    def __init__(self, path, words, cwd, env, streams=STREAMS):
        mask = os.umask(0)
        os.umask(mask)
        job = ascii({"words": list(words), "cwd": cwd, "env": dict(env), "umask": mask}).encode()
        self._connection = _socket.socket(_socket.AF_UNIX)
        self._connection.connect(path)
        descriptors = b"".join(stream.to_bytes(4, sys.byteorder) for stream in streams)
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)
        self._connection.sendmsg([len(job).to_bytes(4, "big")], [rights])
        self._connection.sendall(job)

    def signal(self, number):
        self._connection.send(bytes([number]))

    def kill(self):
        self._connection.shutdown(_socket.SHUT_WR)

    def wait(self, timeout_s=None):
        """Its exit code, negative for a signal.

        Raises:
            TimeoutError: it has not ended.
        """
        self._connection.settimeout(timeout_s)
        return int(self._connection.recv(16) or b"70")

    def close(self):
        self._connection.close()


def ask(path, words):
    """The exit code of the command, which has what this process has."""
    command = Command(path, words, os.getcwd(), os.environ)
    for number in PASSED_ON:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, lambda number, _: command.signal(number))
    code = command.wait()
    if code < 0:  # by a signal: so must this be
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(ask(sys.argv[1], sys.argv[2:]))
