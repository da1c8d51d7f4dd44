"""Measure the Live tab in a real headless Chromium with a fake camera, and print JSON.

python -m benchmarks.live --yunet FILE                 # one viewer, four viewers, the camera's end
python -m benchmarks.live --yunet FILE --minutes 10    # memory, files and requests over 10 minutes

The app is started as a user would, in its own process with its own temporary folder. Times are the
page's own: from a frame's coming from the camera to its boxes and heatmap being drawn.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.fake_camera import FLAGS, RATE, moving_face, write_clip

ROOT = Path(__file__).resolve().parents[1]
STATE = "() => (window.emotionLensLive.track || window.emotionLensLive.last).readyState"


@contextmanager
def served(temp: Path, *flags: str) -> Iterator[tuple[str, int]]:
    """Run ``python app.py``; yield its address and process number, and end it afterwards."""
    log = temp / "app.log"
    environment = {**os.environ, "EMOTION_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    environment |= {"TMPDIR": str(temp), "GRADIO_TEMP_DIR": str(temp / "gradio")}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "app.py", *flags], cwd=ROOT, env=environment, stdout=out, stderr=out
        )
    try:
        for _ in range(240):
            if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
                yield found.group(), process.pid
                return
            if process.poll() is not None:
                break
            time.sleep(0.5)
        raise SystemExit(f"the app did not start:\n{log.read_text()[-2000:]}")
    finally:
        process.terminate()
        process.wait(timeout=20)


def open_live(browser: Browser, url: str, requests: list[str]) -> Page:
    """Open the page in a context of its own, with the Live tab in front."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, permissions=["camera"])
    page = context.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    page.get_by_role("tab", name="Live").click()
    page.wait_for_selector(".live-empty")
    return page


def start(page: Page, detector: str) -> None:
    """Start the camera and wait for the first answers."""
    page.evaluate("d => { document.querySelector('[data-set=detector]').value = d; }", arg=detector)
    page.click(".live-bar [data-do=start]")
    page.wait_for_function("() => window.emotionLensLive.frames >= 10", timeout=60_000)


def counted(page: Page) -> dict[str, Any]:
    """Return what the page has counted so far."""
    return page.evaluate(
        """() => { const l = window.emotionLensLive;
          return { frames: l.frames, busy: l.busy, errors: l.errors, latencies: [...l.latencies],
            faces: l.answer ? l.answer.faces.length : 0, detector: l.answer && l.answer.detector,
            stages: l.answer && l.answer.stages }; }"""
    )


def percentile(values: list[float], share: float) -> float:
    """Return a percentile, to a tenth."""
    ordered = sorted(values)
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1)


def watch(pages: list[Page], seconds: float) -> list[dict[str, Any]]:
    """Let pages stream for a while, and return what each of them did meanwhile."""
    before, began = [counted(page)["frames"] for page in pages], time.perf_counter()
    time.sleep(seconds)
    after, spent = [counted(page) for page in pages], time.perf_counter() - began
    rows = []
    for first, last in zip(before, after, strict=True):
        fresh = last["frames"] - first
        waits = last["latencies"][-fresh:] if fresh else [float("nan")]
        row = {"frames_per_second": round(fresh / spent, 1)}
        row |= {"painted_p50_ms": percentile(waits, 0.5), "painted_p95_ms": percentile(waits, 0.95)}
        rows.append(row | {name: last[name] for name in ("busy", "errors", "faces", "detector")})
    return rows


def image_request(browser: Browser, url: str) -> dict[str, float]:
    """Return the seconds from choosing a photo, from a new page, to its answer and its proof."""
    page = browser.new_context().new_page()
    page.goto(url)
    page.wait_for_selector("#photo input[type=file]", state="attached")
    page.wait_for_timeout(500)
    began = time.perf_counter()
    page.set_input_files("#photo input[type=file]", str(ROOT / "emotion/examples/happiness.jpg"))
    page.wait_for_selector(".lens-card")
    answered = time.perf_counter() - began
    page.wait_for_selector(".lens-proof[data-verdict]")
    proven = time.perf_counter() - began
    page.context.close()
    return {"image_seconds": round(answered, 2), "proof_seconds": round(proven, 2)}


def camera_ends(browser: Browser, url: str, requests: list[str]) -> dict[str, str]:
    """Return the camera's state after Stop, after hiding the page, and after another tab."""
    states = {}
    hide = """() => {
      Object.defineProperty(document, "hidden", { value: true, configurable: true });
      document.dispatchEvent(new Event("visibilitychange")); }"""
    ways = {
        "stop": lambda page: page.click(".live-stop"),
        "hidden": lambda page: page.evaluate(hide),
        "other_tab": lambda page: page.get_by_role("tab", name="About").click(),
    }
    for name, way in ways.items():
        page = open_live(browser, url, requests)
        start(page, "hog")
        way(page)
        page.wait_for_timeout(300)
        states[name] = page.evaluate(STATE)
        page.context.close()
    return states


def resident(pid: int) -> float:
    """Return the resident memory of a process and its children, in MB; Linux only."""
    total, todo = 0.0, [pid]
    while todo:
        number = todo.pop()
        try:
            status = Path(f"/proc/{number}/status").read_text()
            todo += map(int, Path(f"/proc/{number}/task/{number}/children").read_text().split())
        except OSError:
            continue
        if found := re.search(r"VmRSS:\s+(\d+)", status):
            total += int(found.group(1)) / 1024
    return round(total, 1)


def page_memory(page: Page) -> float:
    """Return the memory that the page's scripts hold after a collection, in MB."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    session.detach()
    return round(used, 2)


def long_stream(page: Page, pid: int, temp: Path, minutes: float) -> dict[str, Any]:
    """Stream for minutes; return memory after each of them, and the files that are new."""
    files = set(temp.rglob("*"))
    server, heap = [], []
    for _ in range(max(1, round(minutes))):
        time.sleep(60)
        server.append(resident(pid))
        heap.append(page_memory(page))
    new = [str(path) for path in set(temp.rglob("*")) - files]
    after_first = [values[-1] / values[0] - 1 for values in (server, heap)]
    return {
        "server_mb": server,
        "page_mb": heap,
        "server_growth": round(after_first[0], 4),
        "page_growth": round(after_first[1], 4),
        "new_files": new,
        "frames": counted(page)["frames"],
        "errors": counted(page)["errors"],
    }


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--yunet", type=Path, metavar="FILE", help="without it, hog alone")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--minutes", type=float, default=0.0, help="of the long stream")
    args = parser.parse_args()
    flags = ["--yunet", str(args.yunet.resolve())] if args.yunet else ["--detector", "hog"]
    detectors = ["yunet", "hog"] if args.yunet else ["hog"]
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    report: dict[str, Any] = {"camera_fps": RATE, "cores": os.cpu_count()}
    requests: list[str] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as session:
        clip = write_clip(Path(folder) / "face.y4m", moving_face())
        temp = Path(folder) / "app"
        temp.mkdir()
        camera = [*FLAGS, f"--use-file-for-fake-video-capture={clip}"]
        browser = session.chromium.launch(executable_path=chromium, args=camera)
        with served(temp, *flags) as (url, pid):
            measure(report, browser, (url, pid), detectors, args, requests)
            if args.minutes:
                page = open_live(browser, url, requests)
                start(page, detectors[0])
                report["long"] = long_stream(page, pid, temp, args.minutes)
        browser.close()
    away = [u for u in requests if not re.match(r"(http|ws)://127\.0\.0\.1:|data:|blob:", u)]
    report["requests_elsewhere"] = sorted(set(away))
    print(json.dumps(report, indent=2))


def measure(
    report: dict[str, Any],
    browser: Browser,
    app: tuple[str, int],
    detectors: list[str],
    args: argparse.Namespace,
    requests: list[str],
) -> None:
    """Fill in the figures of one viewer, four viewers, an Image request, and the camera's end."""
    url, _ = app
    for detector in detectors:
        page = open_live(browser, url, requests)
        start(page, detector)
        (report[f"one_{detector}"],) = watch([page], args.seconds)
        page.context.close()
    pages = [open_live(browser, url, requests) for _ in range(4)]
    for page in pages:
        start(page, detectors[0])
    rows = watch(pages, args.seconds)
    together = sum(row["frames_per_second"] for row in rows)
    one = report[f"one_{detectors[0]}"]["frames_per_second"]
    report["four"] = {
        "each": rows,
        "together": round(together, 1),
        "of_one_viewer": round(together / one, 3),
        "least_share": round(min(r["frames_per_second"] for r in rows) / one, 3),
        **image_request(browser, url),
    }
    for page in pages:
        page.context.close()
    report["camera_after"] = camera_ends(browser, url, requests)


if __name__ == "__main__":
    main()
