"""A photograph in, faces with exact explanations out; whatever came before, and in any thread."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from emotion import load_pipeline
from emotion.cam import CamExplainer
from emotion.classify import classify
from emotion.errors import DetectorError, ImageError, UnknownModelError
from emotion.images import RGBImage
from emotion.model import EmotionModel
from emotion.pipeline import EmotionPipeline
from emotion.regions import REGIONS
from emotion.render import encode
from emotion.results import FaceResult, FloatArray, ImageResult
from emotion.serialize import image_json


@pytest.fixture(params=["pipeline", "yunet_pipeline"])
def each_pipeline(request: pytest.FixtureRequest) -> EmotionPipeline:
    return request.getfixturevalue(request.param)


def logits(result: ImageResult) -> list[FloatArray]:
    return [face.prediction.logits for face in result.faces]


def check_sums(face: FaceResult) -> None:
    """Probabilities sum to 1; cells and regions sum to the logits, for every label."""
    answer, explanation = face.prediction, face.explanation
    assert answer.probabilities.sum() == pytest.approx(1, abs=1e-5)
    tolerance = 1e-4 * np.maximum(1, np.abs(answer.logits))
    for evidence in (explanation.evidence.sum((1, 2)), explanation.region_evidence.sum(1)):
        assert (np.abs(evidence + explanation.bias - answer.logits) <= tolerance).all()


def test_astronaut_shows_happiness(each_pipeline: EmotionPipeline, astronaut: RGBImage) -> None:
    result = each_pipeline(astronaut)
    assert (result.width, result.height) == (512, 512)
    assert result.detector == each_pipeline.detector.name
    assert result.model == each_pipeline.model.spec.name
    (face,) = result.faces
    assert face.prediction.label == "happiness"
    assert face.prediction.probability("happiness") > 0.8
    assert face.sentence.startswith("Happiness (0.99")
    assert face.explanation.regions == REGIONS
    check_sums(face)


def test_smile_is_seen_in_the_lower_face(
    each_pipeline: EmotionPipeline, astronaut: RGBImage
) -> None:
    explanation = each_pipeline(astronaut).faces[0].explanation
    shares = explanation.region_evidence[explanation.labels.index("happiness")]
    by_name = dict(zip(REGIONS, shares, strict=True))
    lower = by_name["mouth"] + by_name["left cheek"] + by_name["right cheek"]
    assert lower > by_name["forehead"] + by_name["outside"]


def test_json_of_the_requirements(each_pipeline: EmotionPipeline, astronaut: RGBImage) -> None:
    entry = json.loads(json.dumps(image_json("a.png", each_pipeline(astronaut))))
    assert list(entry) == ["path", "width", "height", "error", "faces"]
    assert entry["error"] is None
    (face,) = entry["faces"]
    assert list(face)[:6] == ["box", "score", "label", "answer", "sure", "candidates"]
    assert list(face)[6:10] == ["logits", "probabilities", "evidence", "sentence"]
    assert list(face)[10:] == ["quality", "notes"]
    x1, y1, x2, y2 = face["box"]
    assert 0 <= x1 < x2 <= 512
    assert 0 <= y1 < y2 <= 512
    total = face["evidence"]["bias"] + sum(face["evidence"]["regions"].values())
    assert total == pytest.approx(face["logits"][face["label"]], abs=1e-3)
    assert max(face["probabilities"], key=face["probabilities"].get) == face["label"]


def with_threshold(pipeline: EmotionPipeline, threshold: float) -> EmotionPipeline:
    """The same pipeline with a model that answers in sets."""
    spec = replace(pipeline.model.spec, set_threshold=threshold)
    model = EmotionModel(spec, pipeline.model.network, pipeline.model.device)
    return EmotionPipeline(model, pipeline.detector)


def test_sets_reach_result_sentence_and_json(
    pipeline: EmotionPipeline, astronaut: RGBImage
) -> None:
    values = np.sort(pipeline(astronaut).faces[0].prediction.probabilities)[::-1]
    two = with_threshold(pipeline, float(values[1:3].mean()))(astronaut)
    (face,) = two.faces
    top, second = face.prediction.candidates
    assert top == "happiness"
    assert not face.prediction.sure
    assert face.sentence.startswith(f"Happiness or {second}. Happiness (0.99+)")
    entry = image_json("a.png", two)["faces"][0]
    assert (entry["label"], entry["answer"]) == ("happiness", f"happiness or {second}")
    assert (entry["sure"], entry["candidates"]) == (False, ["happiness", second])
    (face,) = with_threshold(pipeline, float(values[0] + 1) / 2)(astronaut).faces
    start = f"Not sure: could be happiness or {second}. Happiness (0.99+)"
    assert face.sentence.startswith(start)
    assert face.prediction.answer == "not sure"


def test_a_dark_and_a_blurred_photograph_get_their_note(
    yunet_pipeline: EmotionPipeline, astronaut: RGBImage
) -> None:
    """HOG would not find these faces."""
    assert yunet_pipeline(astronaut).faces[0].notes == ()
    dark = (astronaut * 0.1).astype(np.uint8)
    blurred = cv2.GaussianBlur(astronaut, (0, 0), 5)
    for image, kind in ((dark, "dark"), (blurred, "blurred")):
        (face,) = yunet_pipeline(image).faces
        assert [note.kind for note in face.notes] == [kind]


def test_json_of_an_error() -> None:
    assert image_json("a.png", None, "damaged") == {
        "path": "a.png",
        "width": None,
        "height": None,
        "error": "damaged",
        "faces": [],
    }


def test_images_in_one_batch_equal_one_by_one(
    each_pipeline: EmotionPipeline, astronaut: RGBImage, face_tile: RGBImage
) -> None:
    blank = np.zeros((50, 70, 3), np.uint8)
    images = [astronaut, blank, np.tile(face_tile, (1, 2, 1)), blank, face_tile]
    together = each_pipeline.analyse(images)
    assert [len(r.faces) for r in together] == [1, 0, 2, 0, 1]
    assert [(r.width, r.height) for r in together] == [i.shape[1::-1] for i in images]
    for image, result in zip(images, together, strict=True):
        for one, other in zip(logits(result), logits(each_pipeline(image)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    for result in together:
        for face in result.faces:
            check_sums(face)


def test_no_images(pipeline: EmotionPipeline) -> None:
    assert pipeline.analyse([]) == ()


def test_mirrored_faces_swap_their_sides(pipeline: EmotionPipeline, astronaut: RGBImage) -> None:
    face = pipeline(astronaut).faces[0].face
    mirrored = pipeline(np.ascontiguousarray(astronaut[:, ::-1])).faces[0].face
    assert mirrored.box[0] == pytest.approx(512 - face.box[2], abs=8)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.full((480, 640, 3), 200, np.uint8),
        np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8),
    ],
    ids=["1x1", "blank", "noise"],
)
def test_no_face_is_an_empty_tuple(each_pipeline: EmotionPipeline, image: np.ndarray) -> None:
    result = each_pipeline(image)
    assert result.faces == ()
    assert (result.height, result.width) == image.shape[:2]


def test_after_every_bad_input_the_next_one_works(
    pipeline: EmotionPipeline, astronaut: RGBImage, tmp_path: Path
) -> None:
    expected = logits(pipeline(astronaut))
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    cut = tmp_path / "cut.jpg"
    # face_recognition, once imported, tells Pillow to take cut-off pictures for whole.
    cut.write_bytes(encode(astronaut, "JPEG")[:20_000])
    bad = [
        cut,
        text,
        tmp_path,
        tmp_path / "absent.jpg",
        b"",
        np.full((9, 9), np.nan),
        np.zeros((9, 9)),
    ]
    for source in bad[:-1]:
        with pytest.raises(ImageError):
            pipeline(source)
    with pytest.raises(TypeError):
        pipeline(None)  # type: ignore[arg-type]
    assert pipeline(bad[-1]).faces == ()
    np.testing.assert_array_equal(logits(pipeline(astronaut)), expected)


def test_image_is_not_changed(pipeline: EmotionPipeline, face_tile: RGBImage) -> None:
    image = face_tile.copy()
    pipeline.analyse([image])
    np.testing.assert_array_equal(image, face_tile)


def test_thirty_faces(yunet_pipeline: EmotionPipeline, face_tile: RGBImage) -> None:
    result = yunet_pipeline(np.tile(face_tile[::2, ::2], (5, 6, 1)))
    assert len(result.faces) == 30
    for face in result.faces:
        assert face.prediction.label == "happiness"
        check_sums(face)


def test_threads_agree_with_one_thread(
    pipeline: EmotionPipeline, yunet_pipeline: EmotionPipeline, face_tile: RGBImage
) -> None:
    """8 threads, 50 calls each: whole pipelines, classification and Grad-CAM on one model."""
    model = pipeline.model
    explainer = CamExplainer(model)
    crop = face_tile[40:160, 35:155].copy()
    labels = model.spec.labels

    def call(number: int) -> np.ndarray:
        kind = number % 4
        if kind == 0:
            return explainer.explain(crop, labels[number % 8]).map
        if kind == 1:
            return classify(model, [crop, face_tile])[1].logits
        chosen = pipeline if kind == 2 else yunet_pipeline
        face = chosen(face_tile).faces[0]
        return np.concatenate([face.prediction.logits, face.explanation.evidence.ravel()])

    expected = [call(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(call, range(8 * 50)))
    for number, one in enumerate(found):
        np.testing.assert_allclose(one, expected[number % 8], rtol=1e-3, atol=1e-4)


def test_load_pipeline(yunet_file: Path, face_tile: RGBImage) -> None:
    loaded = load_pipeline(detector="yunet", device="cpu", yunet=yunet_file, min_face=60)
    assert loaded.min_face == 60
    assert len(loaded(face_tile).faces) == 1


def test_load_pipeline_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="no model"):
        load_pipeline("absent")
    with pytest.raises(UnknownModelError, match="no detector"):
        load_pipeline(detector="absent", device="cpu")
    with pytest.raises(DetectorError, match="no YuNet file"):
        load_pipeline(yunet=tmp_path / "absent.onnx", device="cpu")
    with pytest.raises(ValueError, match="no device"):
        load_pipeline(device="absent")
