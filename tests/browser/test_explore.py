"""The Explore tab in a real browser: proof, hide a part, why not, methods, compare, report."""

import json
from pathlib import Path

import pytest

from emotion.cli import main
from emotion.regions import REGIONS

pytestmark = pytest.mark.browser

EXAMPLE = Path(__file__).resolve().parents[2] / "emotion" / "examples" / "happiness.jpg"
FREE = "() => !window.emotionLensExplore.panes.some((one) => one.probe.busy)"


@pytest.fixture
def explore(page):
    page.get_by_role("tab", name="Explore").click()
    page.wait_for_selector(".ex-examples button")
    page.set_input_files(".ex-pane input[type=file]", EXAMPLE)
    page.wait_for_selector(".ex-proof .lens-proof", timeout=60_000)
    page.wait_for_function(FREE)
    return page


def shown(page) -> dict[str, float]:
    rows = page.locator(".ex-probs button").all()
    return {
        row.get_attribute("data-label"): float(row.locator("span").last.inner_text().rstrip("+"))
        for row in rows
    }


def settle(page) -> None:
    page.wait_for_timeout(100)
    page.wait_for_function(FREE, timeout=60_000)


def test_proof_hiding_and_why_not(explore) -> None:
    page = explore
    assert page.locator(".ex-answer").inner_text().startswith("happiness")
    assert page.locator(".ex-sentence").inner_text().startswith("Happiness (")
    assert page.locator(".ex-proof .lens-proof").get_attribute("data-verdict") in (
        "supported",
        "weak",
        "contradicted",
    )
    assert "6+12" in page.locator(".ex-facs").inner_text()
    rows = page.locator(".ex-regions tbody td:nth-child(3)").all_inner_texts()
    feet = page.locator(".ex-regions tfoot td:nth-child(3)").all_inner_texts()
    bias, logit = map(float, feet)
    assert sum(map(float, rows)) + bias == pytest.approx(logit, abs=0.08), "bars + bias = logit"
    assert len(rows) == len(REGIONS)

    before = shown(page)
    page.click(".ex-parts button:has-text('mouth')")
    settle(page)
    after = shown(page)
    assert after["happiness"] < before["happiness"] - 0.05
    assert "with the mouth hidden" in page.locator(".ex-answer").inner_text()
    page.click("[data-do=keep]")
    settle(page)
    assert shown(page) != after
    page.click("[data-do=reset]")
    settle(page)
    assert shown(page) == before

    page.select_option("[data-set=versus]", "surprise")
    settle(page)
    said = page.locator(".ex-sentence").inner_text()
    assert said.startswith("Happiness is ")
    assert "as probable as surprise" in said
    assert page.locator(".ex-regions tfoot th").last.inner_text() == "sum = margin"


def test_a_press_on_the_face_and_the_brush(explore) -> None:
    page = explore
    page.locator(".ex-stage canvas").scroll_into_view_if_needed()
    bounds = page.locator(".ex-stage canvas").bounding_box()
    points = page.evaluate("() => window.emotionLensExplore.panes[0].probe.face.points")
    mouth = [sum(p[k] for p in points[48:60]) / 12 for k in (0, 1)]
    page.mouse.click(
        bounds["x"] + mouth[0] * bounds["width"], bounds["y"] + mouth[1] * bounds["height"]
    )
    settle(page)
    assert (
        page.locator(".ex-parts button:has-text('mouth')").get_attribute("aria-pressed") == "true"
    )
    page.click("[data-do=reset]")
    settle(page)
    page.click("[data-tool=brush]")
    x, y = bounds["x"] + 0.3 * bounds["width"], bounds["y"] + 0.4 * bounds["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(6):
        page.mouse.move(x + 12 * step, y)
    page.mouse.up()
    settle(page)
    count = "() => window.emotionLensExplore.panes[0].probe.mask.reduce((a, b) => a + b)"
    assert 80 < page.evaluate(count) < 3000
    assert page.evaluate(
        "() => { const p = window.emotionLensExplore.panes[0].probe; return p.now !== p.face; }"
    )


def test_methods_compare_and_models(explore) -> None:
    page = explore
    page.click(".ex-methods summary")
    page.wait_for_selector(".ex-grid figure", timeout=60_000)
    assert page.locator(".ex-grid figure").count() == 9
    assert page.locator(".ex-grid .ex-same").count() == 2
    assert page.locator(".ex-grid canvas").count() == 7
    assert "by construction" in page.locator(".ex-grid .ex-same").first.inner_text()
    layers = page.locator("[data-set=layer] option").all_inner_texts()
    assert "last (7x7)" in layers
    assert any("(15x15)" in text for text in layers)
    smooth = page.evaluate("() => document.querySelector('.ex-grid canvas').toDataURL()")
    page.check("[data-set=grid]")
    assert page.evaluate("() => document.querySelector('.ex-grid canvas').toDataURL()") != smooth
    finest = page.locator("[data-set=layer] option").first.get_attribute("value")
    page.select_option("[data-set=layer]", finest)
    settle(page)
    assert page.locator("[data-set=layer]").input_value() == finest
    assert page.locator(".ex-grid figure").count() == 9

    page.click("[data-do=compare]")
    second = page.locator(".ex-pane").nth(1)
    second.locator(".ex-proof .lens-proof").wait_for(timeout=60_000)
    second.locator("[data-set=model]").select_option("fer2013-face27")
    page.wait_for_function(
        "() => document.querySelectorAll('.ex-pane')[1]"
        ".querySelectorAll('.ex-probs button').length === 7",
        timeout=60_000,
    )
    settle(page)
    assert page.locator(".ex-pane").first.locator(".ex-probs button").count() == 8
    assert second.locator(".ex-probs button").count() == 7
    page.click("[data-do=compare]")
    assert page.locator(".ex-pane").count() == 1


def test_the_report_that_is_saved_holds(explore, tmp_path, capsys) -> None:
    page = explore
    saved = {}
    for kind in ("html", "json", "npy"):
        with page.expect_download(timeout=60_000) as download:
            page.click(f"[data-save={kind}]")
        saved[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[kind])
    assert saved["json"].name == "happiness.face1.report.json"
    report = json.loads(saved["json"].read_text())
    assert report["settings"]["label"] == "happiness"
    assert saved["html"].read_text().count("<img") == 2, "no face unless it was ticked"
    assert main(["explain", str(EXAMPLE), "--verify", str(saved["json"])]) == 0
    assert "The report holds." in capsys.readouterr().out


def test_from_the_image_tab_and_bad_files(page, tmp_path) -> None:
    page.set_input_files("#photo input[type=file]", EXAMPLE)
    page.wait_for_selector(".lens-explore", timeout=60_000)
    page.click(".lens-explore")
    page.wait_for_selector(".ex-proof .lens-proof", timeout=60_000)
    settle(page)
    assert page.locator(".ex-answer").inner_text().startswith("happiness")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    page.set_input_files(".ex-pane input[type=file]", broken)
    page.wait_for_selector(".ex-note:not([hidden])")
    assert "cannot be done" in page.locator(".ex-note").inner_text()
    page.set_input_files(".ex-pane input[type=file]", EXAMPLE)
    page.wait_for_selector(".ex-note", state="hidden")


def test_the_scoreboard_opens_a_cell(page) -> None:
    page.get_by_role("tab", name="Scoreboard").click()
    page.wait_for_selector(".sb-matrix button")
    heading = page.locator(".sb-cell h4")
    assert ", found" in heading.inner_text(), "the largest cell is shown at first"
    before = page.evaluate("() => document.querySelector('.sb-cell canvas').toDataURL()")
    page.locator('.sb-matrix button[data-truth="fear"][data-said="surprise"]').click()
    assert "of fear, taken for surprise" in heading.inner_text()
    after = page.evaluate("() => document.querySelector('.sb-cell canvas').toDataURL()")
    assert before != after
    assert page.locator(".sb-regions tr").count() == 6
