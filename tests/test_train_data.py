"""train.datasets: votes to labels, and the three forms of training data."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from emotion.labels import FER2013, FERPLUS
from tests.face_folders import expect_error, grey, parquet_table, pattern, votes
from train.datasets import (
    VOTES,
    DataError,
    FaceDataset,
    MissingSplitError,
    ferplus_labels,
    load_faces,
    one_hot,
    require_trainable,
)


def target(**count: int) -> NDArray[np.int64]:
    """The votes for the eight emotions, by name."""
    return votes(**count)[0, :8]


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
    given = np.vstack([votes(anger=9), votes(nf=9), votes(surprise=8, fear=2)])
    faces = FaceDataset(
        [grey(1), grey(2), grey(3)], one_hot(labels), labels, ["a", "b", "c"], labels - 1, given
    )
    kept = faces.where(faces.labels >= 0)
    assert len(kept) == 2
    assert list(kept.names) == ["a", "c"]
    assert kept.labels.tolist() == [4, 2]
    assert kept.crops[1][0, 1] == 3
    assert kept.targets.argmax(1).tolist() == [4, 2]
    assert kept.fer2013.tolist() == [3, 1]
    np.testing.assert_array_equal(kept.votes, given[[0, 2]])


def test_fields_that_are_not_known() -> None:
    faces = FaceDataset(
        [grey(1), grey(2)], np.zeros((2, 8), np.float32), np.zeros(2, int), ["a", "b"]
    )
    assert faces.fer2013.tolist() == [-1, -1]
    assert faces.votes.shape == (2, len(VOTES))
    assert not faces.votes.any()
    assert len(faces.where(np.zeros(2, bool))) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("targets", np.zeros((3, 8), np.float32)),
        ("labels", np.zeros(3, np.int64)),
        ("names", ["a", "b", "c"]),
        ("fer2013", np.zeros(3, np.int64)),
        ("votes", np.zeros((2, 8), np.int64)),
    ],
)
def test_counts_must_agree(field: str, value: object) -> None:
    good = {
        "crops": [grey(1), grey(2)],
        "targets": np.zeros((2, 8), np.float32),
        "labels": np.zeros(2, np.int64),
        "names": ["a", "b"],
    }
    assert len(FaceDataset(**good)) == 2
    with pytest.raises(ValueError, match=f"expected.*{field}"):
        FaceDataset(**{**good, field: value})


def labelled(*labels: int) -> FaceDataset:
    """Faces with these labels."""
    given = np.array(labels, np.int64)
    crops = [pattern(i) for i in range(len(labels))]
    return FaceDataset(crops, one_hot(given), given, [f"{i}.png" for i in range(len(labels))])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ((), "0 of 0 faces"),
        ((3, -1, -1), "1 of 3 faces"),
        ((1, 1, -1, 1), "all 3 faces to train on show happiness"),
    ],
)
def test_nothing_to_tell_apart(labels: tuple[int, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        require_trainable(labelled(*labels))


def test_two_emotions_can_be_told_apart() -> None:
    require_trainable(labelled(1, 5))


def test_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train, validation, test"):
        load_faces(tmp_path, "dev")


def test_missing_and_empty_folder(tmp_path: Path) -> None:
    expect_error(tmp_path / "nowhere", "test", "there is no folder")
    expect_error(tmp_path, "test", "no test.parquet", "no fer2013.csv", "no folder per class")


# --- Parquet -----------------------------------------------------------------------------------


def test_parquet(tmp_path: Path) -> None:
    parquet_table().to_parquet(tmp_path / "validation.parquet")
    faces = load_faces(tmp_path, "validation")
    assert faces.labels.tolist() == [FERPLUS.index("happiness"), -1]
    assert list(faces.names) == ["0.png", "1.png"]
    np.testing.assert_array_equal(faces.crops[1], pattern(1))
    np.testing.assert_allclose(faces.targets[1], target(anger=1, fear=1) / 2)
    assert faces.fer2013.tolist() == [FER2013.index("happiness"), -1]
    np.testing.assert_array_equal(faces.votes[0], votes(happiness=9, neutral=1)[0])


def test_parquet_without_fer2013_labels(tmp_path: Path) -> None:
    parquet_table().drop(columns="fer2013_label").to_parquet(tmp_path / "train.parquet")
    assert load_faces(tmp_path, "train").fer2013.tolist() == [-1, -1]


def test_parquet_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    path.write_bytes(b"PAR1 and no more")
    expect_error(tmp_path, "train", "train.parquet cannot be read")
    parquet_table().drop(columns=["votes_fear", "image"]).to_parquet(path)
    expect_error(tmp_path, "train", "train.parquet has no column image, votes_fear", "votes_anger")


def test_parquet_with_one_split_only(tmp_path: Path) -> None:
    parquet_table().to_parquet(tmp_path / "train.parquet")
    with pytest.raises(MissingSplitError, match="holds no validation"):
        load_faces(tmp_path, "validation")


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("image", {"bytes": b"RIFF", "path": "x.webp"}, ("(x.webp)", "the picture is damaged")),
        ("image", {"bytes": b"", "path": "x.webp"}, ("(x.webp)", "no picture")),
        ("image", {"bytes": None, "path": "x.webp"}, ("(x.webp)", "no picture")),
        ("image", None, ("no picture",)),
        ("fer2013_label", "hunger", ("(2.png)", "fer2013_label is 'hunger'", "sadness")),
        ("votes_fear", None, ("(2.png)", "votes_fear is", "expected a number")),
        ("votes_fear", -1, ("(2.png)", "votes_fear is", "expected a number")),
        ("votes_fear", 0.5, ("(2.png)", "votes_fear is", "expected a number")),
    ],
)
def test_bad_row_of_a_parquet(
    tmp_path: Path, column: str, value: object, words: tuple[str, ...]
) -> None:
    table = parquet_table(5)
    table[column] = [value if i == 2 else old for i, old in enumerate(table[column])]
    table.to_parquet(tmp_path / "train.parquet")
    expect_error(tmp_path, "train", "train.parquet, row 2", *words)
    told: list[DataError] = []
    rest = load_faces(tmp_path, "train", on_error=told.append)
    assert len(told) == 1
    assert list(rest.names) == ["0.png", "1.png", "3.png", "4.png"], "the others are still read"
    np.testing.assert_array_equal(rest.crops[2], pattern(3))
    assert rest.labels.tolist() == [1, -1, -1, 1]
    assert rest.votes.sum(1).tolist() == [10] * 4


@pytest.mark.parametrize("column", ["image", "votes_fear"])
def test_parquet_column_of_another_type(tmp_path: Path, column: str) -> None:
    parquet_table(3).assign(**{column: ["a", "b", "c"]}).to_parquet(tmp_path / "train.parquet")
    told: list[DataError] = []
    assert len(load_faces(tmp_path, "train", on_error=told.append)) == 0
    assert len(told) == 3
    expect_error(tmp_path, "train", "train.parquet, row 0", column)


def test_parquet_without_rows(tmp_path: Path) -> None:
    parquet_table(2).iloc[:0].to_parquet(tmp_path / "train.parquet")
    assert len(load_faces(tmp_path, "train")) == 0


def test_real_test_split(shared: Path) -> None:
    faces = load_faces(shared / "data" / "fer2013plus", "test")
    assert len(faces) == 3574
    labelled = faces.where(faces.labels >= 0)
    assert len(labelled) == 3153
    assert np.bincount(labelled.labels).tolist() == [1090, 893, 396, 384, 273, 18, 83, 16]
    assert {(c.shape, c.dtype.name) for c in faces.crops} == {((48, 48), "uint8")}
    # The winner of the votes is also the peak of the target.
    np.testing.assert_array_equal(labelled.targets.argmax(1), labelled.labels)
    assert faces.votes.shape == (3574, 10)
    np.testing.assert_array_equal(ferplus_labels(faces.votes)[1], faces.labels)
