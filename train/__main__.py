"""python -m train fit | evaluate | export"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import torch

from emotion.errors import EmotionError
from emotion.model import choose_device, load_model
from train.config import FitConfig
from train.datasets import SPLITS, load_faces


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 1 with one line on stderr where it failed."""
    args = parser().parse_args(argv)
    try:
        run: int = args.run(args)
        return run
    except (EmotionError, ValueError, OSError) as error:
        print("error:", *str(error).split(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        how = "; the same command goes on from the last epoch" if args.run is run_fit else ""
        print(f"stopped{how}", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    top = argparse.ArgumentParser(prog="python -m train", description="Train, measure, export.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    fit = commands.add_parser("fit", help="train; the same command again goes on")
    fit.set_defaults(run=run_fit, usage_error=fit.error)
    fit.add_argument("--data", type=Path, required=True, help="folder of Parquet, CSV or classes")
    fit.add_argument("--run-dir", type=Path, required=True, help="folder of this run")
    fit.add_argument("--device", default=None, help="cpu, cuda or mps (default: the best)")
    fit.add_argument("--threads", type=positive, default=None, help="CPU threads")
    for item in fields(FitConfig):
        flag = f"--{item.name.replace('_', '-')}"
        if isinstance(item.default, bool):
            fit.add_argument(flag, action=argparse.BooleanOptionalAction, default=item.default)
        else:
            fit.add_argument(flag, type=type(item.default), default=item.default)

    measure = commands.add_parser("evaluate", help="figures of a weight file on a split")
    measure.set_defaults(run=run_evaluate)
    measure.add_argument("--data", type=Path, required=True)
    measure.add_argument("--weights", required=True, help="a .safetensors file, or a model's name")
    measure.add_argument("--split", choices=SPLITS, default="test")
    measure.add_argument("--json", type=Path, help="write the figures here, '-' for stdout")
    measure.add_argument("--flip", action="store_true", help="average with the mirrored face")
    measure.add_argument("--record", metavar="NAME", help="keep the figures in the model's spec")
    measure.add_argument("--device", default=None)

    export = commands.add_parser("export", help="a run to weights/")
    export.set_defaults(run=run_export)
    export.add_argument("--data", type=Path, required=True, help="its validation split calibrates")
    export.add_argument("--run-dir", type=Path, required=True)
    export.add_argument("--out", type=Path, default=Path("weights"))
    export.add_argument("--name", type=file_stem, help="of the model (default: by architecture)")
    export.add_argument("--note", action="append", default=[], type=note, metavar="KEY=TEXT")
    return top


def positive(text: str) -> int:
    """Parse a number of at least 1."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {text}")
    return int(text)


def file_stem(text: str) -> str:
    """Parse a name that can be a file's."""
    if not text or Path(text).name != text:
        raise argparse.ArgumentTypeError(f"expected a plain name, got {text!r}")
    return text


def note(text: str) -> tuple[str, str]:
    """Parse ``KEY=TEXT``."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=TEXT, got {text!r}")
    return key, value


def run_fit(args: argparse.Namespace) -> int:
    """Train, or go on training."""
    from train.engine import Run, fit

    try:
        config = FitConfig(**{f.name: getattr(args, f.name) for f in fields(FitConfig)})
    except ValueError as error:
        args.usage_error(str(error))
    if args.threads:
        torch.set_num_threads(args.threads)
    run = Run(args.run_dir, config, choose_device(args.device))
    print(json.dumps(asdict(config)), file=sys.stderr)
    fit(
        run,
        train=load_faces(args.data, "train"),
        validation=load_faces(args.data, "validation"),
        on_epoch=lambda row: print(json.dumps(row), flush=True),
    )
    return 0


def run_evaluate(args: argparse.Namespace) -> int:
    """Measure a weight file."""
    from train.evaluate import evaluate, record, table, write_json

    model = load_model(args.weights, device=args.device)
    figures = evaluate(model, load_faces(args.data, args.split), flip=args.flip)
    if args.json and str(args.json) == "-":
        print(json.dumps(figures, indent=2))
    else:
        table(figures)
    if args.json and str(args.json) != "-":
        write_json(args.json, figures)
    if args.record:
        from emotion.weights import find_weights

        record(find_weights(args.weights), args.record, figures)
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Turn a run into a weight file and its spec."""
    from train.export import export

    spec = export(
        args.run_dir / "last.pt",
        args.out,
        validation=load_faces(args.data, "validation"),
        name=args.name,
        notes=dict(args.note),
    )
    size = (args.out / f"{spec.name}.safetensors").stat().st_size
    print(f"{args.out / spec.name}.safetensors  {size / 1e6:.2f} MB  sha256 {spec.sha256[:12]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
