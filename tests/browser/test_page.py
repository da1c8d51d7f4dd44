"""What a visitor does: a photo in, another emotion chosen, files saved, the camera used."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from emotion.weights import DEFAULT_MODEL, find_weights, load_spec
from tests.browser.conftest import EXAMPLES

pytestmark = pytest.mark.browser


def upload(page, path: Path) -> None:
    """Put a file into the Image tab, in place of what is there."""
    page.set_input_files("#photo input[type=file]", str(path))


def pixels_of(element) -> np.ndarray:
    """A screenshot of an element as (H, W, 3) float, once it has stopped fading in."""
    last, now = b"", element.screenshot()
    while now != last:
        element.page.wait_for_timeout(200)
        last, now = now, element.screenshot()
    with Image.open(io.BytesIO(now)) as image:
        return np.asarray(image.convert("RGB"), float)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real photograph with one smiling face."""
    data = pytest.importorskip("skimage.data")
    path = tmp_path_factory.mktemp("photo") / "astronaut.jpg"
    Image.fromarray(data.astronaut()).save(path, quality=95)
    return path


def test_photo_to_evidence_to_download(page, photo: Path, tmp_path: Path) -> None:
    upload(page, photo)
    page.wait_for_selector(".lens-card")
    assert page.locator(".lens-card").count() == 1
    assert "happiness" in page.inner_text(".lens-status")

    proof = page.locator(".lens-proof[data-verdict]")
    assert proof.get_attribute("data-verdict") in ("supported", "weak", "contradicted")
    assert proof.locator("figure img").count() == 2
    hidden = page.locator(".lens-why:not([hidden]) .lens-hidden").all_inner_texts()
    assert len(hidden) == 11
    assert any(float(text) < 0 for text in hidden if text)
    assert proof.locator("p").inner_text().startswith("Hide what the map marks (")

    picture = page.locator(".lens-crop")
    before = pixels_of(picture)
    page.click("[data-pick=anger]")
    assert page.get_attribute(".lens-crop use", "href") == "#heat-0-anger"
    assert page.get_attribute(".lens-picture use", "href") == "#heat-0-anger"
    assert np.abs(pixels_of(picture) - before).mean() > 3
    assert page.inner_text(".lens-why:not([hidden]) p").startswith("Anger (")
    assert page.text_content(".lens-name").startswith("anger 0.")
    page.click("[data-pick=top]")
    assert np.abs(pixels_of(picture) - before).mean() < 0.5

    with page.expect_download() as saved:
        page.click("[data-download=json]")
    target = tmp_path / saved.value.suggested_filename
    saved.value.save_as(target)
    assert target.name == "astronaut.emotion.json"
    face = json.loads(target.read_text())["images"][0]["faces"][0]
    assert face["label"] == "happiness"
    total = face["evidence"]["bias"] + sum(face["evidence"]["regions"].values())
    assert total == pytest.approx(face["logits"]["happiness"], abs=1e-4)

    with page.expect_download() as saved:
        page.click("[data-download=png]")
    saved.value.save_as(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        assert image.size == (512, 512)
        pixels = np.asarray(image.convert("RGB"), int)
    # The box is drawn in it, so it is the picture as shown, not the one uploaded.
    assert (np.abs(pixels - [255, 196, 61]).sum(2) < 30).sum() > 100


def test_a_probability_is_a_button_for_its_evidence(page) -> None:
    upload(page, EXAMPLES / "surprise.jpg")
    page.wait_for_selector(".lens-card")
    page.focus(".lens-probs [data-label=fear]")
    page.keyboard.press("Enter")
    assert page.get_attribute(".lens-crop use", "href") == "#heat-0-fear"
    assert page.get_attribute(".lens-probs [data-label=fear]", "aria-pressed") == "true"
    assert page.get_attribute(".lens-probs [data-label=surprise]", "aria-pressed") == "false"


def test_overlay_strength_follows_the_slider(page) -> None:
    upload(page, EXAMPLES / "happiness.jpg")
    page.wait_for_selector(".lens-card")
    page.locator("[data-strength]").fill("10")
    assert page.get_attribute(".lens-crop use", "opacity") == "0.1"


def test_every_face_has_a_card(page) -> None:
    upload(page, EXAMPLES / "four-faces.jpg")
    page.wait_for_selector(".lens-card")
    assert page.locator(".lens-card").count() == 4
    assert page.locator(".lens-hints").count() == 0
    page.click("[data-pick=neutral]")
    links = page.locator(".lens-picture use").evaluate_all("us => us.map(u => u.href.baseVal)")
    assert sorted(links) == [f"#heat-{i}-neutral" for i in range(4)]


def test_a_blurred_face_gets_a_note(page, tmp_path: Path) -> None:
    with Image.open(EXAMPLES / "happiness.jpg") as sharp:
        sharp.filter(ImageFilter.GaussianBlur(12)).save(tmp_path / "blurred.png")
    upload(page, tmp_path / "blurred.png")
    page.wait_for_selector(".lens-card .lens-hints:has-text('Blurred picture: ')")
    # The words on the box are the answer in the heading, and come back after another choice.
    heading = page.inner_text(".lens-card h3")
    shown = page.text_content(".lens-name")
    assert shown in heading
    page.click("[data-pick=fear]")
    assert page.text_content(".lens-name").startswith("fear 0.")
    page.click("[data-pick=top]")
    assert page.text_content(".lens-name") == shown


def test_an_example_is_one_click(page) -> None:
    page.locator("button.gallery-item, .gallery button").first.click()
    page.wait_for_selector(".lens-card")


def test_a_camera_snapshot_is_analysed(page) -> None:
    page.click("#photo button[aria-label='Capture from camera']")
    page.locator("#photo").get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#photo video')?.videoWidth > 0")
    page.locator("#photo button[aria-label='capture photo']").first.click()
    page.wait_for_selector(".lens-card")
    assert "happiness" in page.inner_text(".lens-status")


def test_bad_files_get_one_clear_line_and_the_next_works(page, app, tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("this is not a picture")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((EXAMPLES / "happiness.jpg").read_bytes()[:9000])
    noise = tmp_path / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 255, (200, 300), np.uint8)
    Image.fromarray(pixels).save(noise)
    for path, words in ((text, "not a picture"), (cut, "cut off"), (noise, "No face was found")):
        upload(page, path)
        page.wait_for_selector(f".lens-note:has-text({json.dumps(words)})")
        page.click("#photo button[aria-label='Remove Image']")
        page.wait_for_selector("text=Drop a photo, paste one")
    upload(page, EXAMPLES / "happiness.jpg")
    page.wait_for_selector(".lens-card")
    assert "Traceback" not in app.log.read_text()


def test_two_visitors_do_not_mix(page, browser, app) -> None:
    context = browser.new_context()
    other = context.new_page()
    other.goto(app.url)
    other.wait_for_selector("#photo input[type=file]", state="attached")
    upload(page, EXAMPLES / "happiness.jpg")
    upload(other, EXAMPLES / "surprise.jpg")
    page.wait_for_selector(".lens-card")
    other.wait_for_selector(".lens-card")
    assert "happiness" in page.inner_text(".lens-status")
    assert "surprise" in other.inner_text(".lens-status")
    context.close()


def test_about_gives_the_models_own_figures(page) -> None:
    page.get_by_role("tab", name="About").click()
    text = page.inner_text(".lens-about")
    assert "Barrett et al." in text
    accuracy = load_spec(find_weights(DEFAULT_MODEL)).metrics["ferplus_test_accuracy"]
    assert f"{accuracy:.1%}" in text
    assert "Nothing is stored" in text


def test_the_proof_comes_without_undoing_what_was_clicked(page) -> None:
    upload(page, EXAMPLES / "four-faces.jpg")
    page.wait_for_selector(".lens-card")
    page.click("[data-pick=fear]")
    page.eval_on_selector(".lens-picture", "picture => { picture.dataset.mine = 'yes'; }")
    page.wait_for_selector(".lens-proof[data-verdict]", state="attached")
    assert page.locator(".lens-proof[data-verdict]").count() == 4
    assert page.locator("[data-waits]").count() == 0
    assert page.get_attribute(".lens-picture", "data-mine") == "yes"
    assert page.get_attribute("[data-pick=fear]", "aria-pressed") == "true"
    assert page.locator(".lens-why:not([hidden])").first.get_attribute("data-for") == "fear"
    numbers = json.loads(page.get_attribute(".lens", "data-json"))
    assert all(face["proof"]["verdict"] for face in numbers["images"][0]["faces"])


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(page, app, width: int, theme: str) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{app.url}?__theme={theme}")
    page.wait_for_selector("#photo input[type=file]", state="attached")
    upload(page, EXAMPLES / "four-faces.jpg")
    page.wait_for_selector(".lens-card")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for picture in page.locator("#result svg[role=img]").all():
        assert picture.get_attribute("aria-label")


@pytest.mark.parametrize("name", ["Live", "Explore", "Scoreboard", "About"])
def test_no_tab_is_wider_than_a_phone(page, name: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_selector(".overflow-menu button")
    page.wait_for_timeout(300)
    tab = page.get_by_role("tab", name=name)
    if not tab.count() or not tab.is_visible():  # it lies in the menu of what has no room
        page.click(".overflow-menu button")
        tab = page.locator(f".overflow-dropdown button:has-text('{name}')")
    tab.click()
    page.wait_for_timeout(500)
    widest = page.evaluate(
        "() => Math.max(...[...document.querySelectorAll('.tabitem')]"
        ".map((tab) => tab.getBoundingClientRect().right))"
    )
    assert 300 < widest <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
