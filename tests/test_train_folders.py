"""train.folders: one folder per class, with splits or without, and ``labels.json``."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emotion.labels import FERPLUS, canonical
from tests.face_folders import expect_error, write_picture
from train.datasets import DataError, MissingSplitError, load_faces
from train.folders import AFFECTNET, RAF_DB, numbered, tenth


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
    with pytest.raises(MissingSplitError, match="none for test"):
        load_faces(tmp_path, "test")


def test_bad_folder_name_is_found_whatever_the_split(tmp_path: Path) -> None:
    for index in range(12):
        write_picture(tmp_path / "happy" / f"{index}.png", size=(8, 8))
    write_picture(tmp_path / "hungry" / "x.png", size=(8, 8))
    for split in ("train", "validation", "test"):
        expect_error(tmp_path, split, "'hungry'", "happiness", "labels.json")


def test_folders_that_are_numbers_need_labels(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "1" / "a.png")
    with pytest.raises(DataError) as caught:
        load_faces(tmp_path, "train")
    text = str(caught.value)
    assert "labels.json" in text
    assert "RAF-DB" in text
    assert "AffectNet" in text
    # What the message says can be taken over as it is.
    for numbering in re.findall(r"\{.*?\}", text):
        (tmp_path / "labels.json").write_text(numbering)
        first = json.loads(numbering)["1"]
        assert [FERPLUS[i] for i in load_faces(tmp_path, "train").labels] == [first]


@pytest.mark.parametrize(
    ("numbering", "first", "names"),
    [
        # Published: RAF-DB 1 Surprise 2 Fear 3 Disgust 4 Happiness 5 Sadness 6 Anger 7 Neutral;
        # AffectNet 0 Neutral 1 Happy 2 Sad 3 Surprise 4 Fear 5 Disgust 6 Anger 7 Contempt.
        (RAF_DB, 1, "Surprise Fear Disgust Happiness Sadness Anger Neutral"),
        (AFFECTNET, 0, "Neutral Happy Sad Surprise Fear Disgust Anger Contempt"),
    ],
)
def test_published_numberings(tmp_path: Path, numbering: str, first: int, names: str) -> None:
    (tmp_path / "labels.json").write_text(numbered(numbering, first))
    for number, _ in enumerate(names.split(), first):
        write_picture(tmp_path / "test" / str(number) / "a.png", size=(8, 8))
    found = [FERPLUS[i] for i in load_faces(tmp_path, "test").labels]
    assert found == [canonical(name) for name in names.split()]


def test_labels_go_before_names_and_need_not_be_complete(tmp_path: Path) -> None:
    for folder in ("sad", "fear", "x1"):
        write_picture(tmp_path / "test" / folder / "a.png", size=(8, 8))
    (tmp_path / "labels.json").write_text('{"sad": "Happy", "x1": "anger", "elsewhere": "fear"}')
    faces = load_faces(tmp_path, "test")
    assert dict(zip(faces.names, (FERPLUS[i] for i in faces.labels), strict=True)) == {
        "fear/a.png": "fear",
        "sad/a.png": "happiness",
        "x1/a.png": "anger",
    }


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"1": "hunger"}', "hunger"),
        ('{"1": 3}', "expected folder names and emotions"),
        ('["fear"]', "expected folder names and emotions"),
        ('{"1": "fear"', "delimiter"),
        ("", "value"),
    ],
)
def test_labels_that_are_wrong(tmp_path: Path, text: str, word: str) -> None:
    write_picture(tmp_path / "test" / "1" / "a.png", size=(8, 8))
    (tmp_path / "labels.json").write_text(text)
    expect_error(tmp_path, "test", "labels.json", word)


def test_broken_picture(tmp_path: Path) -> None:
    path = tmp_path / "train" / "sad" / "a.png"
    write_picture(path)
    path.write_bytes(path.read_bytes()[:60])
    expect_error(tmp_path, "train", "sad/a.png", "damaged")
    path.write_text("not a picture")
    expect_error(tmp_path, "train", "sad/a.png", "not a picture")
    path.unlink()
    path.symlink_to(tmp_path / "gone.png")
    expect_error(tmp_path, "train", "sad/a.png", "there is no file")


def test_all_errors_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    for name in ("sad/a.png", "sad/c.png", "fear/d.png"):
        write_picture(tmp_path / "train" / name)
    (tmp_path / "train" / "sad" / "b.png").write_text("not a picture")
    (tmp_path / "train" / "fear" / "e.png").write_text("not a picture")
    (tmp_path / "train" / "anger").mkdir()
    write_picture(tmp_path / "train" / "hunger" / "x.png")
    told: list[DataError] = []
    faces = load_faces(tmp_path, "train", on_error=told.append)
    assert list(faces.names) == ["fear/d.png", "sad/a.png", "sad/c.png"]
    assert [FERPLUS[i] for i in faces.labels] == ["fear", "sadness", "sadness"]
    text = " ".join(map(str, told))
    assert len(told) == 4
    for word in ("train/anger", "train/hunger", "sad/b.png", "fear/e.png"):
        assert word in text


def test_empty_class_folder(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    expect_error(tmp_path, "train", "happy", "holds no picture")
    write_picture(tmp_path / "sad" / "a.png")
    (tmp_path / "happy" / "notes.txt").write_text("no picture")
    expect_error(tmp_path, "train", "happy", "holds no picture")


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
