"""train.fer2013_csv: Kaggle's file, alone and with FER+'s votes beside it."""

from pathlib import Path

import numpy as np
import pytest

from emotion.labels import FER2013, FERPLUS
from tests.face_folders import expect_error, grey, votes
from train.datasets import DataError, MissingSplitError, load_faces
from train.fer2013_csv import parse_pixels

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


def replace(path: Path, old: str, new: str) -> None:
    """Change the first place in a file where a text stands."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_csv_with_votes(tmp_path: Path) -> None:
    write_fer2013(tmp_path)
    write_ferplus(tmp_path)
    train = load_faces(tmp_path, "train")
    assert list(train.names) == ["row0", "row2"], "the row without an image name is no face"
    assert train.labels.tolist() == [FERPLUS.index("anger"), FERPLUS.index("neutral")]
    np.testing.assert_allclose(train.targets[1], votes(neutral=6, sadness=4)[0, :8] / 10)
    np.testing.assert_array_equal(train.crops[1], grey(2))
    np.testing.assert_array_equal(train.votes[1], votes(neutral=6, sadness=4)[0])
    assert train.fer2013.tolist() == [0, 6]
    assert load_faces(tmp_path, "validation").labels.tolist() == [FERPLUS.index("surprise")]
    test = load_faces(tmp_path, "test")
    assert test.labels.tolist() == [-1, FERPLUS.index("happiness"), -1]


def test_csv_without_votes(tmp_path: Path) -> None:
    write_fer2013(tmp_path)
    test = load_faces(tmp_path, "test")
    assert [FERPLUS[i] for i in test.labels] == ["disgust", "happiness", "sadness"]
    np.testing.assert_array_equal(test.targets.argmax(1), test.labels)
    np.testing.assert_array_equal(test.crops[2], grey(6))
    assert test.fer2013.tolist() == [1, 3, 4]
    assert not test.votes.any()


@pytest.mark.parametrize("number", range(7))
def test_csv_numbers_are_those_of_fer2013(tmp_path: Path, number: int) -> None:
    pixels = " ".join(["0"] * 48 * 48)
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n{number},{pixels},Training\n")
    assert FERPLUS[load_faces(tmp_path, "train").labels[0]] == FER2013[number]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("emotion,pixels", "emotion,pixel", ("no column pixels", "it has emotion, pixel")),
        ("100 100,Training", "100,Training", ("row 0 (line 2)", "2303 pixels, expected 2304")),
        ("6,7 2 ", "6,", ("row 2 (line 4)", "2302 pixels, expected 2304")),
        ("6,7 2 ", "6,7 300 ", ("row 2 (line 4)", "outside 0 to 255")),
        ("6,7 2 ", "6,7 -1 ", ("row 2 (line 4)", "outside 0 to 255")),
        ("6,7 2 ", "6,7 x ", ("row 2 (line 4)", "'x'")),
        ("6,7 2 ", "6,7 99999999999999999999 ", ("row 2 (line 4)",)),
        ("6,7 2 ", "9,7 2 ", ("row 2 (line 4)", "emotion is", "0 to 6")),
        ("6,7 2 ", "-1,7 2 ", ("row 2 (line 4)", "emotion is", "0 to 6")),
        ("6,7 2 ", "angry,7 2 ", ("row 2 (line 4)", "emotion is 'angry'", "0 to 6")),
        ("6,7 2 ", ",7 2 ", ("row 2 (line 4)", "emotion is", "0 to 6")),
        ("PublicTest", "Public", ("row 3 (line 5)", "Usage is 'Public'", "PublicTest")),
        ("6,7 2 ", "6,7,2 ", ("cannot be read", "line 4")),
    ],
)
def test_csv_errors(tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    write_fer2013(tmp_path)
    replace(tmp_path / "fer2013.csv", old, new)
    expect_error(tmp_path, "train", "fer2013.csv", *words)


def test_all_bad_rows_are_told(tmp_path: Path) -> None:
    write_fer2013(tmp_path)
    write_ferplus(tmp_path)
    replace(tmp_path / "fer2013.csv", "0,7 0 ", "0,7 x ")
    replace(tmp_path / "fer2013new.csv", "fer0000002.png,6,0,0,4", "fer0000002.png,6,0,0,four")
    told: list[DataError] = []
    assert len(load_faces(tmp_path, "train", on_error=told.append)) == 0
    assert [str(error).split(":")[0] for error in told] == [
        "fer2013new.csv, row 2 (line 4)",
        "fer2013.csv, row 0 (line 2)",
    ]


def test_csv_that_is_empty_or_binary(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_bytes(b"")
    expect_error(tmp_path, "train", "fer2013.csv cannot be read")
    (tmp_path / "fer2013.csv").write_bytes(bytes(range(256)))
    expect_error(tmp_path, "train", "fer2013.csv cannot be read")


def test_csv_without_a_split(tmp_path: Path) -> None:
    write_fer2013(tmp_path)
    path = tmp_path / "fer2013.csv"
    path.write_text(path.read_text().replace("PublicTest", "Training"))
    with pytest.raises(MissingSplitError, match="PublicTest"):
        load_faces(tmp_path, "validation")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",contempt,", ",", ("no column contempt", "it has Usage, Image name, neutral")),
        ("Image name", "Picture", ("no column Image name",)),
        (",unknown,NF", "", ("no column unknown, NF",)),
        ("PublicTest", "Training", ("not the 7 there",)),
        ("fer0000002.png,6", "fer0000002.png,six", ("row 2 (line 4)", "neutral is 'six'")),
        ("fer0000002.png,6", "fer0000002.png,-6", ("row 2 (line 4)", "neutral is")),
    ],
)
def test_votes_errors(tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    write_fer2013(tmp_path)
    write_ferplus(tmp_path)
    replace(tmp_path / "fer2013new.csv", old, new)
    expect_error(tmp_path, "train", "fer2013new.csv", *words)


def test_votes_of_another_length(tmp_path: Path) -> None:
    write_fer2013(tmp_path)
    write_ferplus(tmp_path)
    path = tmp_path / "fer2013new.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    expect_error(tmp_path, "train", "its 6 rows are not the 7 there")


def test_parse_pixels_keeps_the_order_of_rows() -> None:
    face = np.arange(48 * 48).reshape(48, 48) % 251
    np.testing.assert_array_equal(parse_pixels(" ".join(map(str, face.ravel()))), face)
