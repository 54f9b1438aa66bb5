"""A headless Chromium, driven by the DevTools protocol: https://chromedevtools.github.io/devtools-protocol/."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from websockets.sync.client import ClientConnection

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_SECONDS = 60.0


class Browser:
    """One tab, without cookies of before."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last = 0
        self.send("Page.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events meanwhile are dropped."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while (message := json.loads(self._socket.recv(_SECONDS))).get("id") != self._last:
            pass
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def open(self, url: str) -> None:
        failure = self.send("Page.navigate", url=url).get("errorText")
        assert not failure, f"{url}: {failure}"

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, awaited."""
        answer = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait for an expression that is true in the page, and return its value."""
        deadline = time.monotonic() + _SECONDS
        value: Any = None
        while not value:
            assert time.monotonic() < deadline, f"{expression} at {self.address}: {self.text[:2000]}"
            try:
                value = self.evaluate(expression)
            except AssertionError:  # the page is being replaced
                value = None
            time.sleep(0.1)
        return value

    @property
    def address(self) -> str:
        return str(self.evaluate("location.href"))

    @property
    def text(self) -> str:
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def click(self, selector: str) -> None:
        """Click what the selector finds, as soon as it is there."""
        self.until(f"document.querySelector({json.dumps(selector)}) !== null")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def status(self, method: str, path: str, body: dict[str, Any] | None = None) -> int:
        """The status of a request that the page itself sends, with its own cookies."""
        options = {"method": method, "headers": {"Content-Type": "application/json"}}
        if body is not None:
            options["body"] = json.dumps(body)
        return int(self.evaluate(f"fetch({json.dumps(path)}, {json.dumps(options)}).then(answer => answer.status)"))

    def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def forget(self) -> None:
        """Forget all cookies and what pages have stored."""
        self.send("Network.clearBrowserCookies")
        if self.address.startswith("http"):
            self.evaluate("localStorage.clear(), sessionStorage.clear()")


@contextmanager
def browser(folder: Path, width: int = 1100, height: int = 700) -> Iterator[Browser]:
    """Start Chromium with a profile in `folder`, with neither a proxy nor a certificate of its own."""
    assert CHROMIUM
    options = ("--headless=new", "--no-sandbox", "--no-first-run", "--no-proxy-server", "--disable-gpu")
    options += ("--remote-debugging-port=0", f"--user-data-dir={folder}", f"--window-size={width},{height}")
    process = subprocess.Popen(
        [CHROMIUM, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + _SECONDS
        while not (port_file := folder / "DevToolsActivePort").exists() or not port_file.read_text():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=_SECONDS) as answer:
            targets = json.load(answer)
        endpoint = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
        with connect(endpoint, max_size=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait(timeout=_SECONDS)
