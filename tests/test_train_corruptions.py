"""train.corruptions and train.robustness: the same damage on every machine, and what it costs."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from emotion.images import load_image
from train.corruptions import (
    CORRUPTIONS,
    MID_GREY,
    STRENGTHS,
    corrupt,
    disk_kernel,
    framings,
    line_kernel,
    reframe,
    sheet,
)
from train.robustness import Change, changes, robustness

EXAMPLES = Path(__file__).resolve().parents[1] / "emotion" / "examples"
HASHES = {
    "gaussian_noise": "75db933f625e3e9b",
    "motion_blur": "ca7a6149531665b3",
    "defocus_blur": "a8ff082ba0472670",
    "dark": "4fc39405c94e0259",
    "bright": "9cc13828fa75bf93",
    "low_resolution": "903f3649a8d0db23",
    "occluded_upper": "4b543e00b7a199ca",
    "occluded_lower": "c2c2c52a51bdf869",
    "zoom 0.85": "5b6760ff6be26dda",
    "shift left": "30f717e34bbe73df",
}
"""Of the face below, damaged with strength 2 at index 7. JPEG depends on the encoder's version."""

Picture = NDArray[np.uint8]


def ramp() -> Picture:
    """A picture (48, 48) with edges, and every value from 0 to 255."""
    y, x = np.mgrid[:48, :48]
    return ((x * 7 + y * 13 + 40 * (x // 12) * (y // 16)) % 256).astype(np.uint8)


@pytest.fixture(scope="module")
def face() -> Picture:
    """A drawn face, (48, 48, 3)."""
    image = load_image(EXAMPLES / "happiness.jpg")
    return cv2.resize(image[70:400, 75:405], (48, 48), interpolation=cv2.INTER_AREA)


def digest(picture: Picture) -> str:
    return hashlib.sha256(picture.tobytes()).hexdigest()[:16]


def difference(one: Picture, two: Picture) -> float:
    return float(np.abs(one.astype(int) - two.astype(int)).mean())


@pytest.mark.parametrize("name", HASHES)
def test_every_machine_does_the_same(name: str) -> None:
    if name in CORRUPTIONS:
        out = corrupt(ramp(), name, strength=2, index=7)
    else:
        out = reframe(ramp(), *framings()[name])
    assert digest(out) == HASHES[name]


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_shape_type_and_the_original_stay(kind: str, face: Picture) -> None:
    for crop in (face, np.ascontiguousarray(face[..., 0]), np.zeros((7, 7), np.uint8)):
        before = crop.copy()
        for strength in STRENGTHS:
            out = corrupt(crop, kind, strength=strength)
            assert out.shape == crop.shape
            assert out.dtype == np.uint8
            assert not np.shares_memory(out, crop)
        np.testing.assert_array_equal(crop, before)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_stronger_is_further_from_the_face(kind: str, face: Picture) -> None:
    # Motion has another direction each time, so it is the mean over many that grows.
    far = [
        np.mean([difference(face, corrupt(face, kind, strength=s, index=i)) for i in range(20)])
        for s in STRENGTHS
    ]
    assert 0 < far[0] < far[1] < far[2]


@pytest.mark.parametrize("kind", ["gaussian_noise", "motion_blur"])
def test_what_is_random_goes_by_the_index(kind: str, face: Picture) -> None:
    one, same, other = (corrupt(face, kind, strength=2, index=i) for i in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert difference(one, other) > 1


def test_noise_has_the_stated_strength() -> None:
    grey = np.full((96, 96), 128, np.uint8)
    for strength, expected in zip(STRENGTHS, (0.04, 0.08, 0.12), strict=True):
        noisy = corrupt(grey, "gaussian_noise", strength=strength)
        assert noisy.std() / 255 == pytest.approx(expected, rel=0.05)


def test_covers_hide_the_stated_part(face: Picture) -> None:
    upper, lower = (corrupt(face, f"occluded_{side}", strength=3) for side in ("upper", "lower"))
    assert (upper[:24] == MID_GREY).all()
    np.testing.assert_array_equal(upper[24:], face[24:])
    assert (lower[24:] == MID_GREY).all()
    np.testing.assert_array_equal(lower[:24], face[:24])
    assert (corrupt(face, "occluded_lower", strength=1)[36:] == MID_GREY).all()


def test_blur_keeps_the_light_and_an_even_grey() -> None:
    grey = np.full((48, 48), 77, np.uint8)
    for kind in ("motion_blur", "defocus_blur", "low_resolution"):
        np.testing.assert_array_equal(corrupt(grey, kind, strength=3), grey)
    point = np.zeros((48, 48), np.uint8)
    point[24, 24] = 255
    for kernel in (disk_kernel(2.2), line_kernel(7, 0.4)):
        assert kernel.sum() == pytest.approx(1)
        assert kernel.shape[0] % 2 == 1
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
    assert np.count_nonzero(corrupt(point, "motion_blur", strength=1)) < np.count_nonzero(
        corrupt(point, "motion_blur", strength=3)
    )


def test_a_line_has_its_length_and_direction() -> None:
    across = line_kernel(7, 0.0)
    middle = len(across) // 2
    assert across[middle].sum() == pytest.approx(1)
    assert np.count_nonzero(across[middle] > 0.05) in (7, 8)
    np.testing.assert_allclose(line_kernel(7, np.pi / 2), across.T, atol=1e-12)


def test_lengths_grow_with_the_crop(face: Picture) -> None:
    large = cv2.resize(face, (96, 96), interpolation=cv2.INTER_CUBIC)
    for kind in ("defocus_blur", "low_resolution"):
        small = corrupt(face, kind, strength=3)
        shrunk = cv2.resize(
            corrupt(large, kind, strength=3), (48, 48), interpolation=cv2.INTER_AREA
        )
        assert difference(small, shrunk) < 0.2 * difference(small, face)


def test_framing_moves_the_face_where_its_name_says() -> None:
    crop = np.full((48, 48), 100, np.uint8)
    crop[20:28, 20:28] = 255
    middle = np.array([23.5, 23.5])
    for name, framing in framings().items():
        out = reframe(crop, *framing).astype(float) - 100
        rows, columns = np.nonzero(out > 78)
        place, size = np.array([columns.mean(), rows.mean()]) - middle, len(rows) ** 0.5
        zoom, right, down = framing
        np.testing.assert_allclose(place, (48 * right, 48 * down), atol=0.5)
        assert size == pytest.approx(8 * zoom, abs=0.8), name
    np.testing.assert_array_equal(reframe(crop, 1, 0, 0), crop)


def test_the_border_is_repeated() -> None:
    crop = np.full((48, 48), 10, np.uint8)
    crop[:, 0] = 200
    moved = reframe(crop, 1, 0.25, 0)
    assert (moved[:, :12] == 200).all()
    assert (moved[:, 14:] == 10).all()


@pytest.mark.parametrize(
    ("kind", "strength", "crop", "word"),
    [
        ("rain", 1, np.zeros((8, 8), np.uint8), "no corruption 'rain'"),
        ("dark", 0, np.zeros((8, 8), np.uint8), "strength must be"),
        ("dark", 4, np.zeros((8, 8), np.uint8), "strength must be"),
        ("dark", 1, np.zeros((8, 9), np.uint8), "expected a crop"),
        ("dark", 1, np.zeros((8, 8), np.float32), "expected a crop"),
    ],
)
def test_misuse(kind: str, strength: int, crop: Picture, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        corrupt(crop, kind, strength=strength)


def test_framings_out_of_range() -> None:
    for framing in ((0.2, 0, 0), (1, 0.8, 0), (1, 0, -0.8), (9, 0, 0)):
        with pytest.raises(ValueError, match="expected a zoom"):
            reframe(ramp(), *framing)


def test_sheet_shows_all(face: Picture) -> None:
    page = sheet(face, scale=1)
    assert page.shape == (11 * (48 + 4 + 16), 4 * (48 + 4), 3)
    np.testing.assert_array_equal(page[16:64, :48], face)
    row = 4 * 68 + 16
    np.testing.assert_array_equal(
        page[row : row + 48, 156:204], corrupt(face, "bright", strength=3)
    )
    assert sheet(face[..., 0].copy(), scale=2).shape[2] == 3


def test_robustness_by_hand() -> None:
    bad_jpeg = corrupt(ramp(), "jpeg", strength=3, index=5)
    moved_up = reframe(ramp(), 1, 0, -0.1)

    def accuracy(change: Change) -> float:
        out = change(ramp(), 5)
        return 0.2 if (out == moved_up).all() else 0.4 if (out == bad_jpeg).all() else 0.6

    figures = robustness(accuracy, 0.8)
    assert len(changes()) == 9 * 3 + 8
    assert list(figures["corruptions"]) == list(CORRUPTIONS)
    assert figures["corruptions"]["jpeg"] == [0.6, 0.6, 0.4]
    assert figures["corruptions"]["dark"] == [0.6, 0.6, 0.6]
    assert figures["corruption_mean"] == pytest.approx((26 * 0.6 + 0.4) / 27)
    assert figures["corruption_relative"] == pytest.approx(figures["corruption_mean"] / 0.8)
    assert figures["framings"]["zoom 0.75"] == 0.6
    assert figures["framing_worst"] == "shift up"
    assert figures["framing_gap"] == pytest.approx(0.6)
    assert robustness(accuracy, 0.0)["corruption_relative"] is None
