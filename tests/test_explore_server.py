"""emotion.ui.explore_server: what the Explore tab asks, and nonsense."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from emotion.faithfulness import SIDE
from emotion.pipeline import EmotionPipeline
from emotion.regions import REGIONS
from emotion.ui.explore_server import ExploreServer
from emotion.ui.gate import Gate
from emotion.ui.wire import text_of

EXAMPLES = Path(__file__).resolve().parent.parent / "emotion" / "examples"
PICTURE = text_of((EXAMPLES / "happiness.jpg").read_bytes())


@pytest.fixture(scope="module")
def server(pipeline: EmotionPipeline) -> ExploreServer:
    return ExploreServer(pipeline, Gate())


@pytest.fixture(scope="module")
def face(server) -> dict:
    reply = server.open({"picture": PICTURE})
    assert reply["count"] == 1
    return reply["faces"][0]


def mask_text(mask: np.ndarray) -> str:
    return text_of(mask.astype(np.uint8).tobytes())


def base(face: dict) -> dict:
    return {"crop": face["crop"], "points": face["points"]}


def test_the_face_that_is_sent_back_is_read_as_before(server, face, pipeline) -> None:
    (own,) = pipeline(EXAMPLES / "happiness.jpg").faces
    np.testing.assert_allclose(face["probabilities"], own.prediction.probabilities, atol=1e-6)
    _, again = server.read(base(face))
    np.testing.assert_allclose(again.prediction.logits, own.prediction.logits, atol=1e-4)
    np.testing.assert_allclose(
        again.explanation.region_evidence, own.explanation.region_evidence, atol=1e-3
    )
    regions = np.frombuffer(base64.b64decode(face["regions"]), np.uint8)
    assert regions.shape == (SIDE * SIDE,)
    assert set(np.unique(regions)) <= set(range(len(REGIONS)))
    assert json.dumps(face), "it is JSON"


def test_hiding_nothing_changes_nothing_and_hiding_the_mouth_does(server, face) -> None:
    none = np.zeros((SIDE, SIDE), bool)
    same = server.ask({**base(face), "wish": "hide", "mask": mask_text(none)})
    np.testing.assert_allclose(same["probabilities"], face["probabilities"], atol=5e-3)
    regions = np.frombuffer(base64.b64decode(face["regions"]), np.uint8).reshape(SIDE, SIDE)
    mouth = mask_text(regions == REGIONS.index("mouth"))
    happy = face["labels"].index("happiness")
    for infill in ("blur", "mean", "inpaint"):
        hidden = server.ask({**base(face), "wish": "hide", "mask": mouth, "infill": infill})
        assert hidden["logits"][happy] < face["logits"][happy] - 0.5
        total = np.sum(hidden["evidence"], (1, 2)) + hidden["bias"]
        np.testing.assert_allclose(total, hidden["logits"], atol=1e-2)


def test_a_brush_over_everything_is_answered(server, face) -> None:
    everything = mask_text(np.ones((SIDE, SIDE), bool))
    for infill in ("blur", "mean", "inpaint"):
        reply = server.ask({**base(face), "wish": "hide", "mask": everything, "infill": infill})
        assert sum(reply["probabilities"]) == pytest.approx(1, abs=1e-4)


def test_why_and_methods(server, face) -> None:
    why = server.ask({**base(face), "wish": "why", "label": "happiness", "versus": "fear"})
    assert why["contrast"].startswith("Happiness is ")
    assert set(why["contrast_regions"]) == set(REGIONS)
    assert "lens-proof" in why["proof"]
    found = server.ask({**base(face), "wish": "methods", "label": "happiness"})["methods"]
    assert [m["name"] for m in found if m["same_as"]] == ["Grad-CAM", "HiResCAM"]


def test_another_model_has_its_own_labels(server) -> None:
    reply = server.open({"picture": PICTURE, "model": "fer2013-face27"})
    assert len(reply["faces"][0]["labels"]) == 7


def test_a_report(server) -> None:
    wish = {"picture": PICTURE, "name": "a/b.jpg", "face": 0, "label": "happiness"}
    reply = server.report(wish)
    assert reply["stem"] == "b.face1"
    assert json.loads(reply["json"])["picture"]["name"] == "a/b.jpg"
    assert base64.b64decode(reply["npy"]).startswith(b"\x93NUMPY")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "expected one object"),
        ([], "expected one object"),
        ({}, "no wish"),
        ({"wish": "fly"}, "no wish 'fly'"),
        ({"wish": "hide"}, "no crop"),
        ({"wish": "hide", "crop": "???"}, "not base64"),
        ({"wish": "hide", "crop": text_of(b"nothing")}, "not a PNG"),
        ({"wish": "hide", "crop": "A" * 2_000_000}, "larger than 1 MB"),
        ({"wish": "hide", "crop": 7}, "no crop"),
        ({"wish": "hide", "model": "magic"}, "no model 'magic'"),
    ],
)
def test_nonsense_is_answered_in_words(server, data, message) -> None:
    assert message in server.ask(data)["error"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"wish": "hide"}, "no mask"),
        ({"wish": "hide", "mask": text_of(b"12")}, "96 x 96"),
        ({"wish": "hide", "mask": text_of(bytes(SIDE * SIDE)), "infill": "gold"}, "no infill"),
        ({"wish": "why", "label": "joy"}, "no label 'joy'"),
        ({"wish": "why", "label": "fear", "versus": "fear"}, "than itself"),
        ({"wish": "why", "points": [[0, 0]]}, "68 points"),
        ({"wish": "why", "points": "here"}, "pairs of numbers"),
        ({"wish": "why", "points": [[float("nan"), 0]] * 68}, "68 points"),
        ({"wish": "methods", "label": "joy"}, "no label 'joy'"),
        ({"wish": "methods", "layer": "fc"}, "no layer 'fc'"),
    ],
)
def test_a_wrong_wish_is_answered_and_the_next_works(server, face, more, message) -> None:
    assert message in server.ask({**base(face), **more})["error"]
    assert "error" not in server.ask({**base(face), "wish": "why"})


def test_no_face_and_no_picture(server) -> None:
    from emotion.render import encode

    blank = text_of(encode(np.full((80, 80, 3), 200, np.uint8)))
    assert "No face was found" in server.open({"picture": blank})["error"]
    assert "cannot be done" in server.open({"picture": text_of(b"x")})["error"]
    assert "no face 5" in server.report({"picture": PICTURE, "face": 4})["error"]
    assert "whole number" in server.report({"picture": PICTURE, "face": "x"})["error"]


def test_a_tiny_face_and_landmarks_far_away(server) -> None:
    """A twelve pixel face, and points outside of it: an answer all the same."""
    from emotion.render import encode

    tiny = np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype(np.uint8)
    data = {"crop": text_of(encode(tiny)), "points": [[50.0, -50.0]] * 68, "wish": "why"}
    assert "proof" in server.ask(data)
