"""The real app in its own process, and a page on it."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "emotion" / "examples"


class App:
    """A running app: its address, its temporary folder, its output."""

    def __init__(self, url: str, temp: Path, log: Path) -> None:
        self.url, self.temp, self.log = url, temp, log


@pytest.fixture(scope="session")
def app() -> Iterator[App]:
    """Start ``python app.py`` as a user would, and end it afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        temp = Path(folder)
        log = temp / "app.log"
        environment = {
            **os.environ,
            "EMOTION_OFFLINE": "1",
            "GRADIO_TEMP_DIR": str(temp / "gradio"),
            "TMPDIR": str(temp),
            "PYTHONUNBUFFERED": "1",
        }
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "app.py", "--detector", "hog"],
                cwd=ROOT,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            yield App(wait_for_url(process, log), temp, log)
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_for_url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the app says where it listens."""
    for _ in range(240):
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found:
            return found.group()
        if process.poll() is not None:
            break
        time.sleep(0.5)
    pytest.fail(f"the app did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture
def page(browser, app: App):
    """A fresh page on the app that fails the test if a request leaves this machine."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, permissions=["camera"], accept_downloads=True
    )
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    requests: list[str] = []
    errors: list[str] = []
    opened.on("request", lambda r: requests.append(r.url))
    opened.on("pageerror", lambda e: errors.append(str(e)))
    opened.goto(app.url)
    opened.wait_for_selector("#photo input[type=file]", state="attached")
    yield opened
    context.close()
    away = [u for u in requests if not re.match(r"(http|ws)://127\.0\.0\.1:|data:|blob:", u)]
    assert requests
    assert not away
    assert not errors
