"""The commands that train: fit, sweep, sheet."""

import argparse
import json
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from emotion.model import choose_device
from train.config import CHOICES, FitConfig, read_preset
from train.datasets import load_faces
from train.flags import add_command, add_machine, positive, use_threads


def add_fit(commands: Any) -> None:
    """Add the command that trains, with a flag for each setting."""
    fit = add_command(commands, "fit", run_fit, "train; the same command again goes on")
    fit.epilog = "What the settings mean is said in train/config.py."
    fit.add_argument("--run-dir", type=Path, required=True, help="folder of this run")
    fit.add_argument(
        "--preset", help="settings: face27, face27b to face27i, or the path of a YAML file"
    )
    add_machine(fit)
    for item in fields(FitConfig):
        flag, shown = f"--{item.name.replace('_', '-')}", str(item.default) or "none"
        if isinstance(item.default, bool):
            kind: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
        else:
            kind = {"type": type(item.default), "metavar": type(item.default).__name__.upper()}
        if item.name in CHOICES:
            shown += f"; {', '.join(filter(None, CHOICES[item.name]))}"
        # Left out, it is neither in the preset's way nor in the default's.
        fit.add_argument(flag, default=argparse.SUPPRESS, help=f"default {shown}", **kind)


def add_sweep(commands: Any) -> None:
    """Add the command that compares and searches."""
    sweep = add_command(commands, "sweep", run_sweep, "compare variants, or search better settings")
    sweep.add_argument("--out", type=Path, required=True, help="folder of the figures")
    sweep.add_argument(
        "--table",
        nargs="?",
        const="table",
        metavar="FILE",
        help="compare the named variants in a YAML list (default: the shipped one), no search",
    )
    sweep.add_argument("--only", metavar="NAME,NAME", help="of the variants, these")
    sweep.add_argument("--trials", type=positive, default=20, help="of a search, in all (20)")
    sweep.add_argument("--epochs", type=positive, help="of each (default: 3, or the list's)")
    sweep.add_argument("--limit", type=positive, default=4000, help="faces of each (4000)")
    sweep.add_argument("--storage", default="", help="an Optuna storage (default: OUT/study.db)")
    sweep.add_argument("--preset", help="settings that a search starts from")
    add_machine(sweep)


def add_sheet(commands: Any) -> None:
    """Add the command that draws the augmentations."""
    sheet = add_command(commands, "sheet", run_sheet, "a picture of what each augmentation does")
    sheet.add_argument("--out", type=Path, required=True, help="the picture, such as sheet.png")
    sheet.add_argument("--preset", help="whose strengths are shown (default: the defaults)")
    sheet.add_argument("--faces", type=positive, default=6, help="per row (6)")
    sheet.add_argument("--seed", type=int, default=0)


def config_of(args: argparse.Namespace, **flags: Any) -> FitConfig:
    """Return the settings: ``flags`` first, then the preset, then the defaults."""
    try:
        return FitConfig(**{**(read_preset(args.preset) if args.preset else {}), **flags})
    except ValueError as error:
        args.usage_error(str(error))
        raise


def run_fit(args: argparse.Namespace) -> int:
    """Train, or go on training."""
    from train.engine import fit
    from train.processes import joined
    from train.run import Run

    given = {f.name: getattr(args, f.name) for f in fields(FitConfig) if hasattr(args, f.name)}
    config = config_of(args, **given)
    use_threads(args)
    with joined(choose_device(args.device)) as (processes, device):
        if processes.first:
            print(json.dumps(asdict(config)), file=sys.stderr)
        fit(
            Run(args.run_dir, config, device, processes),
            train=load_faces(args.data, "train"),
            validation=load_faces(args.data, "validation"),
            on_epoch=lambda row: print(json.dumps(row), flush=True),
        )
    return 0


def run_sweep(args: argparse.Namespace) -> int:
    """Compare variants, or search."""
    from train.variants import read_variants, run_variants, sample

    use_threads(args)
    device = choose_device(args.device)
    # The list and the settings are read first: their mistakes need no data to be found.
    variants = read_variants(args.table, args.epochs) if args.table else {}
    base = config_of(args, epochs=args.epochs or 3)
    train = load_faces(args.data, "train")
    train = sample(train.where(train.targets.sum(1) > 0), args.limit)
    validation = load_faces(args.data, "validation")
    validation = sample(validation.where(validation.labels >= 0), args.limit)
    if variants:
        run_variants(
            variants,
            args.out,
            train=train,
            validation=validation,
            device=device,
            only=args.only.split(",") if args.only else (),
        )
        print(args.out / "table.md")
        return 0
    from train.sweep import Search, sweep

    search = Search(base, args.trials, args.storage)
    sweep(search, args.out, train=train, validation=validation, device=device)
    print(args.out / "trials.md")
    return 0


def run_sheet(args: argparse.Namespace) -> int:
    """Draw the contact sheet."""
    from train.sheet import write_sheet

    faces = load_faces(args.data, "train")
    write_sheet(args.out, faces, config_of(args), columns=args.faces, seed=args.seed)
    print(args.out)
    return 0
