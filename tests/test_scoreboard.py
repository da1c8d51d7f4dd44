"""train.scoreboard and the tab that shows it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from emotion.model import EmotionModel
from emotion.regions import REGIONS
from emotion.ui import scoreboard_tab
from emotion.ui.scoreboard_tab import page, read_scoreboard
from tests.noise_faces import random_faces
from train.evaluate import answer
from train.scoreboard import cells, scoreboard, softmax, write_scoreboard


@pytest.fixture(scope="module")
def board(model: EmotionModel) -> dict:
    return json.loads(json.dumps(scoreboard(model, random_faces(10), split="test", limit=3)))


def test_cells_are_those_of_the_confusion_matrix(model: EmotionModel) -> None:
    faces = random_faces(20)
    found, answers = cells(model, faces), answer(model, faces)
    said = answers.logits.argmax(1)
    assert sum(cell["n"] for cell in found) == 20
    for cell in found:
        truth, named = (model.spec.labels.index(cell[key]) for key in ("truth", "said"))
        here = (answers.labels == truth) & (said == named)
        assert cell["n"] == here.sum()
        logit = answers.logits[here, named].mean()
        assert np.sum(cell["evidence"]) + cell["bias"] == pytest.approx(logit, abs=0.02)
        assert np.sum(cell["regions"]) == pytest.approx(np.sum(cell["evidence"]), abs=0.02)
        assert len(cell["regions"]) == len(REGIONS)


def test_shares_sum_to_one() -> None:
    shares = softmax(np.array([[0.0, 0.0], [1000.0, 0.0]], np.float32))
    np.testing.assert_allclose(shares, [[0.5, 0.5], [1, 0]])


def test_the_page_tells_the_figures_and_holds_no_picture(board) -> None:
    text = page(board)
    assert text.count("data-truth=") == len(board["cells"])
    assert f"{board['figures']['accuracy']:.1%}" in text
    assert "rank correlation" in text
    assert "<img" not in text
    assert "data:image" not in text


def test_only_the_board_of_this_very_model_is_shown(board, model, tmp_path, monkeypatch) -> None:
    weights = tmp_path / f"{model.spec.name}.safetensors"
    monkeypatch.setattr(scoreboard_tab, "find_weights", lambda name: weights)
    assert read_scoreboard(model.spec) is None, "there is none yet"
    path = write_scoreboard(weights, board)
    assert path.name == f"{model.spec.name}.scoreboard.json"
    found = read_scoreboard(model.spec)
    assert found is not None
    assert found["sha256"] == model.spec.sha256
    assert read_scoreboard(replace(model.spec, sha256="0" * 64)) is None
    path.write_text("{")
    assert read_scoreboard(model.spec) is None


def test_the_shipped_board_is_of_the_shipped_model(model: EmotionModel) -> None:
    found = read_scoreboard(model.spec)
    assert found is not None, "run python -m train scoreboard for the new weights"
    assert found["split"] == "test"
    assert found["explanations"]["n"] >= 500
    assert found["figures"]["accuracy"] == pytest.approx(
        model.spec.metrics["ferplus_test_accuracy"], abs=1e-4
    )
