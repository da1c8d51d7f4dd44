"""The HTML of a result: complete, safe, and telling what the result holds."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emotion.images import load_image
from emotion.labels import FERPLUS
from emotion.results import FaceResult, ImageResult, QualityNote
from emotion.ui import bars, cards, image_tab, picture, texts
from emotion.ui.gate import Gate
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
    assert 'class="for" style="width:25.0%"' in bars.signed_bar(1.0, 2.0)
    assert 'class="against" style="width:50.0%"' in bars.signed_bar(-9.0, 2.0)


def test_no_face_says_so_and_shows_the_picture() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    page = cards.result_html(image, ImageResult(30, 20), name="x", milliseconds=1)
    assert html.escape(texts.NO_FACE) in page
    assert 'viewBox="0 0 30 20"' in page


@pytest.fixture(scope="module")
def happy(pipeline) -> FaceResult:
    return pipeline(load_image(EXAMPLES / "happiness.jpg")).faces[0]


def with_answer(face: FaceResult, threshold: float, **probabilities: float) -> FaceResult:
    """The same face with other probabilities; what is not named shares the rest."""
    labels = face.prediction.labels
    rest = (1 - sum(probabilities.values())) / (len(labels) - len(probabilities))
    values = np.array([probabilities.get(name, rest) for name in labels], np.float32)
    prediction = replace(face.prediction, probabilities=values, set_threshold=threshold)
    return replace(face, prediction=prediction)


def heading_of(face: FaceResult) -> str:
    """The text of a card's heading, without tags."""
    found = re.search("<h3>(.*?)</h3>", cards.card(0, face))
    return re.sub("<.*?>", "", found.group(1))


def test_a_sure_answer_has_its_probability(happy: FaceResult) -> None:
    assert re.fullmatch(r"Face 1: happiness 0\.\d\d", heading_of(happy))
    sure = with_answer(happy, 0.35, happiness=0.9)
    assert heading_of(sure) == "Face 1: happiness 0.90"
    assert cards.card(0, sure).count("data-candidate") == 1


def test_two_candidates_are_both_named(happy: FaceResult) -> None:
    face = with_answer(happy, 0.35, happiness=0.4, surprise=0.5)
    assert heading_of(face) == "Face 1: surprise or happiness"
    assert cards.card(0, face).count("data-candidate") == 2
    # The evidence is that of the most probable one.
    assert 'data-top="surprise"' in cards.card(0, face)
    assert ">surprise or happiness</text>" in picture.mark(0, face, 480)


@pytest.mark.parametrize(
    ("threshold", "listed"), [(0.3, "anger, sadness or fear"), (0.45, "anger or sadness")]
)
def test_not_sure_lists_what_it_could_be(happy: FaceResult, threshold: float, listed: str) -> None:
    face = with_answer(happy, threshold, sadness=0.32, anger=0.35, fear=0.31)
    assert heading_of(face) == f"Face 1: not sure could be {listed}"
    assert ">not sure</text>" in picture.mark(0, face, 480)
    result = ImageResult(480, 480, faces=(face, face), detector="hog")
    assert "2 faces: <b>not sure, not sure</b>" in cards.status(result, 3)
    # The bars stay, with the same numbers.
    assert 'data-value="0.35" aria-pressed="true" data-candidate' in cards.card(0, face)


def test_a_long_caption_stays_in_the_picture(happy: FaceResult) -> None:
    face = with_answer(happy, 0.35, happiness=0.4, surprise=0.5)
    box = np.array([380, 200, 480, 300], np.float32)
    x = re.search(r'class="lens-name".*? x="([\d.]+)"', picture.mark(0, moved(face, box), 480))
    assert float(x.group(1)) < 330
    x = re.search(
        r'class="lens-name".*? x="([\d.]+)"', picture.mark(0, moved(face, box - 180), 480)
    )
    assert float(x.group(1)) == 200


def moved(face: FaceResult, box: np.ndarray) -> FaceResult:
    return replace(face, face=replace(face.face, box=box))


def test_notes_are_on_the_card_and_harmless(happy: FaceResult) -> None:
    assert "lens-hints" not in cards.card(0, happy)
    noted = replace(happy, notes=(QualityNote("dark", "Dark <b>picture</b>."),))
    assert '<ul class="lens-hints"><li>Dark &lt;b&gt;picture' in cards.card(0, noted)


def answers(pipeline: object, path: str | None, gate: Gate | None = None) -> list[tuple[str, str]]:
    return list(analyse_file(pipeline, path, gate or Gate(1)))


def test_bad_uploads_become_a_line_of_text(pipeline, tmp_path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.write_bytes(b"")
    ((answer, proofs),) = answers(pipeline, str(empty))
    assert 'role="alert"' in answer
    assert "the file is empty" in answer
    assert proofs == ""
    assert texts.EMPTY in html.unescape(answers(pipeline, None)[0][0])


def test_the_answer_comes_first_and_its_proof_after(pipeline) -> None:
    first, second = answers(pipeline, str(EXAMPLES / "happiness.jpg"))
    assert first[0] == second[0]  # what is shown is not drawn anew
    assert "data-waits" in first[0]
    assert first[1] == ""
    assert 'data-verdict="' in second[1]
    assert second[1].count("lens-hidden") == 11
    key = re.search(r'data-key="(\w+)"', first[0]).group(1)
    assert f'data-key="{key}" data-words=""' in second[1]
    numbers = json.loads(html.unescape(re.search(r'data-json="([^"]*)"', second[1]).group(1)))
    assert numbers["images"][0]["faces"][0]["proof"]["verdict"]


def test_a_proof_that_cannot_be_had_leaves_the_answer(pipeline, monkeypatch, caplog) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(image_tab, "part_drops", broken)
    first, second = answers(pipeline, str(EXAMPLES / "happiness.jpg"))
    assert "lens-card" in first[0]
    assert html.escape(texts.BROKEN, quote=True) in second[1]
    assert "secret" not in second[1]
    assert "secret detail" in caplog.text


def test_a_full_house_proves_what_it_can(pipeline, monkeypatch) -> None:
    monkeypatch.setattr(image_tab, "PATIENCE", 0.0)
    gate = Gate(1)
    pages = analyse_file(pipeline, str(EXAMPLES / "happiness.jpg"), gate)
    assert "lens-card" in next(pages)[0]
    with gate.turn(1):  # somebody else takes the only place
        assert html.escape(texts.BUSY, quote=True) in next(pages)[1]
        assert texts.BUSY in html.unescape(
            answers(pipeline, str(EXAMPLES / "anger.jpg"), gate)[0][0]
        )


def test_an_unforeseen_failure_is_an_apology_not_a_traceback(caplog) -> None:
    def broken(image: object) -> None:
        raise RuntimeError("secret detail")

    ((answer, _),) = answers(broken, str(EXAMPLES / "happiness.jpg"))
    assert "secret" not in answer
    assert "secret detail" in caplog.text


def test_frames(pipeline) -> None:
    frame = load_image(EXAMPLES / "happiness.jpg")
    with_heat = frame_html(pipeline, frame, heat=True)
    assert "Happiness (" in with_heat
    assert with_heat != frame_html(pipeline, frame, heat=False)
    assert "No face in view" in frame_html(pipeline, np.zeros((48, 64, 3), np.uint8))
    assert "Waiting" in frame_html(pipeline, None)
    overexposed = np.clip(frame * 3.0, 0, 255).astype(np.uint8)
    assert "Overexposed picture: " in frame_html(pipeline, overexposed)
    assert "lens-hints" not in frame_html(pipeline, frame)


def test_about_names_what_the_model_misses() -> None:
    spec = load_spec(WEIGHTS_DIR / "ferplus-face27.safetensors")
    text = texts.about(spec)
    assert "contempt" in texts.weakness(spec)
    assert f"{spec.metrics['ferplus_test_accuracy']:.1%}" in text
    assert "7x7" in text


def test_about_says_what_a_set_is_and_what_is_hard() -> None:
    spec = load_spec(WEIGHTS_DIR / "ferplus-face27.safetensors")
    plain = replace(spec, set_threshold=1.0, quality={})
    assert "Look at the probabilities" in texts.about(plain)
    assert "ordinary faces" not in texts.about(plain)
    told = texts.about(replace(spec, set_threshold=0.37, quality={"all": 0.874, "dark": 0.8}))
    assert "at least 0.37" in told
    assert "On 90 of 100 faces of the validation split" in told
    assert "Of ordinary faces it reads 87% right; of dark 80%." in told
