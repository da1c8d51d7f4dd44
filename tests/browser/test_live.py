"""The Live tab in a real browser, with a fake camera that shows a moving face."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from emotion.render import heat_rgba
from emotion.results import Explanation

pytestmark = pytest.mark.browser

FRAMES = "() => window.emotionLensLive.frames"


@pytest.fixture
def live(page):
    """The page with the Live tab open and the camera not yet on."""
    page.get_by_role("tab", name="Live").click()
    page.wait_for_selector(".live-empty")
    return page


def start(page, frames: int = 5) -> None:
    page.click(".live-bar [data-do=start]")
    page.wait_for_function(f"() => window.emotionLensLive.frames >= {frames}")


def state(page) -> str:
    """The camera's state; of the last one, if it is off."""
    return page.evaluate(
        "() => (window.emotionLensLive.track || window.emotionLensLive.last).readyState"
    )


def test_start_watch_stop(live, app) -> None:
    assert live.evaluate("() => window.emotionLensLive.state()") == "none"
    before = {path for path in app.temp.rglob("*") if path != app.log}
    start(live, 15)
    assert state(live) == "live"
    assert live.inner_text(".live-answer")
    answer = live.evaluate("() => window.emotionLensLive.answer")
    assert len(answer["faces"]) == 1
    live.click(".live-stop")
    assert state(live) == "ended"
    assert live.is_visible(".live-empty")
    frames = live.evaluate(FRAMES)
    live.wait_for_timeout(400)
    assert live.evaluate(FRAMES) == frames
    assert {path for path in app.temp.rglob("*") if path != app.log} == before
    start(live, frames + 3)  # and again


def test_what_is_painted_is_the_evidence(live) -> None:
    """The page's colours are those that Python would paint from the numbers it got."""
    start(live)
    found = live.evaluate(
        """() => {
          const { answer, painted, config } = window.emotionLensLive;
          const face = answer.faces[0];
          const pixels = window.emotionPaint.heat(face, 48, config.colours);
          return { face, pixels: [...pixels], same: painted !== null };
        }"""
    )
    assert found["same"]
    face = found["face"]
    grid = np.array(face["evidence"], np.float32)[None]
    explanation = Explanation(
        labels=("a",),
        evidence=grid,
        bias=np.zeros(1, np.float32),
        regions=("r",),
        region_evidence=np.zeros((1, 1), np.float32),
        grid_origin=face["grid_origin"],
        grid_step=face["grid_step"],
        scale=face["scale"],
    )
    wanted = heat_rgba(explanation, "a", 48).astype(int)
    got = np.array(found["pixels"]).reshape(48, 48, 4)
    assert wanted[..., 3].max() > 50
    assert np.abs(got - wanted)[wanted[..., 3] > 0].max() <= 1


def test_another_emotion_and_no_heatmap(live) -> None:
    start(live)
    live.select_option("[data-set=label]", "fear")
    live.wait_for_function("() => window.emotionLensLive.answer.faces[0]?.why === 'fear'")
    assert live.inner_text(".live-why") == "fear"
    live.wait_for_function("() => window.emotionLensLive.painted !== null")
    live.uncheck("[data-set=heat]")
    live.wait_for_function("() => window.emotionLensLive.painted === null")


def test_choosing_another_tab_ends_the_camera(live) -> None:
    start(live)
    live.get_by_role("tab", name="About").click()
    live.wait_for_function("() => window.emotionLensLive.state() === 'none'")
    assert state(live) == "ended"
    live.get_by_role("tab", name="Live").click()
    assert "another tab" in live.inner_text(".live-note")


def test_hiding_the_page_ends_the_camera(live) -> None:
    start(live)
    live.evaluate(
        """() => {
          Object.defineProperty(document, "hidden", { value: true, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    assert state(live) == "ended"
    assert "hidden" in live.inner_text(".live-note")


def test_freeze_and_open_in_the_image_tab(live) -> None:
    start(live)
    live.click("[data-do=freeze]")
    assert live.is_visible(".live-frozen")
    live.wait_for_timeout(300)
    frames = live.evaluate(FRAMES)
    live.wait_for_timeout(400)
    assert live.evaluate(FRAMES) == frames
    live.click("[data-do=open]")
    live.wait_for_selector("#result .lens-card")
    assert state(live) == "ended"


def test_numbers_are_saved_and_no_picture(live, tmp_path: Path) -> None:
    start(live, 10)
    files = {}
    for kind in ("csv", "json", "png"):
        with live.expect_download() as saved:
            live.click(f".live-save [data-do={kind}]")
        files[kind] = tmp_path / saved.value.suggested_filename
        saved.value.save_as(files[kind])
    with files["csv"].open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 10
    shares = [float(rows[0][name]) for name in ("neutral", "happiness", "surprise", "sadness")]
    assert 0 <= sum(shares) <= 1.001
    assert {"seconds", "face", "mouth", "left_brow"} <= set(rows[0])
    content = json.loads(files["json"].read_text())
    assert len(content["frames"]) >= 10
    assert "jpeg" not in files["json"].read_text()
    assert files["png"].read_bytes().startswith(b"\x89PNG")


def test_the_answer_is_read_out_but_not_chattered(live) -> None:
    live.evaluate(
        """() => {
          window.spoken = [];
          new MutationObserver(() => window.spoken.push(performance.now()))
            .observe(document.querySelector(".live-said"), { childList: true, subtree: true });
        }"""
    )
    start(live, 40)
    assert live.text_content(".live-said")
    spoken = np.diff(live.evaluate("() => window.spoken"))
    assert (spoken >= 990).all()


def test_refused_camera_says_what_to_do(live) -> None:
    for name, words in (
        ("NotAllowedError", "Allow it"),
        ("NotFoundError", "no camera"),
        ("NotReadableError", "another program"),
    ):
        live.evaluate(
            """(name) => {
              navigator.mediaDevices.getUserMedia = () =>
                Promise.reject(new DOMException("x", name));
            }""",
            name,
        )
        live.click(".live-bar [data-do=start]")
        live.wait_for_function(
            "(words) => document.querySelector('.live-note').textContent.includes(words)", arg=words
        )
        assert live.is_visible(".live-bar [data-do=start]")


def test_without_server_functions_the_plain_stream_takes_over(live) -> None:
    live.evaluate("() => { window.emotionLensLive.server.frame = async () => undefined; }")
    live.click(".live-bar [data-do=start]")
    live.wait_for_selector("#live-fallback.needed #camera")
    assert "plain camera view" in live.inner_text(".live-note")
    assert state(live) == "ended"
    camera = live.locator("#camera")
    camera.get_by_text("Click to Access Webcam").click()
    camera.locator("button.capture-button").click()
    live.wait_for_selector("#frame img[alt*='Happiness']")


def test_everything_can_be_reached_with_the_keyboard(live) -> None:
    live.focus(".live-bar [data-do=start]")
    live.keyboard.press("Enter")
    live.wait_for_function("() => window.emotionLensLive.frames >= 3")
    live.focus(".live-stop")
    live.keyboard.press("Enter")
    assert state(live) == "ended"
    for control in live.query_selector_all(".live select, .live input"):
        assert control.evaluate("e => Boolean(e.closest('label'))")
