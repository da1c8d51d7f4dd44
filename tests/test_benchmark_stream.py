"""emotion.benchmark_stream: figures of a stream that add up."""

import json

import pytest

from emotion.benchmark_stream import STAGES, benchmark_stream, print_stream
from emotion.cli import main
from emotion.errors import ImageError


def test_figures_add_up(capsys, tmp_path) -> None:
    target = tmp_path / "figures.json"
    flags = ["--stream", "--detector", "hog", "--rounds", "12", "--json", str(target)]
    assert main(["benchmark", *flags]) == 0
    report = json.loads(target.read_text())
    figures = report["detectors"]["hog"]
    assert figures["found"] == 1
    assert list(figures["stages"]) == list(STAGES)
    parts = sum(stage["p50_ms"] for stage in figures["stages"].values())
    assert parts == pytest.approx(figures["frame"]["p50_ms"], rel=0.35)
    assert "frames/s" in capsys.readouterr().out


def test_a_detector_that_is_not_there(tmp_path, capsys) -> None:
    report = benchmark_stream(["yunet"], rounds=2, yunet=tmp_path / "none.onnx")
    assert "no YuNet file" in report["detectors"]["yunet"]["error"]
    print_stream(report)
    assert "no YuNet file" in capsys.readouterr().out


def test_nonsense_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        benchmark_stream(["hog"], rounds=1)
    import numpy as np

    from emotion.render import encode

    plain = tmp_path / "plain.png"
    plain.write_bytes(encode(np.zeros((80, 80, 3), np.uint8)))
    with pytest.raises(ImageError, match="finds no face"):
        benchmark_stream(["hog"], rounds=2, image=plain)
