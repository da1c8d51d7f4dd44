"""The HTML of a result: complete, safe, and telling what the result holds."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

from emotion.images import load_image
from emotion.labels import FERPLUS
from emotion.results import ImageResult
from emotion.ui import cards, texts
from emotion.ui.image_tab import analyse_file
from emotion.ui.webcam_tab import frame_html
from emotion.weights import WEIGHTS_DIR, load_spec

EXAMPLES = Path(__file__).resolve().parents[1] / "emotion" / "examples"


@pytest.fixture(scope="module")
def page(pipeline) -> str:
    image = load_image(EXAMPLES / "four-faces.jpg")
    return cards.result_html(image, pipeline(image), name='a"<b>.jpg', milliseconds=12)


def test_every_face_and_class_is_in_it(page: str) -> None:
    assert page.count('class="lens-card"') == 4
    for face in range(4):
        for label in FERPLUS:
            assert f'id="heat-{face}-{label}"' in page
    # Per card one explanation is shown, the other seven are there and hidden.
    assert page.count('class="lens-why"') == 32
    assert len(re.findall(r'class="lens-why" data-for="\w+" hidden', page)) == 28


def test_numbers_for_download_are_whole(page: str, pipeline) -> None:
    numbers = json.loads(html.unescape(re.search(r'data-json="([^"]*)"', page).group(1)))
    assert numbers["model"] == pipeline.model.spec.name
    assert len(numbers["images"][0]["faces"]) == 4
    assert numbers["images"][0]["path"] == 'a"<b>.jpg'


def test_a_hostile_file_name_stays_text(page: str) -> None:
    assert "<b>.jpg" not in page
    assert 'data-name="a&quot;&lt;b&gt;"' in page


def test_bars_point_to_their_side() -> None:
    assert 'class="for" style="width:25.0%"' in cards.signed_bar(1.0, 2.0)
    assert 'class="against" style="width:50.0%"' in cards.signed_bar(-9.0, 2.0)


def test_no_face_says_so_and_shows_the_picture() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    page = cards.result_html(image, ImageResult(30, 20), name="x", milliseconds=1)
    assert html.escape(texts.NO_FACE) in page
    assert 'viewBox="0 0 30 20"' in page


def test_unsure_answers_are_marked(pipeline, monkeypatch) -> None:
    image = load_image(EXAMPLES / "happiness.jpg")
    result = pipeline(image)
    assert "lens-unsure" not in cards.card(0, result.faces[0])
    monkeypatch.setattr(cards, "UNSURE", 1.1)
    assert "lens-unsure" in cards.card(0, result.faces[0])


def test_bad_uploads_become_a_line_of_text(pipeline, tmp_path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.write_bytes(b"")
    answer = analyse_file(pipeline, str(empty))
    assert 'role="alert"' in answer
    assert "the file is empty" in answer
    assert texts.EMPTY in html.unescape(analyse_file(pipeline, None))
    assert "lens-card" in analyse_file(pipeline, str(EXAMPLES / "happiness.jpg"))


def test_an_unforeseen_failure_is_an_apology_not_a_traceback(caplog) -> None:
    def broken(image: object) -> None:
        raise RuntimeError("secret detail")

    answer = analyse_file(broken, str(EXAMPLES / "happiness.jpg"))
    assert "secret" not in answer
    assert "secret detail" in caplog.text


def test_frames(pipeline) -> None:
    frame = load_image(EXAMPLES / "happiness.jpg")
    with_heat = frame_html(pipeline, frame, heat=True)
    assert "Happiness (" in with_heat
    assert with_heat != frame_html(pipeline, frame, heat=False)
    assert "No face in view" in frame_html(pipeline, np.zeros((48, 64, 3), np.uint8))
    assert "Waiting" in frame_html(pipeline, None)


def test_about_names_what_the_model_misses() -> None:
    spec = load_spec(WEIGHTS_DIR / "ferplus-face27.safetensors")
    text = texts.about(spec)
    assert "contempt" in texts.weakness(spec)
    assert f"{spec.metrics['ferplus_test_accuracy']:.1%}" in text
    assert "7x7" in text
