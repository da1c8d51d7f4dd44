"""python -m emotion image | explain | benchmark | info"""

import argparse
import json
import logging
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from emotion.cli_explain import add_explain
from emotion.detect import DETECTORS
from emotion.errors import EmotionError
from emotion.results import label_index, two_digits
from emotion.weights import DEFAULT_MODEL, available_models

PACKAGES = ("torch", "timm", "opencv-python-headless", "numpy", "face-recognition", "grad-cam")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 if any input failed; 2 for wrong usage, a model or device that is not there.
    """
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    args = parser().parse_args(argv)
    try:
        code: int = args.run(args)
        return code
    except (EmotionError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    top = argparse.ArgumentParser(
        prog="python -m emotion", description="Which emotion a face shows, and where one sees it."
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    image = commands.add_parser("image", help="analyse pictures")
    image.set_defaults(run=run_image)
    image.add_argument("paths", nargs="+", metavar="PATH", help="picture files")
    image.add_argument("--json", action="store_true", help="one JSON object on stdout")
    image.add_argument("--out", type=Path, metavar="DIR", help="write annotated pictures here")
    image.add_argument(
        "--proof", action="store_true", help="hide what the map marks, and look again"
    )
    image.add_argument("--label", help="show the evidence for this emotion instead of the top one")
    add_pipeline_flags(image)

    add_explain(commands, add_pipeline_flags)

    bench = commands.add_parser("benchmark", help="time each stage on one face at 640x480")
    bench.set_defaults(run=run_benchmark)
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    bench.add_argument("--rounds", type=int, help="how often (default 40; 150 frames of a stream)")
    bench.add_argument("--stream", action="store_true", help="time the frames of a live stream")
    bench.add_argument("--image", type=Path, help="a picture of one face instead of the built-in")
    add_pipeline_flags(bench)

    info = commands.add_parser("info", help="versions, device, models, detectors at hand")
    info.set_defaults(run=run_info)
    info.add_argument("--json", action="store_true")
    info.add_argument("--yunet", type=Path, metavar="FILE")
    return top


def add_pipeline_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags that choose detector, model and device."""
    command.add_argument("--detector", choices=DETECTORS, default="auto")
    command.add_argument("--yunet", type=Path, metavar="FILE", help="YuNet's ONNX file")
    command.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME")
    command.add_argument("--device", default=None, metavar="D", help="cpu, cuda or mps")
    command.add_argument("--min-face", type=int, default=40, metavar="PX")


def run_image(args: argparse.Namespace) -> int:
    """Analyse each picture; a failed one is reported and the others are still done."""
    from emotion.pipeline import load_pipeline

    pipeline = load_pipeline(
        args.model,
        detector=args.detector,
        device=args.device,
        min_face=args.min_face,
        yunet=args.yunet,
    )
    if args.label is not None:
        label_index(pipeline.model.spec.labels, args.label)
    entries = [analyse_file(pipeline, path, args) for path in args.paths]
    if args.json:
        head = {"model": pipeline.model.spec.name, "detector": pipeline.detector.name}
        print(json.dumps({**head, "images": entries}, indent=2, ensure_ascii=False))
    return 1 if any(entry["error"] for entry in entries) else 0


def analyse_file(pipeline: Any, path: str, args: argparse.Namespace) -> dict[str, Any]:
    """Analyse one file, print it unless JSON is asked for, and return its JSON entry."""
    from emotion.faithfulness import prove
    from emotion.images import load_image
    from emotion.render import annotate
    from emotion.serialize import image_json

    try:
        image = load_image(path)
        result = pipeline(image)
        proofs = [prove(pipeline.model, f, args.label) for f in result.faces if args.proof]
        if args.out:
            save(args.out, path, annotate(image, result, label=args.label))
    except EmotionError as error:
        if not args.json:
            print(f"{path}: error: {error}", file=sys.stderr)
        return image_json(path, None, str(error))
    if not args.json:
        print_table(path, result, proofs)
    return image_json(path, result, proofs=proofs)


def save(folder: Path, path: str, picture: Any) -> None:
    """Write an annotated picture as ``FOLDER/NAME.emotion.png``, never over another one."""
    from emotion.errors import ImageError
    from emotion.render import encode

    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{Path(path).stem}.emotion.png"
        count = 1
        while target.exists():
            count += 1
            target = folder / f"{Path(path).stem}.emotion-{count}.png"
        target.write_bytes(encode(picture))
    except OSError as error:
        raise ImageError(f"the annotated picture cannot be written: {error}") from None


def print_table(path: str, result: Any, proofs: Sequence[Any] = ()) -> None:
    """Print one picture's faces for a reader."""
    count = len(result.faces)
    faces = "no face" if count == 0 else f"{count} face{'s' if count > 1 else ''}"
    print(f"{path}  {result.width}x{result.height}  {faces} ({result.detector})")
    for number, face in enumerate(result.faces, 1):
        x1, y1, x2, y2 = (round(float(v)) for v in face.face.box)
        print(f"  {number}. [{x1}, {y1}, {x2}, {y2}]  {face.sentence}")
        order = face.prediction.probabilities.argsort()[::-1]
        values = face.prediction.probabilities
        names = [f"{face.prediction.labels[i]} {two_digits(values[i])}" for i in order]
        print(f"     {'  '.join(names)}")
        for note in face.notes:
            print(f"     {note.text}")
        for proof in proofs[number - 1 : number]:
            print(f"     {proof.sentence}")


def run_benchmark(args: argparse.Namespace) -> int:
    """Time the stages of the pipeline."""
    from emotion.benchmark import benchmark, print_report
    from emotion.benchmark_stream import benchmark_stream, print_stream

    names = ("hog", "yunet") if args.detector == "auto" else (args.detector,)
    options: dict[str, Any] = {"model": args.model, "device": args.device}
    options |= {"image": args.image, "yunet": args.yunet}
    if args.rounds is not None:
        options["rounds"] = args.rounds
    report = (benchmark_stream if args.stream else benchmark)(names, **options)
    (print_stream if args.stream else print_report)(report)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def run_info(args: argparse.Namespace) -> int:
    """Say what is installed, where it would run and what it could use."""
    info = collect_info(args.yunet)
    if args.json:
        print(json.dumps(info, indent=2))
        return 0
    for key, value in info.items():
        rows = value.items() if isinstance(value, dict) else [("", value)]
        for name, text in rows:
            print(f"{key:10} {name:24} {text}")
    return 0


def collect_info(yunet: Path | None = None) -> dict[str, Any]:
    """Return versions, device, models and detectors; nothing is downloaded for it."""
    import torch

    import emotion
    from emotion.model import choose_device
    from emotion.weights import WEIGHTS_DIR, load_spec

    device = choose_device()
    versions = {name: installed(name) for name in PACKAGES}
    models = {}
    for name in available_models():
        spec = load_spec(WEIGHTS_DIR / f"{name}.safetensors")
        models[name] = f"{spec.architecture}, {len(spec.labels)} labels, {spec.input_size} px"
    return {
        "versions": {
            "emotion": emotion.__version__,
            "python": platform.python_version(),
            **versions,
        },
        "device": f"{device.type}, {torch.get_num_threads()} threads",
        "models": models,
        "detectors": detectors_at_hand(yunet),
    }


def installed(name: str) -> str:
    """Return the version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def detectors_at_hand(yunet: Path | None) -> dict[str, str]:
    """Return, for each detector, whether it can be used and why not."""
    from emotion.detect import dlib_models
    from emotion.yunet_file import local_yunet

    try:
        dlib_models()
        dlib = "ready"
    except EmotionError as error:
        dlib = f"not at hand: {error}"
    found = local_yunet(yunet)
    return {
        "hog": dlib,
        "cnn": dlib,
        "yunet": f"ready: {found}"
        if found
        else "not at hand; fetched on first use, or --yunet FILE",
    }
