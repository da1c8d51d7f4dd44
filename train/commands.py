"""The commands that train: fit, sweep, sheet; and explain-eval, scoreboard."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from emotion.model import choose_device
from train.config import CHOICES, FitConfig, read_preset
from train.datasets import load_faces


def add_training(commands: Any) -> None:
    """Add the five commands to the command line of ``python -m train``."""
    fit = add_command(commands, "fit", run_fit, "train; the same command again goes on")
    fit.epilog = "What the settings mean is said in train/config.py."
    fit.add_argument("--run-dir", type=Path, required=True, help="folder of this run")
    fit.add_argument(
        "--preset", help="settings: face27, face27b to face27g, or the path of a YAML file"
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

    trust = add_command(
        commands, "explain-eval", run_explain_eval, "how far a model's heatmaps can be trusted"
    )
    trust.add_argument("--weights", required=True, help="a .safetensors file, or a model's name")
    trust.add_argument("--split", choices=("validation", "test"), default="validation")
    trust.add_argument("--limit", type=positive, default=500, help="faces (500)")
    trust.add_argument("--json", type=Path, help="write the figures here")
    add_machine(trust)

    board = add_command(
        commands, "scoreboard", run_scoreboard, "what the app's Scoreboard tab shows of a model"
    )
    board.add_argument("--weights", required=True, help="a .safetensors file, or a model's name")
    board.add_argument("--split", choices=("validation", "test"), default="test")
    board.add_argument("--limit", type=positive, default=500, help="faces explained (500)")
    add_machine(board)

    sheet = add_command(commands, "sheet", run_sheet, "a picture of what each augmentation does")
    sheet.add_argument("--out", type=Path, required=True, help="the picture, such as sheet.png")
    sheet.add_argument("--preset", help="whose strengths are shown (default: the defaults)")
    sheet.add_argument("--faces", type=positive, default=6, help="per row (6)")
    sheet.add_argument("--seed", type=int, default=0)


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """Add one command that reads a data folder."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=text)
    command.set_defaults(run=run, usage_error=command.error)
    command.add_argument("--data", type=Path, required=True, help="folder of faces, see README")
    return command


def add_machine(command: argparse.ArgumentParser) -> None:
    """Add what says where to compute."""
    command.add_argument("--device", default=None, help="cpu, cuda or mps (default: the best)")
    command.add_argument("--threads", type=positive, default=None, help="CPU threads")


def positive(text: str) -> int:
    """Parse a number of at least 1."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {text}")
    return int(text)


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
    if args.threads:
        torch.set_num_threads(args.threads)
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

    if args.threads:
        torch.set_num_threads(args.threads)
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


def run_scoreboard(args: argparse.Namespace) -> int:
    """Measure a model, and write its scoreboard beside its weights."""
    from emotion.model import load_model
    from emotion.weights import find_weights
    from train.scoreboard import scoreboard, write_scoreboard

    model = load_model(args.weights, device=args.device)
    faces = load_faces(args.data, args.split)
    board = scoreboard(model, faces, split=args.split, limit=args.limit)
    print(write_scoreboard(find_weights(args.weights), board))
    return 0


def run_explain_eval(args: argparse.Namespace) -> int:
    """Measure a model's explanations, and print the figures."""
    from emotion.model import load_model
    from train.evaluate import write_json
    from train.explain_eval import explain_eval
    from train.explain_table import table

    model = load_model(args.weights, device=args.device)
    figures = explain_eval(model, load_faces(args.data, args.split), limit=args.limit)
    figures = {"model": model.spec.name, "split": args.split, **figures}
    if args.json:
        write_json(args.json, figures)
    table(figures)
    return 0
