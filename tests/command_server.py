"""Python as a process of its own that need not import torch and its like each time.

    python command_server.py SOCKET PID EXECUTABLE MODULES SOURCES  imports the modules once, separated by
                                      commas, found below SOURCES too, separated by colons, and forks for each
                                      command; ends when process PID does, and removes the folder of SOCKET;
                                      EXECUTABLE is what the commands see as sys.executable

command_client.py asks it for commands. Their words begin with `-m MODULE`, `-P -m MODULE` or `-c CODE`; with others
Python itself is started. Of our own modules, those of edgedistill are there too where MODULES name it and the command
would find the same. The board's are imported anew by every command, from the sources that it finds; a source that is
byte for byte one of ours is not compiled again. The server runs on Python 3.6 too, for a board's.
"""

import _imp
import array
import ast
import collections
import contextlib
import gc
import importlib.machinery
import os
import select
import signal
import socket
import sys

from command_client import STREAMS

OURS = ("edgedistill", "edgedistill_device", "edgedistill_calibration")
COMPILED = {}  # content of a source: its code
LOOK_S = 1.0  # whether process PID is there

Given = collections.namedtuple("Given", "python variables sources")  # real interpreter, variables that imports set


def serve(path, pid, executable, modules, sources):
    import shutil

    before = set(os.environ)
    sys.path[:1] = sources  # instead of the tests' own folder
    for name in modules:
        with contextlib.suppress(ImportError):  # an extra that is not here
            importlib.import_module(name)
    if "edgedistill" in modules:
        load_edgedistill()
    for package in OURS[1:]:
        compile_package(package)
    importlib.machinery.SourceFileLoader.source_to_code = compiled
    if hasattr(gc, "freeze"):
        gc.freeze()  # or every command looks through all that torch has made, and copies it
    given = Given(sys.executable, {n: value for n, value in os.environ.items() if n not in before}, sources)
    sys.executable = executable
    del sys.path[: len(sources)]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path + ".new")
        server.listen(64)
        os.rename(path + ".new", path)  # who sees it is let in
        Commands(server, given).serve_while(f"/proc/{pid}")
    shutil.rmtree(os.path.dirname(path), ignore_errors=True)


def load_edgedistill():
    """All its modules, and the validators of its records, which are made when they are first used."""
    import pkgutil

    import pydantic

    for module in pkgutil.walk_packages(sys.modules["edgedistill"].__path__, "edgedistill."):
        if module.name.rpartition(".")[2] not in ("__main__", "compile_child"):
            importlib.import_module(module.name)
    models = pydantic.BaseModel.__subclasses__()
    for model in models:
        models += model.__subclasses__()
        if model.__module__.startswith("edgedistill."):
            model.model_rebuild()


def compile_package(name):
    """Its sources into COMPILED."""
    spec = importlib.machinery.PathFinder.find_spec(name)
    for place, _, names in os.walk(os.path.dirname(spec.origin)) if spec else ():
        for path in (os.path.join(place, file) for file in names if file.endswith(".py")):
            loader = importlib.machinery.SourceFileLoader(name, path)
            COMPILED[loader.get_data(path)] = loader.get_code(name)


def compiled(loader, source, path, _optimize=-1, compile_source=importlib.machinery.SourceFileLoader.source_to_code):
    """Instead of SourceFileLoader.source_to_code: a known source is not compiled again by each command."""
    # what changes is in this process only, and once; a syntax tree is no source
    code = COMPILED.pop(source, None) if isinstance(source, bytes) else None
    if code is None:
        return compile_source(loader, source, path, _optimize=_optimize)
    _imp._fix_co_filename(code, path)
    return code


class Commands:
    """Forks each command that is asked for, passes signals and exit codes on; who asked and is gone has its command
    killed. All in one process: to fork what has torch in it costs more than many a command."""

    def __init__(self, server, given):
        self._server, self._given = server, given
        self._ended, self._wakes = os.pipe()
        os.set_blocking(self._wakes, False)
        signal.set_wakeup_fd(self._wakes)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._running = {}  # connection of who asked: its command's process
        self._silent = set()  # connections that nothing more will come from

    def serve_while(self, path):
        while os.path.exists(path):
            heard = self._running.keys() - self._silent
            ready = select.select([self._server, self._ended, *heard], [], [], LOOK_S)[0]
            for connection in heard.intersection(ready):
                self._hear(connection)
            if self._ended in ready:
                os.read(self._ended, 64)
                self._tell_codes()
            if self._server in ready:
                self._begin()

    def _begin(self):
        connection, _ = self._server.accept()
        try:
            job, streams = received(connection)
        except (OSError, LookupError, SyntaxError):  # killed before all was said
            connection.close()
            return
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in [self._server, connection, *self._running]:
                other.close()
            os.close(self._ended)
            os.close(self._wakes)
            command(job, streams, self._given)
        for stream in streams:
            os.close(stream)
        self._running[connection] = pid

    def _hear(self, connection):
        try:
            number = connection.recv(1)
        except OSError:
            number = b""
        os.kill(self._running[connection], number[0] if number else signal.SIGKILL)
        if not number:
            self._silent.add(connection)

    def _tell_codes(self):
        for connection, pid in list(self._running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            with contextlib.suppress(OSError):  # who asked is gone
                connection.sendall(str(code).encode())
            connection.close()
            del self._running[connection]
            self._silent.discard(connection)


def received(connection):
    """(job, streams)."""
    streams = array.array("i")
    size, found, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(len(STREAMS) * streams.itemsize))
    streams.frombytes(found[0][2])
    with connection.makefile("rb") as incoming:
        said = incoming.read(int.from_bytes(size, "big")).decode()
    return ast.literal_eval(said), list(streams)


def command(job, streams, given):
    import traceback

    code = 70
    try:
        os.chdir(job["cwd"])
        os.umask(job["umask"])
        os.environ.clear()
        os.environ.update(dict(given.variables, **job["env"]))
        for number in STREAMS:
            os.dup2(streams[number], number)
            os.close(streams[number])
        encoding = os.environ.get("PYTHONIOENCODING")
        sys.stdin = sys.__stdin__ = os.fdopen(0)
        sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding=encoding)
        sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, encoding=encoding, errors="backslashreplace")
        run(job["words"], given)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            sys.stderr.write(error.code + "\n")
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:  # whatever happened, this is no server
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def extra_paths():
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def is_the_same(package):
    """Whether an import of it would find what is loaded."""
    found = importlib.machinery.PathFinder.find_spec(package)
    return found is not None and found.origin == getattr(sys.modules.get(package), "__file__", None)


def run(words, given):
    """What `python WORDS` does."""
    import runpy
    import types

    folder = [os.getcwd()]
    if words[:2] == ["-P", "-m"]:
        folder, words = [], words[1:]
    if words[0] not in ("-m", "-c"):
        os.execv(given.python, [given.python] + words)
    sys.argv = [words[0]] + words[2:]
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    sys.path[:0] = folder + extra_paths() + (given.sources if words[:2] == ["-m", "edgedistill"] else [])
    if words[1] in OURS[1:] or not all(map(is_the_same, OURS)):
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
            del sys.modules[name]
    elif not hasattr(sys.modules.get(words[1]), "__path__"):
        sys.modules.pop(words[1], None)  # Python warns of a module that is there before it is run
    for path in extra_paths():
        if os.path.exists(os.path.join(path, "sitecustomize.py")):
            runpy.run_path(os.path.join(path, "sitecustomize.py"))
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if words[0] == "-m":
        runpy._run_module_as_main(words[1])  # with "-m" for a name until it is found, which is looked at
    else:
        exec(compile(words[1], "<string>", "exec"), main.__dict__)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4].split(","), sys.argv[5].split(os.pathsep))
