"""The commands that write weight files: export, onnx."""

import argparse
from pathlib import Path
from typing import Any

from train.datasets import load_faces
from train.flags import add_command, add_weights


def add_export(commands: Any) -> None:
    """Add the command that turns a run into weights."""
    export = add_command(
        commands, "export", run_export, "a run to weights/; the validation split calibrates"
    )
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
        help="other runs of the same network, to average with; one named twice counts twice",
    )
    export.add_argument("--note", action="append", default=[], type=note, metavar="KEY=TEXT")


def add_onnx(commands: Any) -> None:
    """Add the command that writes weights for other runtimes."""
    other = commands.add_parser("onnx", help="a weight file as ONNX, for other runtimes")
    other.set_defaults(run=run_onnx)
    add_weights(other)
    other.add_argument("--out", type=Path, required=True, help="the file, such as face.onnx")


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
