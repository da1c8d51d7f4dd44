"""Faces are found where they are, and nowhere else."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from emotion.boxes import overlap, settle
from emotion.detect import (
    DETECTORS,
    FaceDetector,
    HogDetector,
    YunetDetector,
    load_detector,
)
from emotion.errors import DetectorError, UnknownModelError
from emotion.images import RGBImage
from emotion.results import Face, FloatArray


@pytest.fixture(params=["hog", "yunet"])
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    return request.getfixturevalue(request.param)


def box(*sides: float) -> FloatArray:
    return np.array(sides, np.float32)


def test_finds_the_one_face(
    detector: FaceDetector, astronaut: RGBImage, face_box: FloatArray
) -> None:
    (face,) = detector.detect(astronaut)
    assert overlap(face.box, face_box) > 0.6
    assert face.box.dtype == np.float32
    assert face.score > 0.5
    assert (face.landmarks is not None) == (detector.name == "yunet")


def test_yunet_points_lie_on_the_face(yunet: YunetDetector, astronaut: RGBImage) -> None:
    (face,) = yunet.detect(astronaut)
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]


def test_cnn_finds_the_face(astronaut: RGBImage, face_box: FloatArray) -> None:
    cnn = load_detector("cnn")
    # A small piece: the network takes a second for the whole picture.
    (face,) = cnn.detect(np.ascontiguousarray(astronaut[20:220, 130:330]), min_face=80)
    assert overlap(face.box + box(130, 20, 130, 20), face_box) > 0.5
    assert face.score > 0


@pytest.mark.parametrize("side", ["left", "top"])
def test_face_cut_by_the_border(detector: FaceDetector, astronaut: RGBImage, side: str) -> None:
    cut = astronaut[:, 205:] if side == "left" else astronaut[95:]
    (face,) = detector.detect(np.ascontiguousarray(cut))
    assert face.box[0 if side == "left" else 1] == 0
    assert face.box.min() >= 0
    assert face.box[2] <= cut.shape[1]
    assert face.box[3] <= cut.shape[0]


@pytest.mark.parametrize(
    "image",
    [
        np.full((480, 640, 3), 128, np.uint8),
        np.random.default_rng(0).integers(0, 256, (480, 640, 1), np.uint8).repeat(3, 2),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((1, 3000, 3), np.uint8),
        np.zeros((3000, 1, 3), np.uint8),
    ],
    ids=["blank", "noise", "1x1", "row", "column"],
)
def test_no_face(detector: FaceDetector, image: RGBImage) -> None:
    assert detector.detect(image) == ()


@pytest.mark.parametrize("side", [96, 160])
def test_thirty_faces(detector: FaceDetector, face_tile: RGBImage, side: int) -> None:
    tile = cv2.resize(face_tile, (side, side), interpolation=cv2.INTER_AREA)
    faces = detector.detect(np.tile(tile, (5, 6, 1)))
    middles = {
        (int(f.box[[0, 2]].mean() // side), int(f.box[[1, 3]].mean() // side)) for f in faces
    }
    assert len(faces) == len(middles) == 30


def test_face_of_twenty_pixels(
    detector: FaceDetector, astronaut: RGBImage, face_box: FloatArray
) -> None:
    small = cv2.resize(astronaut, None, fx=0.19, fy=0.19, interpolation=cv2.INTER_AREA)
    image = np.full((400, 420, 3), 127, np.uint8)
    image[60 : 60 + len(small), 80 : 80 + small.shape[1]] = small
    faces = detector.detect(image, min_face=20)
    expected = face_box * 0.19 + box(80, 60, 80, 60)
    assert max(overlap(face.box, expected) for face in faces) > 0.5


def test_hog_looks_only_for_faces_asked_for(hog: HogDetector, astronaut: RGBImage) -> None:
    half = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    assert len(hog.detect(half)) == 1
    assert hog.detect(half, min_face=160) == ()


def test_largest_face_comes_first(detector: FaceDetector, face_tile: RGBImage) -> None:
    image = np.full((420, 700, 3), 127, np.uint8)
    for x, side in ((10, 100), (120, 400), (540, 150)):
        image[5 : 5 + side, x : x + side] = cv2.resize(face_tile, (side, side))
    widths = [face.box[2] - face.box[0] for face in detector.detect(image)]
    assert len(widths) == 3
    assert widths == sorted(widths, reverse=True)


def test_threads_give_the_same_faces(
    detector: FaceDetector, astronaut: RGBImage, face_tile: RGBImage
) -> None:
    # Different sizes, since YuNet keeps the input size as state.
    images = [np.ascontiguousarray(i) for i in (astronaut[:300], face_tile, astronaut[:, 100:])]
    expected = [[f.box.tolist() for f in detector.detect(i)] for i in images]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: detector.detect(images[n % 3]), range(24)))
    for number, faces in enumerate(found):
        assert [f.box.tolist() for f in faces] == expected[number % 3]


@pytest.mark.parametrize("min_face", [0, -1, 9, 4001])
def test_impossible_min_face(detector: FaceDetector, min_face: int) -> None:
    with pytest.raises(ValueError, match=f"10 to 4000 pixels, got {min_face}"):
        detector.detect(np.zeros((9, 9, 3), np.uint8), min_face=min_face)


@pytest.mark.parametrize("seconds", [0, -1.0])
def test_hog_needs_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="time_budget must be above 0"):
        HogDetector(time_budget=seconds)


def test_unknown_detector_lists_the_choices() -> None:
    with pytest.raises(UnknownModelError, match=f"available: {', '.join(DETECTORS)}"):
        load_detector("haar")


def test_auto_falls_back_to_hog_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="emotion"):
        assert load_detector("auto").name == "hog"
    assert len(caplog.records) == 1
    assert "EMOTION_OFFLINE" in caplog.text


def test_auto_takes_yunet_where_it_is(
    yunet_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_detector("auto", yunet=yunet_file).name == "yunet"
    monkeypatch.setenv("EMOTION_YUNET", str(yunet_file))
    assert load_detector().name == "yunet"
    assert not caplog.records


def test_yunet_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="EMOTION_OFFLINE"):
        load_detector("yunet")
    absent, text = tmp_path / "absent.onnx", tmp_path / "text.onnx"
    text.write_text("not a network")
    for name in ("yunet", "auto"):  # a file that was named is not silently replaced by hog
        with pytest.raises(DetectorError, match="there is no YuNet file"):
            load_detector(name, yunet=absent)
        with pytest.raises(DetectorError, match=r"OpenCV cannot run text\.onnx"):
            load_detector(name, yunet=text)


def test_settle_keeps_the_better_of_two_that_overlap() -> None:
    faces = [
        Face(box(10, 10, 50, 50), 0.5),
        Face(box(12, 12, 52, 52), 0.9),  # nearly the same
        Face(box(20, 20, 35, 35), 0.8),  # inside
        Face(box(60, 10, 100, 50), 0.1),  # beside
    ]
    assert [f.score for f in settle(faces, (200, 200))] == [0.9, 0.1]


def test_settle_clips_and_drops_what_lies_outside() -> None:
    points = np.zeros((5, 2), np.float32)
    faces = [
        Face(box(-20, -10, 40, 70), 1.0, points),
        Face(box(200, 10, 240, 50), 1.0),
        Face(box(90, 40, 300, 100), 0.5),
    ]
    first, second = settle(faces, (60, 100, 3))
    assert first.box.tolist() == [0, 0, 40, 60]
    assert first.landmarks is points
    assert second.box.tolist() == [90, 40, 100, 60]


def test_overlap() -> None:
    a = box(0, 0, 10, 10)
    assert overlap(a, a) == 1
    assert overlap(a, box(10, 0, 20, 10)) == 0
    assert overlap(a, box(5, 0, 15, 10)) == pytest.approx(0.35)  # 0.7 of a half, above 1/3
    assert overlap(a, box(2, 2, 4, 4)) == pytest.approx(0.7)
