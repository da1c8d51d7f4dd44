"""train.duplicates: copies of a picture are found, other pictures are left alone."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.face_folders import pattern
from train.datasets import FaceDataset
from train.duplicates import (
    MOST_BITS,
    close_pairs,
    correlation,
    duplicate_groups,
    duplicates_across,
    perceptual_hashes,
)

Picture = NDArray[np.uint8]


def moved(image: Picture) -> Picture:
    """The same picture cut 2 pixels further down, brighter, with noise and a watermark."""
    rng = np.random.default_rng(0)
    wide = cv2.resize(image, (96, 96), interpolation=cv2.INTER_CUBIC)
    cut = cv2.resize(wide[4:], (48, 48), interpolation=cv2.INTER_AREA)
    noisy = 0.8 * cut + 30 + rng.normal(0, 4, cut.shape)
    noisy[30:34, 8:40:2] += 25
    return np.clip(noisy, 0, 255).astype(np.uint8)


def faces(*crops: Picture) -> FaceDataset:
    """Faces without labels."""
    none = np.full(len(crops), -1, np.int64)
    return FaceDataset(crops, np.zeros((len(crops), 8), np.float32), none, [""] * len(crops))


def test_equal_pictures_share_a_group() -> None:
    groups = duplicate_groups([pattern(1), pattern(2), pattern(1).copy(), pattern(3)])
    assert groups[0] == groups[2]
    assert len(set(groups.tolist())) == 3


@pytest.mark.parametrize("seed", range(5))
def test_a_changed_copy_is_found(seed: int) -> None:
    image = pattern(seed)
    groups = duplicate_groups([image, pattern(100), moved(image)])
    assert groups[0] == groups[2] != groups[1]
    plain = np.corrcoef(image.ravel(), moved(image).ravel())[0, 1]
    assert correlation(image, moved(image)) > plain, "moving it finds where they overlap best"


def test_size_colour_and_jpeg_do_not_matter() -> None:
    image = pattern(4, side=160)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])
    others = [
        cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA),
        cv2.cvtColor(image, cv2.COLOR_GRAY2RGB),
        cv2.imdecode(data, cv2.IMREAD_GRAYSCALE),
    ]
    assert len(set(duplicate_groups([image, *others]).tolist())) == 1


def test_other_pictures_have_no_copy() -> None:
    crops = [pattern(seed) for seed in range(200)]
    assert len(set(duplicate_groups(crops).tolist())) == 200


def test_photographs_of_different_things_have_no_copy(face_tile: Picture) -> None:
    data = pytest.importorskip("skimage.data")
    crops = [
        face_tile,
        data.camera(),
        data.coins()[:300, :300],
        data.moon(),
        data.cat()[:300, :300],
    ]
    assert len(set(duplicate_groups(crops).tolist())) == len(crops)
    framed = np.ascontiguousarray(face_tile[6:-4, 3:-7])
    groups = duplicate_groups([*crops, framed])
    assert groups[0] == groups[-1]


def test_how_far_a_picture_may_move() -> None:
    large = pattern(3, side=64, cells=24)
    image = large[8:56, 8:56].copy()
    assert correlation(image, large[12:60, 4:52].copy()) > 0.999
    assert correlation(image, large[14:62, 8:56].copy()) < 0.8


def test_pictures_of_one_grey() -> None:
    black, white = np.zeros((48, 48), np.uint8), np.full((48, 48), 255, np.uint8)
    groups = duplicate_groups([black, pattern(1), white, black.copy()])
    assert groups[0] == groups[3] == groups[2]
    assert groups[1] != groups[0], "a picture with something on it is no copy of an empty one"
    assert correlation(black, pattern(1)) < 0.5
    assert correlation(pattern(1), black) < 0.5


def test_close_pairs_are_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    # Few distinct bits, so that many hashes are close.
    hashes = rng.integers(0, 2**18, 300).astype(np.uint64) * np.uint64(977)
    expected = {
        (i, j)
        for i in range(300)
        for j in range(i + 1, 300)
        if bin(int(hashes[i]) ^ int(hashes[j])).count("1") <= MOST_BITS
    }
    assert 100 < len(expected) < 300 * 299 / 2
    assert set(close_pairs(hashes)) == expected
    monkeypatch.setattr("train.duplicates.CHUNK", 7 * 300)
    pairs = list(close_pairs(hashes))
    assert len(pairs) == len(expected)
    assert set(pairs) == expected


def test_hashes_are_those_of_imagehash() -> None:
    imagehash = pytest.importorskip("imagehash")
    from PIL import Image

    first, second = pattern(1), pattern(2)
    ours = perceptual_hashes([first, second])
    distance = imagehash.phash(Image.fromarray(first)) - imagehash.phash(Image.fromarray(second))
    assert int(np.bitwise_count(ours[0] ^ ours[1])) == distance > MOST_BITS


def test_copies_in_other_splits() -> None:
    a, b, c, d = (pattern(seed) for seed in range(4))
    mask = duplicates_across(faces(a, b, c, c), [faces(d), faces(moved(b), d)])
    assert mask.tolist() == [False, True, False, False], "copies within the split do not count"
    assert mask.dtype == bool
    assert duplicates_across(faces(a, b), [faces(a), faces()]).tolist() == [True, False]
    assert duplicates_across(faces(a, b), []).tolist() == [False, False]
    assert duplicates_across(faces(), [faces(a)]).tolist() == []
    assert duplicates_across(faces(), []).tolist() == []
