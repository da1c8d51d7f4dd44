"""train.datasets: votes to labels, and the three forms of training data."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from emotion.labels import FER2013, FERPLUS
from train.datasets import (
    VOTES,
    DataError,
    FaceDataset,
    ferplus_labels,
    load_faces,
    one_hot,
    parse_pixels,
    tenth,
)

HEADER = ["Usage", "Image name", *FERPLUS, "unknown", "NF"]
ROWS = [
    # emotion (FER2013), Usage, Image name, votes
    (0, "Training", "fer0000000.png", {"anger": 8, "neutral": 2}),
    (3, "Training", "", {"NF": 10}),
    (6, "Training", "fer0000002.png", {"neutral": 6, "sadness": 4}),
    (5, "PublicTest", "fer0000003.png", {"surprise": 9, "fear": 1}),
    (1, "PrivateTest", "fer0000004.png", {"disgust": 5, "anger": 5}),
    (3, "PrivateTest", "fer0000005.png", {"happiness": 10}),
    (4, "PrivateTest", "fer0000006.png", {"unknown": 7, "sadness": 3}),
]


def votes(**count: int) -> NDArray[np.int64]:
    """One row of votes, by name."""
    return np.array([[count.get(name, 0) for name in VOTES]], np.int64)


def target(**count: int) -> NDArray[np.int64]:
    """The votes for the eight emotions, by name."""
    return votes(**count)[0, :8]


def grey(value: int) -> NDArray[np.uint8]:
    """A face with a corner that tells it from every other one."""
    face = np.full((48, 48), 100, np.uint8)
    face[0, :2] = 7, value
    return face


def write_fer2013(folder: Path) -> None:
    """Write ``fer2013.csv`` as Kaggle ships it."""
    lines = ["emotion,pixels,Usage"]
    for index, (emotion, usage, _, _) in enumerate(ROWS):
        lines.append(f"{emotion},{' '.join(map(str, grey(index).ravel()))},{usage}")
    (folder / "fer2013.csv").write_text("\n".join(lines) + "\n")


def write_ferplus(folder: Path) -> None:
    """Write ``fer2013new.csv`` as FER+ ships it."""
    lines = [",".join(HEADER)]
    for _, usage, name, given in ROWS:
        lines.append(",".join([usage, name, *(str(given.get(c, 0)) for c in HEADER[2:])]))
    (folder / "fer2013new.csv").write_text("\n".join(lines) + "\n")


def write_picture(path: Path, size: tuple[int, int] = (60, 60), value: int = 90) -> None:
    """Write a colour picture of width and height ``size``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 20, 30)).save(path)


def expect_error(data: Path, split: str, *words: str) -> None:
    """Reading must fail with one line that holds the words."""
    with pytest.raises(DataError) as caught:
        load_faces(data, split)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 300
    for word in words:
        assert word in text


# --- votes -----------------------------------------------------------------------------------


def test_single_votes_are_outliers() -> None:
    targets, labels = ferplus_labels(votes(happiness=8, fear=1, nf=1))
    assert labels.tolist() == [FERPLUS.index("happiness")]
    np.testing.assert_array_equal(targets[0], target(happiness=1))


def test_target_is_the_share_of_the_remaining_votes() -> None:
    targets, labels = ferplus_labels(votes(neutral=6, sadness=3, fear=1))
    assert labels.tolist() == [FERPLUS.index("neutral")]
    np.testing.assert_allclose(targets[0], target(neutral=6, sadness=3) / 9, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ({"anger": 6, "neutral": 4}, "anger"),
        ({"anger": 5, "neutral": 5}, None),
        ({"anger": 4, "neutral": 3, "sadness": 3}, None),
        # The five votes for one label are half of ten, but more than half once outliers are gone.
        ({"anger": 5, "neutral": 4, "fear": 1}, "anger"),
        ({"surprise": 2, **dict.fromkeys(("neutral", "anger", "fear", "contempt"), 1)}, "surprise"),
    ],
)
def test_label_needs_more_than_half(given: dict[str, int], label: str | None) -> None:
    targets, labels = ferplus_labels(votes(**given))
    assert labels.tolist() == [-1 if label is None else FERPLUS.index(label)]
    assert targets.sum() == pytest.approx(1)


@pytest.mark.parametrize("winner", ["unknown", "nf"])
def test_unknown_and_no_face_winners_are_left_out(winner: str) -> None:
    targets, labels = ferplus_labels(votes(**{winner: 7, "sadness": 3}))
    assert labels.tolist() == [-1]
    assert not targets.any()


def test_only_single_votes_leave_nothing() -> None:
    targets, labels = ferplus_labels(votes(neutral=1, anger=1, sadness=1))
    assert labels.tolist() == [-1]
    assert not targets.any()


def test_rows_are_independent() -> None:
    rows = np.vstack([votes(fear=9), votes(unknown=9), votes(contempt=9)])
    targets, labels = ferplus_labels(rows)
    assert labels.tolist() == [FERPLUS.index("fear"), -1, FERPLUS.index("contempt")]
    assert targets.shape == (3, 8)
    assert targets.dtype == np.float32


def test_one_hot_of_minus_one_is_zero() -> None:
    np.testing.assert_array_equal(one_hot(np.array([2, -1]))[:, 2], [1, 0])
    assert one_hot(np.array([2, -1])).sum() == 1


# --- the type ----------------------------------------------------------------------------------


def test_where_keeps_rows_together() -> None:
    labels = np.array([4, -1, 2])
    faces = FaceDataset([grey(1), grey(2), grey(3)], one_hot(labels), labels, ["a", "b", "c"])
    kept = faces.where(faces.labels >= 0)
    assert len(kept) == 2
    assert list(kept.names) == ["a", "c"]
    assert kept.labels.tolist() == [4, 2]
    assert kept.crops[1][0, 1] == 3
    assert kept.targets.argmax(1).tolist() == [4, 2]


def test_counts_must_agree() -> None:
    with pytest.raises(ValueError, match="expected 1 targets"):
        FaceDataset([grey(1)], np.zeros((2, 8), np.float32), np.zeros(1, np.int64), ["a"])


def test_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train, validation, test"):
        load_faces(tmp_path, "dev")


def test_missing_and_empty_folder(tmp_path: Path) -> None:
    expect_error(tmp_path / "nowhere", "test", "there is no folder")
    expect_error(tmp_path, "test", "no test.parquet", "no fer2013.csv", "no folder per class")


# --- Parquet -----------------------------------------------------------------------------------


def write_parquet(path: Path, *, drop: str | None = None, damaged: bool = False) -> None:
    """Write two faces: one happy, one on which the taggers disagreed."""
    encoded = [cv2.imencode(".png", grey(v))[1].tobytes() for v in (11, 12)]
    if damaged:
        encoded[1] = encoded[1][:40]
    given = np.vstack([votes(happiness=9, neutral=1), votes(anger=5, fear=5)]).astype(np.int8)
    columns = {f"votes_{name}": given[:, i] for i, name in enumerate(VOTES)}
    images = [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(encoded)]
    pd.DataFrame({"image": images, **columns}).drop(columns=drop or []).to_parquet(path)


def test_parquet(tmp_path: Path) -> None:
    write_parquet(tmp_path / "validation.parquet")
    faces = load_faces(tmp_path, "validation")
    assert faces.labels.tolist() == [FERPLUS.index("happiness"), -1]
    assert list(faces.names) == ["0.png", "1.png"]
    np.testing.assert_array_equal(faces.crops[1], grey(12))
    np.testing.assert_allclose(faces.targets[1], target(anger=1, fear=1) / 2)


def test_parquet_errors(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    write_parquet(path, drop="votes_fear")
    expect_error(tmp_path, "train", "train.parquet", "no column votes_fear")
    write_parquet(path, damaged=True)
    expect_error(tmp_path, "train", "train.parquet", "damaged")
    path.write_bytes(b"PAR1 and no more")
    expect_error(tmp_path, "train", "train.parquet cannot be read")
    pd.DataFrame({"image": [None], **{f"votes_{n}": [1] for n in VOTES}}).to_parquet(path)
    expect_error(tmp_path, "train", "train.parquet cannot be read")


def test_real_test_split(shared: Path) -> None:
    faces = load_faces(shared / "data" / "fer2013plus", "test")
    assert len(faces) == 3574
    labelled = faces.where(faces.labels >= 0)
    assert len(labelled) == 3153
    assert np.bincount(labelled.labels).tolist() == [1090, 893, 396, 384, 273, 18, 83, 16]
    assert {(c.shape, c.dtype.name) for c in faces.crops} == {((48, 48), "uint8")}
    # The winner of the votes is also the peak of the target.
    np.testing.assert_array_equal(labelled.targets.argmax(1), labelled.labels)


# --- CSV ---------------------------------------------------------------------------------------


def test_csv_with_votes(tmp_path: Path) -> None:
    write_fer2013(tmp_path)
    write_ferplus(tmp_path)
    train = load_faces(tmp_path, "train")
    assert list(train.names) == ["row0", "row2"], "the row without an image name is no face"
    assert train.labels.tolist() == [FERPLUS.index("anger"), FERPLUS.index("neutral")]
    np.testing.assert_allclose(train.targets[1], target(neutral=6, sadness=4) / 10)
    np.testing.assert_array_equal(train.crops[1], grey(2))
    assert load_faces(tmp_path, "validation").labels.tolist() == [FERPLUS.index("surprise")]
    test = load_faces(tmp_path, "test")
    assert test.labels.tolist() == [-1, FERPLUS.index("happiness"), -1]


def test_csv_without_votes(tmp_path: Path) -> None:
    write_fer2013(tmp_path)
    test = load_faces(tmp_path, "test")
    assert [FERPLUS[i] for i in test.labels] == ["disgust", "happiness", "sadness"]
    np.testing.assert_array_equal(test.targets.argmax(1), test.labels)
    np.testing.assert_array_equal(test.crops[2], grey(6))


@pytest.mark.parametrize("number", range(7))
def test_csv_numbers_are_those_of_fer2013(tmp_path: Path, number: int) -> None:
    pixels = " ".join(["0"] * 48 * 48)
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n{number},{pixels},Training\n")
    assert FERPLUS[load_faces(tmp_path, "train").labels[0]] == FER2013[number]


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("emotion,pixels", "emotion,pixel", "no column pixels"),
        ("100 100,Training", "100,Training", "2303 pixels, expected 2304"),
        ("0,7 0 ", "0,", "2302 pixels, expected 2304"),
        ("0,7 0 ", "0,7 300 ", "outside 0 to 255"),
        ("0,7 0 ", "0,7 -1 ", "outside 0 to 255"),
        ("0,7 0 ", "0,7 x ", "'x'"),
        ("0,7 0 ", "9,7 0 ", "outside 0 to 6"),
        ("0,7 0 ", "-1,7 0 ", "outside 0 to 6"),
        ("0,7 0 ", "angry,7 0 ", "angry"),
    ],
)
def test_csv_errors(tmp_path: Path, old: str, new: str, word: str) -> None:
    write_fer2013(tmp_path)
    path = tmp_path / "fer2013.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    expect_error(tmp_path, "train", "fer2013.csv is not as Kaggle ships it", word)


def test_csv_that_is_empty_or_binary(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_bytes(b"")
    expect_error(tmp_path, "train", "fer2013.csv is not as Kaggle ships it")
    (tmp_path / "fer2013.csv").write_bytes(bytes(range(256)))
    expect_error(tmp_path, "train", "fer2013.csv is not as Kaggle ships it")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (",contempt,", ",", "no column contempt"),
        ("Image name", "Picture", "no column Image name"),
        (",unknown,NF", "", "no column unknown, NF"),
        ("PublicTest", "Training", "not the 7 of fer2013.csv"),
        ("fer0000000.png,2", "fer0000000.png,two", "two"),
    ],
)
def test_votes_errors(tmp_path: Path, old: str, new: str, word: str) -> None:
    write_fer2013(tmp_path)
    write_ferplus(tmp_path)
    path = tmp_path / "fer2013new.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    expect_error(tmp_path, "train", "fer2013new.csv is not as FER+ ships it", word)


def test_votes_of_another_length(tmp_path: Path) -> None:
    write_fer2013(tmp_path)
    write_ferplus(tmp_path)
    path = tmp_path / "fer2013new.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    expect_error(tmp_path, "train", "its 6 rows are not the 7 of fer2013.csv")


def test_parse_pixels_keeps_the_order_of_rows() -> None:
    face = np.arange(48 * 48).reshape(48, 48) % 251
    np.testing.assert_array_equal(parse_pixels(" ".join(map(str, face.ravel()))), face)


# --- folders -----------------------------------------------------------------------------------


def test_folders_with_splits(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "Happy" / "a.png", value=91)
    write_picture(tmp_path / "train" / "3_Sad" / "deep" / "b.jpg")
    write_picture(tmp_path / "val" / "ANGRY" / "c.png")
    write_picture(tmp_path / "test" / "neutral" / "d.webp")
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "Happy" / "notes.txt").write_text("no picture")
    train = load_faces(tmp_path, "train")
    assert list(train.names) == ["3_Sad/deep/b.jpg", "Happy/a.png"]
    assert [FERPLUS[i] for i in train.labels] == ["sadness", "happiness"]
    assert train.crops[1].shape == (60, 60, 3)
    assert train.crops[1][5, 5].tolist() == [91, 20, 30], "RGB"
    assert [FERPLUS[i] for i in load_faces(tmp_path, "validation").labels] == ["anger"]
    assert [FERPLUS[i] for i in load_faces(tmp_path, "test").labels] == ["neutral"]


def test_folders_without_splits_are_divided_by_name(tmp_path: Path) -> None:
    for index in range(60):
        folder = ("fear", "Surprised")[index % 2]
        write_picture(tmp_path / folder / f"{index}.png", size=(8, 8))
    parts = {split: load_faces(tmp_path, split) for split in ("train", "validation", "test")}
    names = [set(p.names) for p in parts.values()]
    assert sum(map(len, names)) == len(set.union(*names)) == 60
    assert 40 <= len(parts["train"]) <= 54
    assert all(tenth(Path(name)) == 0 for name in parts["test"].names)
    write_picture(tmp_path / "fear" / "another.png", size=(8, 8))
    for split, before in parts.items():
        assert set(before.names) <= set(load_faces(tmp_path, split).names), "the choice moved"


def test_missing_validation_folder_is_a_tenth_of_training(tmp_path: Path) -> None:
    for index in range(40):
        write_picture(tmp_path / "train" / "happy" / f"{index}.png", size=(8, 8))
    write_picture(tmp_path / "test" / "happy" / "other.png", size=(8, 8))
    train, validation = load_faces(tmp_path, "train"), load_faces(tmp_path, "validation")
    assert 0 < len(validation) < len(train)
    assert len(train) + len(validation) == 40
    assert not set(train.names) & set(validation.names)
    assert list(load_faces(tmp_path, "test").names) == ["happy/other.png"]


def test_missing_test_folder(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "happy" / "a.png")
    expect_error(tmp_path, "test", "none for test")


def test_bad_folder_name_is_found_whatever_the_split(tmp_path: Path) -> None:
    for index in range(12):
        write_picture(tmp_path / "happy" / f"{index}.png", size=(8, 8))
    write_picture(tmp_path / "hungry" / "x.png", size=(8, 8))
    for split in ("train", "validation", "test"):
        expect_error(tmp_path, split, "'hungry'", "happiness")


def test_broken_picture(tmp_path: Path) -> None:
    path = tmp_path / "train" / "sad" / "a.png"
    write_picture(path)
    path.write_bytes(path.read_bytes()[:60])
    expect_error(tmp_path, "train", "a.png", "damaged")
    path.write_text("not a picture")
    expect_error(tmp_path, "train", "a.png", "not a picture")


def test_empty_class_folders(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    expect_error(tmp_path, "train", "no folder per class with pictures")


def test_too_few_pictures_for_a_split(tmp_path: Path) -> None:
    name = next(f"{i}.png" for i in range(99) if tenth(Path(f"{i}.png")) == 5)
    write_picture(tmp_path / "happy" / name)
    expect_error(tmp_path, "test", "none of the 1 pictures")


def test_pictures_are_cut_to_their_middle_square(tmp_path: Path) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 10:50] = 255
    path = tmp_path / "test" / "fear" / "wide.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(image).save(path)
    (crop,) = load_faces(tmp_path, "test").crops
    assert crop.shape == (40, 40, 3)
    assert crop.min() == 255
