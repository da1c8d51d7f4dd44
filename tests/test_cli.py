"""The shell commands, run through ``main`` and, once, as a process."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emotion.cli import main
from emotion.labels import FERPLUS
from emotion.regions import REGIONS

ROOT = Path(__file__).resolve().parents[1]
HAPPY = ROOT / "emotion" / "examples" / "happiness.jpg"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(astronaut).save(path)
    return path


def run_json(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict]:
    code = main(["image", "--json", *argv])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("detector", ["hog", "yunet"])
def test_json_of_a_photograph(detector, photo, request, capsys) -> None:
    flags = ["--detector", detector]
    if detector == "yunet":
        flags += ["--yunet", str(request.getfixturevalue("yunet_file"))]
    code, report = run_json(capsys, str(photo), *flags)
    assert code == 0
    assert list(report) == ["model", "detector", "images"]
    assert report["detector"] == detector
    (image,) = report["images"]
    assert list(image) == ["path", "width", "height", "error", "faces"]
    assert (image["width"], image["height"], image["error"]) == (512, 512, None)
    (face,) = image["faces"]
    keys = ["box", "score", "label", "answer", "sure", "candidates", "logits", "probabilities"]
    assert list(face) == [*keys, "evidence", "sentence", "quality", "notes"]
    assert (face["answer"], face["sure"]) == ("happiness", True)
    assert face["candidates"] == ["happiness"]
    assert list(face["quality"]) == ["brightness", "contrast", "sharpness", "size", "turn"]
    assert face["notes"] == []
    assert face["label"] == "happiness"
    assert list(face["logits"]) == list(face["probabilities"]) == list(FERPLUS)
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert list(face["evidence"]["regions"]) == list(REGIONS)
    total = face["evidence"]["bias"] + sum(face["evidence"]["regions"].values())
    assert total == pytest.approx(face["logits"]["happiness"], abs=1e-4)
    assert face["sentence"].startswith("Happiness (0.99")


def test_a_failed_input_does_not_stop_the_others(tmp_path, capsys) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(HAPPY.read_bytes()[:5000])
    paths = [str(broken), str(tmp_path / "missing.jpg"), str(tmp_path), str(HAPPY)]
    code, report = run_json(capsys, *paths, "--detector", "hog")
    assert code == 1
    errors = [image["error"] for image in report["images"]]
    assert "cut off" in errors[0]
    assert "no file" in errors[1]
    assert "folder" in errors[2]
    assert errors[3] is None
    assert [len(image["faces"]) for image in report["images"]] == [0, 0, 0, 1]


def test_table_and_annotated_picture(tmp_path, capsys) -> None:
    argv = ["image", str(HAPPY), "--detector", "hog", "--out", str(tmp_path / "out")]
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert "1 face (hog)" in text
    assert "Happiness (" in text
    with Image.open(tmp_path / "out" / "happiness.emotion.png") as drawn:
        assert drawn.size == (480, 480)
        changed = np.abs(np.asarray(drawn, int) - np.asarray(Image.open(HAPPY), int)).sum()
    assert changed > 0
    assert main(argv) == 0
    assert (tmp_path / "out" / "happiness.emotion-2.png").exists()


def test_a_note_is_printed_and_in_the_json(tmp_path, capsys) -> None:
    path = tmp_path / "bright.png"
    with Image.open(HAPPY) as image:
        Image.fromarray(np.clip(np.array(image) * 3.0, 0, 255).astype(np.uint8)).save(path)
    assert main(["image", str(path), "--detector", "hog"]) == 0
    assert "     Overexposed picture: " in capsys.readouterr().out
    _, report = run_json(capsys, str(path), "--detector", "hog")
    (note,) = report["images"][0]["faces"][0]["notes"]
    assert note["kind"] == "bright"
    assert note["text"].startswith("Overexposed picture: ")


def test_no_face_is_no_error(tmp_path, capsys) -> None:
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "grey.png")
    assert main(["image", str(tmp_path / "grey.png"), "--detector", "hog"]) == 0
    assert "no face" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model", "nope"], "available: fer2013-face27, ferplus-face27"),
        (["--device", "nope"], "no device"),
        (["--label", "joyful"], "expected one of neutral"),
        (["--detector", "yunet", "--yunet", "/nowhere.onnx"], "no YuNet file"),
        (["--min-face", "2"], "min_face"),
    ],
)
def test_wrong_usage_is_one_line_and_2(flags, words, capsys) -> None:
    assert main(["image", str(HAPPY), *flags]) == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("error: ")
    assert words in err


def test_info_says_what_is_at_hand(capsys) -> None:
    assert main(["info", "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert "ferplus-face27" in info["models"]
    assert info["detectors"]["hog"] == "ready"
    assert info["versions"]["torch"][0].isdigit()
    assert main(["info"]) == 0
    assert "detectors" in capsys.readouterr().out


def test_as_a_process_stdout_is_only_json() -> None:
    argv = [sys.executable, "-m", "emotion", "image", str(HAPPY), "--json", "--detector", "hog"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"][0]["faces"]
    assert "Traceback" not in done.stderr
    wrong = subprocess.run([*argv[:3], "nonsense"], cwd=ROOT, capture_output=True, check=False)
    assert wrong.returncode == 2


def test_proof_on_request(capsys) -> None:
    code, report = run_json(capsys, str(HAPPY), "--proof")
    assert code == 0
    proof = report["images"][0]["faces"][0]["proof"]
    assert proof["verdict"] == "supported"
    assert list(proof["trials"]) == ["blur", "mean", "inpaint"]
    assert proof["trials"]["mean"]["hidden"] < proof["before"]
    assert main(["image", str(HAPPY), "--proof"]) == 0
    assert "Hide what the map marks (" in capsys.readouterr().out
