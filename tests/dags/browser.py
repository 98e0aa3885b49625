"""A Chromium without a window, driven through its own protocol: what a person would see and click."""

import base64
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0


def program() -> str | None:
    """Where a Chromium is; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Leaving(AssertionError):
    """The page was on its way to another one while it was asked; that says nothing of either."""


class Page:
    """The one page that is open."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._numbers = socket, count(1)

    def send(self, method: str, **given: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": given}))
        while True:
            answer = json.loads(self._socket.recv(PATIENCE))
            if answer.get("id") == number:
                if "navigated" in answer.get("error", {}).get("message", ""):
                    raise Leaving(answer)
                assert "error" not in answer, answer
                return dict(answer["result"])

    def js(self, expression: str) -> Any:
        """What a JavaScript expression gives in the page."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def click(self, selector: str) -> None:
        """The mouse, pressed and released in the middle of an element, which may lead to another page."""
        middle = "JSON.stringify((r => [r.x + r.width / 2, r.y + r.height / 2])({}.getBoundingClientRect()))"
        x, y = json.loads(self.js(middle.format(f"document.querySelector({selector!r})")))
        with suppress(Leaving):
            for kind in ("mousePressed", "mouseReleased"):
                self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def write(self, text: str) -> None:
        """Typed where the cursor is."""
        self.send("Input.insertText", text=text)

    def until(self, holds: Callable[[str], bool]) -> str:
        """The page's text, once it is as it should be."""
        end = time.monotonic() + PATIENCE
        while not holds(text := self.text()):
            assert time.monotonic() < end, text
            time.sleep(0.05)
        return text

    def text(self) -> str:
        """What a person reads; nothing between two pages."""
        with suppress(Leaving):
            return str(self.js("document.body ? document.body.innerText : ''"))
        return ""

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))


@contextmanager
def opened(url: str, folder: Path) -> Iterator[Page]:
    """A browser that shows the address and is gone afterwards."""
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--remote-debugging-port=0",
        "--window-size=1100,800",
    )
    command = [str(program()), *flags, f"--user-data-dir={folder}", url]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        with connect(_address(folder / "DevToolsActivePort", process), max_size=None) as socket:
            yield Page(socket)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the program may be a script that starts the browser
        process.wait()


def _address(told: Path, process: "subprocess.Popen[bytes]") -> str:
    """The socket of the page, once the browser has said where it listens."""
    end = time.monotonic() + PATIENCE
    while not (told.exists() and len(told.read_text().split()) == 2):
        assert process.poll() is None, "the browser left"
        assert time.monotonic() < end, "the browser did not start"
        time.sleep(0.05)
    port = told.read_text().split()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
        pages = [each for each in json.load(answer) if each["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])
