"""The benchmark's report: its form, and that it measures what it says."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emotion.benchmark import STAGES, benchmark, letterbox
from emotion.cli import main
from emotion.errors import ImageError


def test_report_form(tmp_path: Path, capsys) -> None:
    target = tmp_path / "bench.json"
    argv = ["benchmark", "--json", str(target), "--rounds", "3", "--detector", "hog"]
    assert main(argv) == 0
    report = json.loads(target.read_text())
    assert report["device"] in ("cpu", "cuda", "mps")
    figures = report["detectors"]["hog"]
    assert tuple(figures["stages"]) == STAGES
    parts = sum(row["p50_ms"] for row in figures["stages"].values())
    assert figures["whole"]["p50_ms"] == pytest.approx(parts, rel=0.25)
    assert 0 < report["evidence_overhead"] < 0.5
    assert "evidence on top of classify" in capsys.readouterr().out


def test_missing_detector_is_reported_and_the_other_measured(tmp_path: Path) -> None:
    report = benchmark(("yunet", "hog"), rounds=1)
    assert "EMOTION_OFFLINE" in report["detectors"]["yunet"]["error"]
    assert report["detectors"]["hog"]["whole"]["p50_ms"] > 0


def test_a_picture_without_a_face_cannot_be_timed(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480)).save(tmp_path / "black.png")
    with pytest.raises(ImageError, match="no face"):
        benchmark(("hog",), rounds=1, image=tmp_path / "black.png")
    with pytest.raises(ValueError, match="rounds"):
        benchmark(("hog",), rounds=0)


@pytest.mark.parametrize("shape", [(100, 100, 3), (2000, 500, 3), (480, 640, 3)])
def test_letterbox(shape) -> None:
    assert letterbox(np.zeros(shape, np.uint8)).shape == (480, 640, 3)
