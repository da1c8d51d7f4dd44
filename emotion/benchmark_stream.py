"""How fast a viewer's live frames are answered, from JPEG bytes to JSON text, without a browser."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from emotion.benchmark import EXAMPLE, letterbox, percentiles
from emotion.detect import load_detector
from emotion.errors import DetectorError, ImageError
from emotion.images import RGBImage, load_image
from emotion.model import load_model
from emotion.pipeline import EmotionPipeline
from emotion.render import encode
from emotion.serialize import stream_json
from emotion.stream import Stream
from emotion.weights import DEFAULT_MODEL

SIDE = 480
"""Longer side in pixels of the frames, as the Live tab sends them."""
RATE = 30
STAGES = ("decode", "detect", "align", "classify", "evidence", "encode")


def benchmark_stream(
    detectors: Sequence[str],
    *,
    model: str = DEFAULT_MODEL,
    device: str | None = None,
    rounds: int = 150,
    image: Path | None = None,
    yunet: Path | None = None,
) -> dict[str, Any]:
    """Answer a stream of a swaying face with each detector.

    Args:
        detectors: names; one that is not at hand gets an ``error`` instead of figures.
        rounds: frames. image: a picture with one face; by default the built-in drawn one.

    Returns:
        The JSON object of ``python -m emotion benchmark --stream``: milliseconds, medians (p50)
        and 95th percentiles; ``frames_per_second`` if the next frame were always there; ``found``
        is the share of frames in which the face was found.

    Raises:
        ValueError: fewer than 2 rounds. ImageError: the face is found in no frame.
    """
    if rounds < 2:
        raise ValueError(f"rounds must be at least 2, got {rounds}")
    frames = swaying(letterbox(load_image(image or EXAMPLE)), min(rounds, 90))
    loaded = load_model(model, device=device)
    report: dict[str, Any] = {
        "device": loaded.device.type,
        "threads": torch.get_num_threads(),
        "model": loaded.spec.name,
        "detectors": {},
    }
    for name in detectors:
        try:
            detector = load_detector(name, yunet=yunet)
        except DetectorError as error:
            report["detectors"][name] = {"error": str(error)}
            continue
        report["detectors"][name] = time_stream(EmotionPipeline(loaded, detector), frames, rounds)
    return report


def swaying(image: RGBImage, count: int) -> list[bytes]:
    """Return JPEG frames of a picture that sways from side to side and back."""
    small = cv2.resize(image, (SIDE, SIDE * image.shape[0] // image.shape[1]))
    frames = []
    for number in range(count):
        turn = 2 * np.pi * number / count
        shift = np.array([[1, 0, 40 * np.sin(turn)], [0, 1, 12 * np.sin(2 * turn)]])
        size = (small.shape[1], small.shape[0])
        moved = cv2.warpAffine(small, shift, size, borderMode=cv2.BORDER_REPLICATE)
        frames.append(encode(np.asarray(moved, np.uint8), "JPEG", quality=80))
    return frames


def time_stream(pipeline: EmotionPipeline, frames: Sequence[bytes], rounds: int) -> dict[str, Any]:
    """Answer so many frames, one after the other."""
    stream, seconds, found = Stream(pipeline), [], 0
    stages: dict[str, list[float]] = {name: [] for name in STAGES}
    pipeline.warm_up()
    for number in range(rounds):
        began = time.perf_counter()
        image = load_image(frames[number % len(frames)])
        decoded = time.perf_counter()
        result = stream(image, number / RATE)
        read = time.perf_counter()
        json.dumps(stream_json(result))
        done = time.perf_counter()
        found += len(result.faces) == 1
        seconds.append(done - began)
        spent = {"decode": decoded - began, "encode": done - read}
        spent |= {name: value / 1e3 for name, value in result.stages.items()}
        for name, value in spent.items():
            stages[name].append(value)
    if not found:
        raise ImageError(f"{pipeline.detector.name} finds no face in the benchmark's frames")
    return {
        "frames_per_second": round(rounds / sum(seconds), 1),
        "frame": percentiles(seconds),
        "stages": {name: percentiles(values) for name, values in stages.items()},
        "found": round(found / rounds, 4),
    }


def print_stream(report: dict[str, Any], say: Callable[[str], None] = print) -> None:
    """Print the figures as a table."""
    say(
        f"a stream of one face, longer side {SIDE}, {report['device']}, {report['threads']} threads"
    )
    heads = ("frames/s", "frame", *STAGES)
    say(f"{'p50 / p95 ms':12}" + "".join(f"{name:>14}" for name in heads))
    for name, figures in report["detectors"].items():
        if "error" in figures:
            say(f"{name:12} {figures['error']}")
            continue
        rows = [figures["frame"], *(figures["stages"][stage] for stage in STAGES)]
        cells = [f"{row['p50_ms']:.1f} / {row['p95_ms']:.1f}" for row in rows]
        rate = f"{figures['frames_per_second']:.0f}"
        say(f"{name:12}" + "".join(f"{cell:>14}" for cell in (rate, *cells)))
