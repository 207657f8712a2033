"""A page that is served for a test, a client that asks it, and a real Chromium at it."""

import argparse
import base64
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apps.serve.searcher import Searcher
from apps.serve.server import application, listening


def chosen(run: Path, **more: object) -> argparse.Namespace:
    """The options of `serve` for the best checkpoint of a run."""
    return argparse.Namespace(ckpt_path=run / "checkpoints/best.ckpt", index="exact", **more)


@contextmanager
def served(searcher: Searcher, k: int = 5) -> Iterator[str]:
    """The address at which a page is served."""
    server = listening(application(searcher, k=k), "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        server.trigger.pull_trigger(server.close)  # in its own thread
        thread.join(30)
        assert not thread.is_alive()


def ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, dict, bytes]:
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


class Browser:
    """Chromium under selenium, as Debian packages them, at a page; `size` is that of its window."""

    def __init__(self, address: str, folder: Path, size: tuple[int, int] = (1100, 900)) -> None:
        webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
        from selenium.webdriver.support.ui import WebDriverWait

        paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
        if None in paths:
            pytest.skip("chromium and chromedriver are wanted (on Debian: apt-get install chromium chromium-driver)")
        options = webdriver.ChromeOptions()
        options.binary_location = paths[0]
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            f"--window-size={size[0]},{size[1]}",
        ):
            options.add_argument(argument)
        options.add_argument(f"--user-data-dir={folder}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.chrome: Any = webdriver.Chrome(options, webdriver.ChromeService(paths[1]))
        self.waiting = WebDriverWait(self.chrome, 120)
        self.chrome.get(address)
        self.until("return about.items")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        severe = [entry for entry in self.chrome.get_log("browser") if entry["level"] == "SEVERE"]
        self.chrome.quit()
        assert kind or not [entry for entry in severe if "status of 400" not in entry["message"]], severe

    def run(self, script: str) -> Any:
        return self.chrome.execute_script(script)

    def until(self, script: str) -> None:
        self.waiting.until(lambda _: self.run(script))

    def find(self, selector: str) -> Any:
        return self.chrome.find_element("css selector", selector)

    def found(self) -> list[str]:
        """The texts of what was found, once the search is over and the images are there."""
        self.until("return !searching && !changed")
        self.until("return [...document.querySelectorAll('#results img')].every(i => i.complete)")
        return [item.text for item in self.chrome.find_elements("css selector", "#results li")]

    @property
    def status(self) -> str:
        return self.find("#status").text

    def drop(self, name: str, content: bytes) -> list[str]:
        """Drop a file on the page; what it finds."""
        script = """
            const bytes = Uint8Array.from(atob(arguments[1]), c => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], arguments[0]));
            const at = document.getElementById("drop");
            for (const kind of ["dragover", "drop"])
              at.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));"""
        self.chrome.execute_script(script, name, base64.b64encode(content).decode())
        return self.found()

    def name(self, name: str) -> list[str]:
        """Type a name and the return key, by keyboard alone; what it finds."""
        field = self.find("#name")
        field.clear()
        field.send_keys(name, "\n")
        self.until("return wanted !== null")
        return self.found()

    def screenshot(self, path: Path) -> None:
        self.chrome.save_screenshot(str(path))
