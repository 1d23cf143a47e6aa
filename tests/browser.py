"""Headless Chromium driven through its DevTools protocol, over a pipe: no port, no package.

    with Browser(profile_folder) as browser:
        tab = browser.open(path, width=360)
        tab.evaluate("document.title")

Everything that the page says to the console, and every address it asks for, is kept.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

TIMEOUT_S = 60
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)
# DevTools wants its pipe at 3 and 4, where another process of ours may have files already.
AT_3_AND_4 = 'exec "$0" "$@" 3<&{read} 4>&{write}'


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    def __init__(self, profile: Path):
        self._profile, self._number, self._events = profile, 0, []
        self._buffer = b""

    def __enter__(self) -> "Browser":
        their_read, self._write = os.pipe()
        self._read, their_write = os.pipe()
        shell = AT_3_AND_4.format(read=their_read, write=their_write)
        self._process = subprocess.Popen(
            ["bash", "-c", shell, chromium(), *FLAGS, f"--user-data-dir={self._profile}"],
            pass_fds=(their_read, their_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_read)
        os.close(their_write)
        return self

    def __exit__(self, *error) -> None:
        try:
            self.call("Browser.close")
        except (OSError, TimeoutError):
            self._process.kill()
        self._process.wait(30)
        os.close(self._read)
        os.close(self._write)

    def open(self, path: Path, width: int = 1000, height: int = 900, scripts: bool = True, **media: str) -> "Tab":
        """A new tab that has loaded a file; `media`: prefers_color_scheme="dark", or type="print"."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        tab.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        tab.media(**media)
        tab.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        tab.call("Page.navigate", url=path.as_uri())
        tab.wait_for("Page.loadEventFired")
        return tab

    def call(self, method: str, session: str | None = None, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        number = self._number
        while True:
            answer = self.read()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self._events.append(answer)

    def read(self) -> dict:
        """The next message; TimeoutError when there is none for long."""
        end = time.monotonic() + TIMEOUT_S
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("Chromium says nothing")
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise OSError("Chromium has ended")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def events(self, session: str) -> list[dict]:
        return [event for event in self._events if event.get("sessionId") == session]

    def keep(self, event: dict) -> None:
        self._events.append(event)


class Tab:
    def __init__(self, browser: Browser, session: str):
        self._browser, self._session = browser, session

    def call(self, method: str, **params):
        return self._browser.call(method, self._session, **params)

    def media(self, type: str = "", **features: str) -> None:
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", media=type, features=named)

    def evaluate(self, expression: str):
        """The value of a JavaScript expression, of a promise when it is one."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def key(self, name: str, code: int) -> None:
        """Press and let go, as a keyboard would."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if name == "Enter" and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **text)

    def wait_for(self, method: str) -> dict:
        while True:
            for event in self._browser.events(self._session):
                if event.get("method") == method:
                    return event
            self._browser.keep(self._browser.read())

    @property
    def complaints(self) -> list[str]:
        """What the page, or the browser about it, said to the console."""
        self.evaluate("1")  # what is under way has come
        said = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(e["params"]) for e in self._browser.events(self._session) if e["method"] in said]

    @property
    def requests(self) -> list[str]:
        """Every address that was asked for, the page's own included."""
        self.evaluate("1")
        return [
            event["params"]["request"]["url"]
            for event in self._browser.events(self._session)
            if event["method"] == "Network.requestWillBeSent"
        ]

    def screenshot(self) -> bytes:
        """PNG of the whole page."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF")["data"])
