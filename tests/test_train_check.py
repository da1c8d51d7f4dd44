"""train.check and ``python -m train check``: every finding, on small folders and a real model."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from emotion.model import EmotionModel
from tests.face_folders import parquet_table, pattern, write_array
from train.__main__ import main
from train.check import check, report
from train.datasets import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tree with two classes in three splits and nothing wrong but the classes that lack."""
    for number, split in enumerate(("train", "val", "test")):
        for seed in range(6):
            name = ("fear", "Happy")[seed % 2]
            write_array(tmp_path / split / name / f"{seed}.png", pattern(10 * number + seed))
    return tmp_path


def text_of(data: Path, show: int = 10) -> str:
    """The report without a model."""
    lines: list[str] = []
    report(check(data), show=show, say=lines.append)
    return "\n".join(lines)


def test_a_folder_that_is_in_order(folder: Path) -> None:
    findings = check(folder)
    assert findings.unreadable == ()
    assert findings.copies == ()
    assert findings.doubts is None
    assert list(findings.counts) == ["train", "validation", "test"]
    assert findings.counts["validation"]["fear"] == 3
    assert sum(findings.counts["test"].values()) == 6
    assert findings.empty["train"] == (
        "neutral", "surprise", "sadness", "anger", "disgust", "contempt",
    )  # fmt: skip
    assert findings.in_other_splits == {"train": 0, "validation": 0, "test": 0}
    assert "unreadable items: 0" in text_of(folder)


def test_every_bad_row_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = parquet_table(8)
    for row in (2, 5):
        table.at[row, "image"] = {"bytes": b"no picture", "path": f"{row}.png"}
    table.loc[6, "fer2013_label"] = "hunger"
    table.to_parquet(tmp_path / "train.parquet")
    assert main(["check", "--data", str(tmp_path), "--weights", "none"]) == 1
    out = capsys.readouterr().out
    assert "unreadable items: 3" in out
    for words in ("row 2 (2.png): the picture is damaged", "row 5 (5.png)", "row 6 (6.png)"):
        assert f"train.parquet, {words}" in out
    assert "validation" not in out, "a split that is not there is no finding"
    assert check(tmp_path).counts["train"]["no label"] == 3


def test_a_broken_file_does_not_hide_the_other_splits(tmp_path: Path) -> None:
    parquet_table(4).to_parquet(tmp_path / "train.parquet")
    (tmp_path / "test.parquet").write_bytes(b"PAR1")
    findings = check(tmp_path)
    assert list(findings.counts) == ["train"]
    assert len(findings.unreadable) == 1
    assert "test.parquet" in findings.unreadable[0]


def test_what_belongs_to_no_split_is_named_once(tmp_path: Path) -> None:
    for index in range(40):
        write_array(tmp_path / "fear" / f"{index}.png", pattern(index))
    (tmp_path / "Sad").mkdir()
    write_array(tmp_path / "hungry" / "a.png", pattern(99))
    findings = check(tmp_path)
    assert len(findings.unreadable) == 2
    assert any("Sad" in line and "no picture" in line for line in findings.unreadable)
    assert any("hungry" in line for line in findings.unreadable)
    assert sum(sum(count.values()) for count in findings.counts.values()) == 40


def test_nothing_to_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="no folder per class"):
        check(tmp_path)
    assert main(["check", "--data", str(tmp_path / "x"), "--weights", "none"]) == 1
    assert "there is no folder" in capsys.readouterr().err


def test_copies_within_and_across(folder: Path) -> None:
    write_array(folder / "train" / "fear" / "exact.png", pattern(0))
    write_array(folder / "train" / "Happy" / "conflict.png", pattern(2))
    larger = cv2.resize(pattern(11), (96, 96), interpolation=cv2.INTER_CUBIC)
    write_array(folder / "test" / "Happy" / "near.png", larger)
    findings = check(folder)
    found = {
        tuple((i.split, i.name) for i in c.items): (c.exact, c.across, c.conflict)
        for c in findings.copies
    }
    assert found == {
        (("train", "fear/0.png"), ("train", "fear/exact.png")): (True, False, False),
        (("train", "Happy/conflict.png"), ("train", "fear/2.png")): (True, False, True),
        (("validation", "Happy/1.png"), ("test", "Happy/near.png")): (False, True, False),
    }
    assert findings.in_other_splits == {"train": 0, "validation": 1, "test": 1}
    text = text_of(folder)
    assert "more than once: 3, 2 of them exact; 6 faces" in text
    assert "near: validation Happy/1.png (happiness) = test Happy/near.png (happiness)" in text
    assert "copies with other labels: 1" in text
    assert "... and" not in text


def test_a_copy_without_a_label_is_no_conflict(tmp_path: Path) -> None:
    table = parquet_table(3)
    table.at[1, "image"] = table.at[0, "image"]
    table.to_parquet(tmp_path / "train.parquet")
    (copies,) = check(tmp_path).copies
    assert [item.label for item in copies.items] == ["happiness", "no label"]
    assert not copies.conflict


def test_show_bounds_the_report_not_the_findings(folder: Path) -> None:
    for index in range(8):
        write_array(folder / "val" / "fear" / f"copy{index}.png", pattern(0))
        write_array(folder / "val" / "Happy" / f"copy{index}.png", pattern(1))
    text = text_of(folder, show=1)
    assert "copies in several splits: 2" in text
    assert "... and 1 more (--json has all)" in text
    assert "= 5 more" in text
    assert text.count("exact: ") == 1
    assert [len(copies.items) for copies in check(folder).copies] == [9, 9]


def test_limit_bounds_the_search_not_the_counts(folder: Path) -> None:
    write_array(folder / "train" / "fear" / "z.png", pattern(0))
    assert len(check(folder).copies) == 1
    limited = check(folder, limit=5)
    assert limited.copies == ()
    assert sum(limited.counts["train"].values()) == 7


@pytest.fixture
def happy_face(astronaut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A face that the model is sure of, in the framing it was trained on."""
    return np.ascontiguousarray(astronaut[72:172, 174:274])


def test_a_wrong_label_is_doubted(
    folder: Path, model: EmotionModel, happy_face: NDArray[np.uint8]
) -> None:
    for split in ("train", "val", "test"):
        write_array(folder / split / "disgust" / "wrong.png", happy_face)
        write_array(folder / split / "Happy" / "right.png", happy_face)
    doubts = check(folder, model).doubts
    assert doubts is not None
    found = [d for d in doubts if "right" in d.item.name or "wrong" in d.item.name]
    assert [(d.item.split, d.item.name, d.item.label) for d in found] == [
        ("train", "disgust/wrong.png", "disgust"),
        ("validation", "disgust/wrong.png", "disgust"),
    ], "neither the right label nor the test split is doubted"
    assert all(d.likelier == "happiness" for d in found)
    assert all(d.likelier_probability > 0.9 and d.probability < 0.02 for d in doubts)


def test_the_least_likely_label_comes_first(
    tmp_path: Path, model: EmotionModel, happy_face: NDArray[np.uint8]
) -> None:
    for label in ("anger", "contempt", "disgust", "fear", "neutral", "sad", "surprise"):
        write_array(tmp_path / "train" / label / "wrong.png", happy_face)
    write_array(tmp_path / "val" / "happy" / "unsure.png", pattern(0))
    doubts = check(tmp_path, model).doubts
    assert doubts is not None
    chances = [doubt.probability for doubt in doubts]
    assert len(chances) > 3
    assert chances == sorted(chances)


def test_json_has_everything(
    folder: Path, happy_face: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    write_array(folder / "train" / "disgust" / "wrong.png", happy_face)
    write_array(folder / "val" / "disgust" / "wrong.png", happy_face)
    file = folder / "findings.json"
    arguments = ["check", "--data", str(folder), "--device", "cpu"]
    assert main([*arguments, "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "labels to look at again: " in out
    assert "disgust/wrong.png: disgust (" in out
    saved = json.loads(file.read_text())
    (copies,) = saved["copies"]
    assert copies["items"][0] == {"split": "train", "name": "disgust/wrong.png", "label": "disgust"}
    assert copies["exact"] is copies["across"] is True
    assert {d["item"]["name"] for d in saved["doubts"]} >= {"disgust/wrong.png"}
    assert main([*arguments, "--json", "-", "--weights", "none"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {**saved, "doubts": None}


def test_unknown_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--data", str(folder), "--weights", "nothing"]) == 1
    assert "nothing" in capsys.readouterr().err
