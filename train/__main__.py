"""python -m train check | sheet | fit | sweep | evaluate | report | quality | export | onnx"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from emotion.errors import EmotionError
from emotion.model import load_model
from emotion.weights import DEFAULT_MODEL
from train.commands import add_training, positive, run_fit, run_sweep
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
        goes_on = args.run in (run_fit, run_sweep)
        how = "; the same command goes on from the last epoch" if goes_on else ""
        print(f"stopped{how}", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    top = argparse.ArgumentParser(prog="python -m train", description="Train, measure, export.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    add_training(commands)

    measure = commands.add_parser("evaluate", help="figures of a weight file on a split")
    measure.set_defaults(run=run_evaluate)
    measure.add_argument("--data", type=Path, required=True)
    measure.add_argument("--weights", required=True, help="a .safetensors file, or a model's name")
    measure.add_argument("--split", choices=SPLITS, default="test")
    measure.add_argument("--json", type=Path, help="write the figures here, '-' for stdout")
    measure.add_argument("--flip", action="store_true", help="average with the mirrored face")
    measure.add_argument("--limit", type=positive, help="only the first faces of the split")
    measure.add_argument(
        "--robust", action="store_true", help="also on damaged and differently cut faces (x36)"
    )
    measure.add_argument(
        "--train-duplicates",
        action="store_true",
        help="also without faces that have a near duplicate in another split",
    )
    measure.add_argument("--record", metavar="NAME", help="keep the figures in the model's spec")
    measure.add_argument("--device", default=None)

    look = commands.add_parser("check", help="what is wrong with a data folder")
    look.set_defaults(run=run_check)
    look.add_argument("--data", type=Path, required=True, help="folder of Parquet, CSV or classes")
    look.add_argument(
        "--weights", default=DEFAULT_MODEL, help="model that looks for wrong labels, or 'none'"
    )
    look.add_argument("--json", type=Path, help="write all findings here, '-' for stdout")
    look.add_argument("--show", type=int, default=10, help="findings of a kind to print (10)")
    look.add_argument(
        "--limit", type=positive, help="look for copies and wrong labels in the first faces only"
    )
    look.add_argument("--device", default=None)

    page = commands.add_parser("report", help="all figures of a model as one page and one JSON")
    page.set_defaults(run=run_report)
    page.add_argument("--data", type=Path, required=True)
    page.add_argument("--weights", required=True, help="a .safetensors file, or a model's name")
    page.add_argument("--against", metavar="WEIGHTS", help="another model to set beside it")
    page.add_argument("--split", choices=SPLITS, default="test")
    page.add_argument("--out", type=Path, required=True, help="folder of the two files")
    page.add_argument("--faces", action="store_true", help="show the faces that are taken wrongly")
    page.add_argument("--limit", type=positive, help="only the first faces of the split")
    page.add_argument(
        "--robust",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also damaged and differently cut faces (most of the time)",
    )
    page.add_argument("--device", default=None)

    hard = commands.add_parser("quality", help="accuracy on faces that get a quality note")
    hard.set_defaults(run=run_quality)
    hard.add_argument("--data", type=Path, required=True, help="its validation split is used")
    hard.add_argument("--weights", required=True, help="a .safetensors file, or a model's name")
    hard.add_argument("--yunet", type=Path, metavar="FILE", help="to measure turned faces too")
    hard.add_argument("--limit", type=positive, help="only the first faces of the split")
    hard.add_argument("--json", type=Path, help="write the figures here")
    hard.add_argument("--record", action="store_true", help="keep them in the model's spec")
    hard.add_argument("--device", default=None)

    export = commands.add_parser("export", help="a run to weights/")
    export.set_defaults(run=run_export)
    export.add_argument("--data", type=Path, required=True, help="its validation split calibrates")
    export.add_argument("--run-dir", type=Path, required=True)
    export.add_argument("--out", type=Path, default=Path("weights"))
    export.add_argument("--name", type=file_stem, help="of the model (default: by architecture)")
    export.add_argument("--labels", choices=("ferplus", "fer2013"), default="ferplus")
    export.add_argument(
        "--rare-cost",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="validation accuracy that may be given up to find rare classes, such as 0.003",
    )
    export.add_argument(
        "--average",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN_DIR",
        help="other runs of the same network, to average the weights with",
    )
    export.add_argument("--note", action="append", default=[], type=note, metavar="KEY=TEXT")

    other = commands.add_parser("onnx", help="a weight file as ONNX, for other runtimes")
    other.set_defaults(run=run_onnx)
    other.add_argument("--weights", required=True, help="a .safetensors file, or a model's name")
    other.add_argument("--out", type=Path, required=True, help="the file, such as face.onnx")
    return top


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


def run_evaluate(args: argparse.Namespace) -> int:
    """Measure a weight file."""
    from train.evaluate import duplicates_in_other_splits, evaluate, first, record, write_json
    from train.table import table

    if args.record and args.limit:
        raise ValueError("--record is for figures of a whole split; leave --limit out")
    model = load_model(args.weights, device=args.device)
    faces = first(load_faces(args.data, args.split), args.limit)
    duplicate = None
    if args.train_duplicates:
        duplicate = duplicates_in_other_splits(faces, args.data, args.split)
        if duplicate is None:
            raise ValueError(f"{args.data} holds no other split than {args.split}")
    figures = evaluate(model, faces, flip=args.flip, robust=args.robust, duplicate=duplicate)
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


def run_check(args: argparse.Namespace) -> int:
    """Say what is wrong with a data folder; 1 where something in it cannot be read."""
    from train.check import check, report
    from train.evaluate import write_json

    named = args.weights.lower() != "none"
    model = load_model(args.weights, device=args.device) if named else None
    findings = check(args.data, model, args.limit)
    if args.json and str(args.json) == "-":
        print(json.dumps(asdict(findings), indent=2))
    else:
        report(findings, show=args.show)
    if args.json and str(args.json) != "-":
        write_json(args.json, asdict(findings))
    return 1 if findings.unreadable else 0


def run_report(args: argparse.Namespace) -> int:
    """Write the page and the figures of a model."""
    from train.evaluate import duplicates_in_other_splits, first
    from train.report import ReportOptions, report

    faces = first(load_faces(args.data, args.split), args.limit)
    html, numbers = report(
        load_model(args.weights, device=args.device),
        faces,
        args.out,
        options=ReportOptions(
            split=args.split,
            command=repeat(args),
            limit=args.limit,
            robust=args.robust,
            faces=args.faces,
        ),
        against=load_model(args.against, device=args.device) if args.against else None,
        duplicate=duplicates_in_other_splits(faces, args.data, args.split),
    )
    print(html, numbers, sep="\n")
    return 0


def repeat(args: argparse.Namespace) -> str:
    """Return the command of a report for others to repeat, without anybody's folders."""
    words = ["python -m train report --data DIR --weights", Path(args.weights).stem]
    words += ["--against", Path(args.against).stem] if args.against else []
    words += ["--split", args.split, "--out", "DIR"]
    words += ["--limit", str(args.limit)] if args.limit else []
    words += [] if args.robust else ["--no-robust"]
    return " ".join(words + (["--faces"] if args.faces else []))


def run_quality(args: argparse.Namespace) -> int:
    """Measure a weight file on faces that are hard to read."""
    from emotion.detect import load_detector
    from emotion.weights import find_weights
    from train.evaluate import first, write_json
    from train.quality import measure_quality, record, table

    model = load_model(args.weights, device=args.device)
    faces = first(load_faces(args.data, "validation"), args.limit)
    detector = load_detector("yunet", yunet=args.yunet) if args.yunet else None
    figures = measure_quality(model, faces, detector=detector)
    table(figures)
    if args.json:
        write_json(args.json, figures)
    if args.record:
        record(find_weights(args.weights), figures)
    return 0


def checkpoint_of(run_dir: Path) -> Path:
    """Return a run's best checkpoint, if it has patience and so keeps one, else its last."""
    best = run_dir / "best.pt"
    return best if best.is_file() else run_dir / "last.pt"


def run_export(args: argparse.Namespace) -> int:
    """Turn a run into a weight file and its spec."""
    from train.export import ExportOptions, export

    checkpoint, *others = map(checkpoint_of, (args.run_dir, *args.average))
    options = ExportOptions(
        name=args.name,
        labels=args.labels,
        rare_cost=args.rare_cost,
        average=others,
        notes=dict(args.note),
    )
    spec = export(
        checkpoint,
        args.out,
        validation=load_faces(args.data, "validation"),
        options=options,
    )
    size = (args.out / f"{spec.name}.safetensors").stat().st_size
    print(f"{args.out / spec.name}.safetensors  {size / 1e6:.2f} MB  sha256 {spec.sha256[:12]}")
    return 0


def run_onnx(args: argparse.Namespace) -> int:
    """Write a weight file as ONNX."""
    from train.onnx_file import write_onnx

    written = write_onnx(args.weights, args.out)
    size = f"{written.size / 1e6:.2f} MB"
    print(f"{args.out}  {size}  largest difference to torch {written.difference:.1g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
