"""A headless Chromium, driven through its debugging pipe: real keys, media features, and its complaints.

No package is needed for it; https://chromedevtools.github.io/devtools-protocol says what the methods are.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_START = """
import fcntl, os, sys
kept = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
os.dup2(kept[0], 3), os.dup2(kept[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads the pipe at 3 and writes to 4."""

KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "Space": (32, " "),
    "ArrowLeft": (37, ""),
    "ArrowRight": (39, ""),
    "Home": (36, ""),
    "End": (35, ""),
}

CONTRASTS = """
(() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => linear(c / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = numbers(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const said = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!said || !element.getClientRects().length || element.closest("script, style, .hidden, svg")) continue;
    const [a, b] = [light(numbers(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), element.textContent.trim().slice(0, 40)]);
  }
  return found;
})()
"""
"""The contrast of every text on a page, with its beginning (WCAG 2.1: 4.5 is enough for all sizes)."""


class Page:
    """A page that is open."""

    def __init__(self, send: Any, receive: Any) -> None:
        self._send, self._receive, self._number = send, receive, 0
        self._session: str | None = None
        self.complaints: list[str] = []
        """Errors of scripts, and what the browser logs as a warning or an error."""

    def call(self, method: str, **parameters: Any) -> Any:
        """A method of the protocol; what happens meanwhile is noted."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        self._send(asked if self._session is None else asked | {"sessionId": self._session})
        while True:
            heard = self._receive()
            self._note(heard)
            if heard.get("id") == self._number:
                assert "error" not in heard, heard
                return heard["result"]

    def _note(self, heard: dict[str, Any]) -> None:
        about = heard.get("params", {})
        if heard.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(about["exceptionDetails"]["exception"]["description"])
        elif heard.get("method") == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(about["args"]))
        elif heard.get("method") == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.complaints.append(about["entry"]["text"])

    def go(self, url: str) -> None:
        """Open an address, and wait until it is there."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def js(self, expression: str) -> Any:
        """The value of an expression, as JSON has it."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def wait(self, expression: str, seconds: float = 20.0) -> None:
        """Until an expression is true."""
        until = time.monotonic() + seconds
        while not self.js(expression):
            assert time.monotonic() < until, f"{expression} did not become true"
            time.sleep(0.05)

    def press(self, key: str, times: int = 1) -> None:
        """A key of the keyboard, as a user presses it."""
        code, text = KEYS[key]
        about = {"key": text if key == "Space" else key, "code": key, "windowsVirtualKeyCode": code}
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
            self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def picture(self, path: Path) -> None:
        """A PNG of what the window shows."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def show(self, width: int, height: int, **media: str) -> None:
        """The window's size, and media features such as `prefers_color_scheme="dark"`."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def attach(self) -> None:
        """To the browser's first page."""
        self.call("Target.setDiscoverTargets", discover=True)
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """An empty page in a browser of its own; skips the test where there is no Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium here (Debian: apt-get install chromium)")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--hide-scrollbars"]
        command = [sys.executable, "-c", _START, str(theirs_in), str(theirs_out), os.path.realpath(chromium), *flags]
        command += [f"--user-data-dir={profile}", "--no-first-run", "about:blank"]
        process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL)
        for theirs in (theirs_in, theirs_out):
            os.close(theirs)
        left = bytearray()

        def send(message: dict[str, Any]) -> None:
            os.write(ours_out, json.dumps(message).encode() + b"\0")

        def receive() -> dict[str, Any]:
            while b"\0" not in left:
                assert select.select([ours_in], [], [], 60)[0], "the browser says nothing"
                piece = os.read(ours_in, 1 << 16)
                assert piece, "the browser has ended"
                left.extend(piece)
            message, _, rest = bytes(left).partition(b"\0")
            left[:] = rest
            return json.loads(message)

        try:
            page = Page(send, receive)
            page.attach()
            yield page
        finally:
            process.kill()
            process.wait()
            for ours in (ours_in, ours_out):
                os.close(ours)
