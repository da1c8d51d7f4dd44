"""emotion.ui.live_server: whatever a page sends, numbers or words come back."""

import base64
import json
import struct
import threading
import time
from typing import Any

import cv2
import numpy as np
import pytest

from emotion.images import RGBImage
from emotion.pipeline import EmotionPipeline
from emotion.render import encode
from emotion.ui.gate import Gate
from emotion.ui.live_server import MAX_BYTES, LiveServer


def token(number: int) -> str:
    return f"{number:032x}"


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def jpeg(astronaut: RGBImage) -> bytes:
    return encode(cv2.resize(astronaut[:384], (480, 360)), "JPEG", quality=85)


@pytest.fixture
def server(pipeline: EmotionPipeline) -> LiveServer:
    return LiveServer(pipeline, Gate(2))


def message(jpeg: bytes, number: int = 1, **more: Any) -> dict[str, Any]:
    return {"viewer": token(number), "at": 1.0, "jpeg": text(jpeg), **more}


def test_a_frame_gets_numbers(server: LiveServer, jpeg: bytes) -> None:
    answer = server.frame(message(jpeg))
    (face,) = answer["faces"]
    assert (face["label"], face["track"]) == ("happiness", 1)
    assert list(answer["stages"]) == ["decode", "detect", "align", "classify", "evidence"]
    assert answer["total"] >= sum(answer["stages"].values()) * 0.9
    assert answer["detector"] == "hog"
    json.dumps(answer)


def test_the_evidence_is_that_of_the_pipeline(server: LiveServer, jpeg: bytes) -> None:
    """For the same frame, and the same smallest face asked for, to the last digit."""
    shared = server.pipeline("hog")
    (alone,) = EmotionPipeline(shared.model, shared.detector, min_face=80)(jpeg).faces
    for label in ("happiness", "anger"):
        (face,) = server.frame(message(jpeg, number=7, label=label, at=0.5))["faces"]
        row = alone.explanation.labels.index(label)
        wanted = alone.explanation.evidence[row]
        assert np.allclose(face["evidence"], wanted, rtol=1e-4, atol=1e-6)
        server.command({"viewer": token(7), "name": "forget"})


def huge_header() -> bytes:
    """A JPEG that says it has 20000x20000 pixels."""
    data = bytearray(encode(np.zeros((16, 16, 3), np.uint8), "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", 20000, 20000)
    return bytes(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"jpeg": ""}, "no picture"),
        ({"jpeg": 5}, "no picture"),
        ({"jpeg": "%%%"}, "not base64"),
        ({"jpeg": text(b"hello, I am no JPEG")}, "not a JPEG"),
        ({"jpeg": text(encode(np.zeros((20, 20, 3), np.uint8), "PNG"))}, "not a JPEG"),
        ({"jpeg": text(huge_header())}, "far more pixels"),
        ({"jpeg": "A" * (MAX_BYTES * 4 // 3 + 8)}, "larger than 2 MB"),
        ({"viewer": "me"}, "32 hexadecimal"),
        ({"viewer": None}, "32 hexadecimal"),
        ({"at": "noon"}, "at must be a number"),
        ({"at": float("nan")}, "at must be a number"),
        ({"at": True}, "at must be a number"),
        ({"smoothing": []}, "smoothing must be a number"),
    ],
)
def test_nonsense_gets_words_and_the_next_frame_works(server, jpeg, change, words) -> None:
    answer = server.frame(message(jpeg) | change)
    assert words in answer["error"]
    assert len(server.frame(message(jpeg))["faces"]) == 1


def test_a_frame_larger_than_frames_are(server: LiveServer) -> None:
    large = encode(np.zeros((20, 1400, 3), np.uint8), "JPEG")
    assert "1400 pixels" in server.frame(message(large))["error"]


@pytest.mark.parametrize("data", [None, [], "frame", 3])
def test_no_object_at_all(server: LiveServer, data: Any) -> None:
    assert "expected one object" in server.frame(data)["error"]
    assert "expected one object" in server.command(data)["error"]


def test_a_truncated_frame(server: LiveServer, jpeg: bytes) -> None:
    answer = server.frame(message(jpeg[: len(jpeg) // 2]))
    assert "error" in answer


def test_frames_of_changing_size_and_without_a_face(server: LiveServer, jpeg: bytes) -> None:
    for i, (height, width) in enumerate([(360, 480), (48, 64), (1, 1), (640, 360)]):
        black = encode(np.zeros((height, width, 3), np.uint8), "JPEG")
        answer = server.frame(message(black, at=float(i)))
        assert answer["faces"] == []
        assert (answer["height"], answer["width"]) == (height, width)


def test_an_unknown_detector_or_label_is_the_default(server: LiveServer, jpeg: bytes) -> None:
    answer = server.frame(message(jpeg, detector="../../etc", label="joy"))
    assert answer["detector"] == "hog"
    assert answer["faces"][0]["why"] == "happiness"


def test_viewers_share_nothing(server: LiveServer, jpeg: bytes) -> None:
    blank = encode(np.zeros((360, 480, 3), np.uint8), "JPEG")
    for step in range(3):
        assert len(server.frame(message(jpeg, 1, at=step / 10))["faces"]) == 1
        assert server.frame(message(blank, 2, at=step / 10))["faces"] == []


def test_viewers_are_bounded_and_forgotten(pipeline: EmotionPipeline, jpeg: bytes) -> None:
    server = LiveServer(pipeline, Gate(1), most=3, idle=0.2)
    small = encode(np.zeros((32, 32, 3), np.uint8), "JPEG")
    for number in range(10):
        server.frame(message(small, number))
    assert list(server.viewers) == [token(n) for n in (7, 8, 9)]
    time.sleep(0.25)
    server.frame(message(small, 1))
    assert list(server.viewers) == [token(1)]
    server.command({"viewer": token(1), "name": "forget"})
    assert not server.viewers


def test_a_flood_from_one_viewer_is_refused_and_others_are_served(
    server: LiveServer, jpeg: bytes
) -> None:
    """Forty frames at once: one at a time is read, the rest is told so; no thread is left."""
    answers: list[dict[str, Any]] = []

    def send() -> None:
        answers.append(server.frame(message(jpeg)))

    before = threading.active_count()
    threads = [threading.Thread(target=send) for _ in range(40)]
    for thread in threads:
        thread.start()
    other = server.frame(message(jpeg, number=2))
    for thread in threads:
        thread.join()
    assert len(other["faces"]) == 1
    assert len(answers) == 40
    assert all("busy" in a or len(a["faces"]) == 1 for a in answers)
    assert any("busy" in a for a in answers)
    assert threading.active_count() == before


def test_a_full_house_is_busy_and_no_error(pipeline: EmotionPipeline, jpeg: bytes) -> None:
    gate = Gate(1)
    server = LiveServer(pipeline, gate, patience=0.05)
    with gate.turn(1):
        assert server.frame(message(jpeg)) == {"busy": True}
    assert len(server.frame(message(jpeg))["faces"]) == 1


def test_calibration_by_command(server: LiveServer, jpeg: bytes) -> None:
    server.frame(message(jpeg, at=0.0))
    assert server.command({"viewer": token(1), "name": "calibrate"}) == {}
    assert server.frame(message(jpeg, at=1.0))["calibrating"] == pytest.approx(1 / 3)
    server.frame(message(jpeg, at=2.2))
    answer = server.frame(message(jpeg, at=3.5))
    assert answer["calibrating"] is None
    assert answer["faces"][0]["calibrated"]
    server.command({"viewer": token(1), "name": "uncalibrate"})
    assert not server.frame(message(jpeg, at=3.6))["faces"][0]["calibrated"]
    assert "no command" in server.command({"viewer": token(1), "name": "dance"})["error"]


def test_a_crash_is_logged_and_not_shown(server, jpeg, monkeypatch, caplog) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("emotion.stream.Stream.__call__", broken)
    answer = server.frame(message(jpeg))
    assert "secret" not in answer["error"]
    assert "secret" in caplog.text
    monkeypatch.undo()
    assert len(server.frame(message(jpeg))["faces"]) == 1
