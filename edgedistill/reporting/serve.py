"""A report over HTTP for this computer alone: its files, and nothing else of the disk."""

from __future__ import annotations

import http.server
from http import HTTPStatus
from pathlib import Path

from edgedistill.errors import EdgeDistillError

ADDRESS = "127.0.0.1"
_TYPES = {
    "report.html": "text/html; charset=utf-8",
    "report.json": "application/json; charset=utf-8",
}


def server_of(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    """A server of `report.html`, also as `/`, and `report.json` in `folder`; not yet serving.

    Files are read at each request, so a report made anew shows after a reload. A request under a
    name other than this computer's is refused: a web page elsewhere could otherwise have its own
    name point here and read along (DNS rebinding).

    Args:
        folder: of stage `report`.
        port: 0 for any free one.

    Raises:
        EdgeDistillError: the port is taken.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, body: bool) -> None:
            port = self.server.server_address[1]
            if self.headers.get("Host") not in {f"{ADDRESS}:{port}", f"localhost:{port}"}:
                self.send_error(HTTPStatus.FORBIDDEN, "ask for it as http://127.0.0.1")
                return
            name = self.path.partition("?")[0].removeprefix("/") or "report.html"
            if name not in _TYPES or not (folder / name).is_file():
                self.send_error(HTTPStatus.NOT_FOUND, "here are only / and /report.json")
                return
            content = (folder / name).read_bytes()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", _TYPES[name])
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet: the person who asked is the one who reads."""

    try:
        return http.server.ThreadingHTTPServer((ADDRESS, port), Handler)
    except (OSError, OverflowError) as error:
        raise EdgeDistillError(
            f"port {port} of {ADDRESS} cannot be had ({error}); choose another, --port 0 takes any"
        ) from None
