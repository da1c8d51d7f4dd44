"""How long each stage takes for one face at 640x480, from JPEG bytes to the drawn picture."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from emotion.classify import predictions
from emotion.detect import FaceDetector, load_detector
from emotion.errors import DetectorError, ImageError
from emotion.evidence import class_evidence
from emotion.images import RGBImage, load_image
from emotion.model import load_model
from emotion.pipeline import EmotionPipeline, align_face
from emotion.render import annotate, encode
from emotion.weights import DEFAULT_MODEL

WIDTH, HEIGHT = 640, 480
EXAMPLE = Path(__file__).resolve().parent / "examples" / "happiness.jpg"
STAGES = ("decode", "detect", "align", "classify", "evidence", "render")


def benchmark(
    detectors: Sequence[str],
    *,
    model: str = DEFAULT_MODEL,
    device: str | None = None,
    rounds: int = 40,
    image: Path | None = None,
    yunet: Path | None = None,
) -> dict[str, Any]:
    """Time every stage with each detector.

    Args:
        detectors: names; one that is not at hand gets an ``error`` instead of figures.
        rounds: timed repetitions, after three that warm up.
        image: a picture with one face; by default a drawn one that ships with the package.

    Returns:
        The JSON object of ``python -m emotion benchmark``: milliseconds, medians (p50) and
        95th percentiles; ``evidence_overhead`` is evidence over classify, of the medians;
        ``one_core`` is classify and evidence together, see :func:`time_one_core`.

    Raises:
        ValueError: no rounds. ImageError: no face found in the picture.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    data = encode(letterbox(load_image(image or EXAMPLE)), "JPEG", quality=90)
    loaded = load_model(model, device=device)
    report: dict[str, Any] = {
        "device": loaded.device.type,
        "threads": torch.get_num_threads(),
        "model": loaded.spec.name,
        "detectors": {},
    }
    ratios, detector = [], None
    for name in detectors:
        try:
            detector = load_detector(name, yunet=yunet)
        except DetectorError as error:
            report["detectors"][name] = {"error": str(error)}
            continue
        times = time_rounds(EmotionPipeline(loaded, detector), data, rounds)
        report["detectors"][name] = summarise(times)
        ratios.append(statistics.median(times["evidence"]) / statistics.median(times["classify"]))
    report["evidence_overhead"] = round(statistics.mean(ratios), 4) if ratios else None
    report["one_core"] = time_one_core(model, detector, data, rounds) if detector else None
    return report


def letterbox(image: RGBImage) -> RGBImage:
    """Fit a picture into 640x480 as a webcam frame would show it, edges continued."""
    scale = min(WIDTH / image.shape[1], HEIGHT / image.shape[0])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2
    edges = (top, HEIGHT - size[1] - top, left, WIDTH - size[0] - left)
    return np.asarray(cv2.copyMakeBorder(small, *edges, cv2.BORDER_REPLICATE), np.uint8)


def time_rounds(pipeline: EmotionPipeline, data: bytes, rounds: int) -> dict[str, list[float]]:
    """Return seconds per stage and for the ``whole``, one number a round."""
    times: dict[str, list[float]] = {name: [] for name in (*STAGES, "whole")}
    for number in range(rounds + 3):
        began = time.perf_counter()
        spent = time_once(pipeline, data)
        spent["whole"] = time.perf_counter() - began
        if number >= 3:
            for name, seconds in spent.items():
                times[name].append(seconds)
    return times


def time_once(pipeline: EmotionPipeline, data: bytes) -> dict[str, float]:
    """Run the pipeline's stages one by one; seconds by stage."""
    model, spent = pipeline.model, {}

    def timed(stage: str, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        out = call()
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        spent[stage] = time.perf_counter() - began
        return out

    image = timed("decode", lambda: load_image(data))
    faces = timed("detect", lambda: pipeline.detector.detect(image, min_face=pipeline.min_face))
    if not faces:
        raise ImageError(f"{pipeline.detector.name} finds no face in the benchmark's picture")
    aligned = timed("align", lambda: [align_face(image, face) for face in faces])

    def forward() -> tuple[Any, Any]:
        features = model.features([a.crop for a in aligned])
        return features, predictions(model, features)

    features, answers = timed("classify", forward)

    def explain() -> list[Any]:
        maps = class_evidence(model, features)
        parts = zip(aligned, answers, maps, strict=True)
        return [pipeline.face_result(*part) for part in parts]

    results = timed("evidence", explain)
    timed("render", lambda: annotate(image, pipeline.image_result(image, results)))
    return spent


def time_one_core(model: str, detector: FaceDetector, data: bytes, rounds: int) -> dict[str, float]:
    """Time classify and evidence together on one CPU core, in the course of the whole pipeline.

    Returns:
        ``p50_ms`` and ``p95_ms``.
    """
    with one_thread():
        # Loaded anew: a model is made ready for the number of threads that it finds.
        pipeline = EmotionPipeline(load_model(model, device="cpu"), detector)
        times = time_rounds(pipeline, data, rounds)
    return percentiles(
        [sum(pair) for pair in zip(times["classify"], times["evidence"], strict=True)]
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median and the 95th percentile in milliseconds."""
    return {f"p{q}_ms": round(1e3 * float(np.percentile(seconds, q)), 2) for q in (50, 95)}


def summarise(times: dict[str, list[float]]) -> dict[str, Any]:
    """Turn seconds into the report's milliseconds."""
    rows = {name: percentiles(values) for name, values in times.items()}
    return {"stages": {name: rows[name] for name in STAGES}, "whole": rows["whole"]}


def print_report(report: dict[str, Any], say: Callable[[str], None] = print) -> None:
    """Print the figures as a table."""
    say(f"one face at {WIDTH}x{HEIGHT}, {report['device']}, {report['threads']} threads")
    say(f"{'p50 / p95 ms':12}" + "".join(f"{name:>16}" for name in (*STAGES, "whole")))
    for name, figures in report["detectors"].items():
        if "error" in figures:
            say(f"{name:12} {figures['error']}")
            continue
        rows = [*(figures["stages"][s] for s in STAGES), figures["whole"]]
        cells = [f"{row['p50_ms']:.1f} / {row['p95_ms']:.1f}" for row in rows]
        say(f"{name:12}" + "".join(f"{cell:>16}" for cell in cells))
    if report["one_core"] is not None:
        one = report["one_core"]
        say(f"one face, one core, evidence included: {one['p50_ms']:.1f} / {one['p95_ms']:.1f} ms")
    if report["evidence_overhead"] is not None:
        say(f"evidence on top of classify: {100 * report['evidence_overhead']:.1f} %")
