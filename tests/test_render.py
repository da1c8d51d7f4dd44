"""Pictures show what the numbers say, where the face is, and nothing when there is nothing."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from emotion.images import RGBImage
from emotion.pipeline import EmotionPipeline
from emotion.render import annotate, blend, density, encode, heat_rgba, heatmap, overlay
from emotion.results import Explanation, FaceResult, ImageResult


@pytest.fixture(scope="module")
def result(pipeline: EmotionPipeline, astronaut: RGBImage) -> ImageResult:
    return pipeline(astronaut)


@pytest.fixture(scope="module")
def face(result: ImageResult) -> FaceResult:
    return result.faces[0]


def with_evidence(explanation: Explanation, value: float) -> Explanation:
    return replace(explanation, evidence=np.full_like(explanation.evidence, value))


def test_density_has_the_evidence_as_its_mean(face: FaceResult) -> None:
    for size in (48, 96):
        for row, label in enumerate(face.prediction.labels):
            mean = density(face.explanation, label, size).mean()
            assert mean == pytest.approx(face.explanation.evidence[row].sum(), abs=1e-3)


def test_heatmap_is_zero_without_positive_evidence(face: FaceResult) -> None:
    for value in (0.0, -0.5):
        assert not heatmap(with_evidence(face.explanation, value), "fear", 64).any()


def test_heatmap_is_on_a_fixed_scale(face: FaceResult) -> None:
    weak = heatmap(with_evidence(face.explanation, 0.01), "fear", 64)
    strong = heatmap(with_evidence(face.explanation, 0.02), "fear", 64)
    np.testing.assert_allclose(strong, 2 * weak, rtol=1e-4)
    assert heatmap(with_evidence(face.explanation, 1e6), "fear", 64).max() == 1


def test_heatmap_of_a_real_face(face: FaceResult) -> None:
    shown = heatmap(face.explanation, "happiness", 96)
    assert shown.shape == (96, 96)
    assert shown.dtype == np.float32
    assert 0 <= shown.min() < 0.2 < shown.max() <= 1


def test_colour_tells_for_from_against(face: FaceResult) -> None:
    pro = heat_rgba(with_evidence(face.explanation, 0.1), "fear", 32)[16, 16]
    contra = heat_rgba(with_evidence(face.explanation, -0.1), "fear", 32)[16, 16]
    none = heat_rgba(with_evidence(face.explanation, 0.0), "fear", 32)
    assert pro[0] > pro[2]
    assert contra[2] > contra[0]
    assert pro[3] == contra[3] > 0
    assert not none[..., 3].any()


def test_overlay(face: FaceResult) -> None:
    before = face.crop.copy()
    np.testing.assert_array_equal(overlay(face, strength=0), before)
    shown = overlay(face, "happiness", strength=1)
    assert shown.dtype == np.uint8
    assert np.abs(shown.astype(int) - before).max() > 20
    assert not np.array_equal(shown, overlay(face, "fear", strength=1))
    assert not np.shares_memory(shown, face.crop)
    np.testing.assert_array_equal(face.crop, before)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_impossible_strength(face: FaceResult, strength: float) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        overlay(face, strength=strength)


def test_full_opacity_replaces() -> None:
    image = np.full((2, 2, 3), 9, np.uint8)
    cover = np.full((2, 2, 4), 255, np.uint8)
    assert (blend(image, cover, 1.0) == 255).all()
    assert (blend(image, cover, 0.0) == 9).all()


def test_annotate_draws_near_the_face_only(astronaut: RGBImage, result: ImageResult) -> None:
    before = astronaut.copy()
    drawn = annotate(astronaut, result)
    np.testing.assert_array_equal(astronaut, before)
    assert not np.shares_memory(drawn, astronaut)
    rows, columns = np.nonzero((drawn != before).any(2))
    x1, y1, x2, y2 = result.faces[0].face.box
    assert columns.min() >= x1 - 20
    assert columns.max() <= x2 + 20
    assert rows.min() >= y1 - 40  # the label stands above the box
    assert rows.max() <= y2 + 20


def test_map_lands_on_the_face(astronaut: RGBImage, result: ImageResult) -> None:
    """Evidence in one cell only is drawn where that cell lies in the photograph."""
    (face,) = result.faces
    explanation = with_evidence(face.explanation, 0.0)
    explanation.evidence[:, 5, 2] = 5  # below and left of the middle
    moved = replace(result, faces=(replace(face, explanation=explanation),))
    plain, drawn = (annotate(astronaut, r, heat=h) for r, h in ((moved, False), (moved, True)))
    rows, columns = np.nonzero((drawn != plain).any(2))
    step, origin = explanation.grid_step, explanation.grid_origin
    place = np.array([origin + 2 * step, origin + 5 * step])
    expected = np.linalg.solve(face.to_crop[:, :2], place - face.to_crop[:, 2])
    assert [columns.mean(), rows.mean()] == pytest.approx(expected, abs=2)


def test_heat_can_be_left_out(astronaut: RGBImage, result: ImageResult) -> None:
    drawn = annotate(astronaut, result, heat=False)
    x1, y1, x2, y2 = result.faces[0].face.box.astype(int)
    inner = np.s_[y1 + 10 : y2 - 10, x1 + 10 : x2 - 10]
    np.testing.assert_array_equal(drawn[inner], astronaut[inner])
    assert not np.array_equal(drawn, astronaut)


def test_no_face_gives_a_plain_copy(astronaut: RGBImage) -> None:
    drawn = annotate(astronaut, ImageResult(512, 512))
    np.testing.assert_array_equal(drawn, astronaut)
    assert not np.shares_memory(drawn, astronaut)


@pytest.mark.parametrize("x", [195, 210])
def test_face_at_the_border(pipeline: EmotionPipeline, astronaut: RGBImage, x: int) -> None:
    cut = np.ascontiguousarray(astronaut[:, x:])
    result = pipeline(cut)
    assert len(result.faces) == 1
    assert annotate(cut, result).shape == cut.shape


def test_encode_keeps_pixels(face: FaceResult) -> None:
    opened = Image.open(io.BytesIO(encode(face.crop)))
    np.testing.assert_array_equal(np.asarray(opened), face.crop)
    assert Image.open(io.BytesIO(encode(face.crop, "JPEG", quality=80))).format == "JPEG"
