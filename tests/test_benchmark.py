"""The benchmark's report: its form, and that it measures what it says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emotion.benchmark import (
    EXAMPLE,
    STAGES,
    benchmark,
    letterbox,
    one_thread,
    print_report,
    time_rounds,
)
from emotion.cli import main
from emotion.errors import ImageError
from emotion.images import load_image
from emotion.pipeline import EmotionPipeline
from emotion.render import encode


def test_report_form(tmp_path: Path, capsys) -> None:
    target = tmp_path / "bench.json"
    argv = ["benchmark", "--json", str(target), "--rounds", "3", "--detector", "hog"]
    assert main(argv) == 0
    report = json.loads(target.read_text())
    assert report["device"] in ("cpu", "cuda", "mps")
    figures = report["detectors"]["hog"]
    assert tuple(figures["stages"]) == STAGES
    for row in (*figures["stages"].values(), figures["whole"], report["one_core"]):
        assert 0 < row["p50_ms"] <= row["p95_ms"]
    assert report["evidence_overhead"] > 0
    said = capsys.readouterr().out
    assert "evidence on top of classify" in said
    assert f"one core, evidence included: {report['one_core']['p50_ms']:.1f} / " in said


def test_stages_make_up_the_whole_and_evidence_is_cheap(pipeline: EmotionPipeline) -> None:
    data = encode(letterbox(load_image(EXAMPLE)), "JPEG")
    times = time_rounds(pipeline, data, 5)
    parts = [sum(row) for row in zip(*(times[name] for name in STAGES), strict=True)]
    shares = [part / whole for part, whole in zip(parts, times["whole"], strict=True)]
    # The best round, as other work on the machine may fall into any.
    assert 0.8 < max(shares) <= 1
    assert 0 < min(times["evidence"]) < 0.5 * min(times["classify"])


def test_missing_detector_is_reported_and_the_other_measured(tmp_path: Path) -> None:
    report = benchmark(("yunet", "hog"), rounds=1)
    assert "EMOTION_OFFLINE" in report["detectors"]["yunet"]["error"]
    assert report["detectors"]["hog"]["whole"]["p50_ms"] > 0


def test_one_core_is_one_and_the_others_come_back() -> None:
    threads = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads


def test_no_detector_leaves_nothing_to_time() -> None:
    report = benchmark(("yunet",), rounds=1)
    assert report["evidence_overhead"] is None
    assert report["one_core"] is None
    said: list[str] = []
    print_report(report, said.append)
    assert not any("one core" in line for line in said)


def test_a_picture_without_a_face_cannot_be_timed(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480)).save(tmp_path / "black.png")
    with pytest.raises(ImageError, match="no face"):
        benchmark(("hog",), rounds=1, image=tmp_path / "black.png")
    with pytest.raises(ValueError, match="rounds"):
        benchmark(("hog",), rounds=0)


@pytest.mark.parametrize("shape", [(100, 100, 3), (2000, 500, 3), (480, 640, 3)])
def test_letterbox(shape) -> None:
    assert letterbox(np.zeros(shape, np.uint8)).shape == (480, 640, 3)
