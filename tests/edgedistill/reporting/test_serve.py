"""report --serve: two files for this computer, over a real socket."""

import http.client
import os
import signal
import subprocess
import sys
import threading

import pytest

from edgedistill.errors import EdgeDistillError
from edgedistill.reporting.serve import ADDRESS, server_of
from road import SOURCES


@pytest.fixture
def port(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("<p>page")
    (tmp_path / "report" / "report.json").write_text("{}")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "report" / "secret.txt").write_text("secret")
    with server_of(tmp_path / "report", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def ask(port: int, path: str, host: str | None = None, method: str = "GET"):
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"{ADDRESS}:{port}")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_the_page_and_its_json(port):
    for path in ("/", "/report.html", "/?x=1"):
        answer, body = ask(port, path)
        assert (answer.status, body) == (200, b"<p>page")
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
    assert ask(port, "/report.json")[1] == b"{}"
    answer, body = ask(port, "/", method="HEAD")
    assert (answer.status, answer.headers["Content-Length"], body) == (200, "7", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt",
        "/../secret.txt",
        "/..%2fsecret.txt",
        "//etc/passwd",
        "/.",
        "/report",
        "/report.json/..",
    ],
)
def test_nothing_else_of_the_disk(port, path):
    answer, body = ask(port, path)
    assert answer.status == 404
    assert b"secret" not in body.replace(b"/secret.txt", b"")


def test_another_name_for_this_computer_is_refused(port):
    assert ask(port, "/", host="evil.example")[0].status == 403
    assert ask(port, "/", host=f"localhost:{port}")[0].status == 200
    assert ask(port, "/", method="POST")[0].status == 501


def test_a_port_that_is_taken_is_said_in_one_line(port, tmp_path):
    with pytest.raises(EdgeDistillError, match="choose another"):
        server_of(tmp_path / "report", port)
    with pytest.raises(EdgeDistillError, match="choose another"):
        server_of(tmp_path / "report", 123456)


def test_ctrl_c_ends_it(finished_run):
    process = subprocess.Popen(
        [sys.executable, "-m", "edgedistill", "report", "r.toml", "--quiet", "--serve", "--port", "0"],
        cwd=finished_run,
        env={**os.environ, "PYTHONPATH": SOURCES},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    line = next(line for line in process.stderr if line.startswith("serving "))
    answer, body = ask(int(line.split(":")[2].split("/")[0]), "/")
    assert answer.status == 200
    assert body.startswith(b"<!doctype html>")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")
