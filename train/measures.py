"""The commands that measure: check, evaluate, report, quality, explain-eval, scoreboard."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emotion.model import load_model
from emotion.weights import DEFAULT_MODEL, find_weights
from train.datasets import load_faces
from train.flags import (
    add_command,
    add_device,
    add_machine,
    add_split,
    add_weights,
    positive,
    use_threads,
)


def add_check(commands: Any) -> None:
    """Add the command that looks through a data folder."""
    look = add_command(commands, "check", run_check, "what is wrong with a data folder")
    look.add_argument(
        "--weights", default=DEFAULT_MODEL, help="model that looks for wrong labels, or 'none'"
    )
    look.add_argument("--json", type=Path, help="write all findings here, '-' for stdout")
    look.add_argument("--show", type=int, default=10, help="findings of a kind to print (10)")
    look.add_argument(
        "--limit", type=positive, help="look for copies and wrong labels in the first faces only"
    )
    add_device(look)


def add_evaluate(commands: Any) -> None:
    """Add the command that measures a model's answers."""
    measure = add_command(commands, "evaluate", run_evaluate, "figures of a weight file on a split")
    add_weights(measure)
    add_split(measure)
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
    add_device(measure)


def add_report(commands: Any) -> None:
    """Add the command that writes all figures as a page."""
    page = add_command(
        commands, "report", run_report, "all figures of a model as one page and one JSON"
    )
    add_weights(page)
    page.add_argument("--against", metavar="WEIGHTS", help="another model to set beside it")
    add_split(page)
    page.add_argument("--out", type=Path, required=True, help="folder of the two files")
    page.add_argument("--faces", action="store_true", help="show the faces that are taken wrongly")
    page.add_argument("--limit", type=positive, help="only the first faces of the split")
    page.add_argument(
        "--robust",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also damaged and differently cut faces (most of the time)",
    )
    add_device(page)


def add_quality(commands: Any) -> None:
    """Add the command that measures on faces that are hard to read."""
    hard = add_command(
        commands, "quality", run_quality, "accuracy on validation faces that get a quality note"
    )
    add_weights(hard)
    hard.add_argument("--yunet", type=Path, metavar="FILE", help="to measure turned faces too")
    hard.add_argument("--limit", type=positive, help="only the first faces of the split")
    hard.add_argument("--json", type=Path, help="write the figures here")
    hard.add_argument("--record", action="store_true", help="keep them in the model's spec")
    add_device(hard)


def add_explain_eval(commands: Any) -> None:
    """Add the command that measures a model's explanations."""
    trust = add_command(
        commands, "explain-eval", run_explain_eval, "how far a model's heatmaps can be trusted"
    )
    add_weights(trust)
    add_split(trust, "validation")
    trust.add_argument("--limit", type=positive, default=500, help="faces (500)")
    trust.add_argument("--json", type=Path, help="write the figures here")
    add_machine(trust)


def add_scoreboard(commands: Any) -> None:
    """Add the command that builds what the Scoreboard tab shows."""
    board = add_command(
        commands, "scoreboard", run_scoreboard, "what the app's Scoreboard tab shows of a model"
    )
    add_weights(board)
    add_split(board)
    board.add_argument("--limit", type=positive, default=500, help="faces explained (500)")
    add_machine(board)


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
        record(find_weights(args.weights), args.record, figures)
    return 0


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


def run_explain_eval(args: argparse.Namespace) -> int:
    """Measure a model's explanations, and print the figures."""
    from train.evaluate import write_json
    from train.explain_eval import explain_eval
    from train.explain_table import table

    use_threads(args)
    model = load_model(args.weights, device=args.device)
    figures = explain_eval(model, load_faces(args.data, args.split), limit=args.limit)
    figures = {"model": model.spec.name, "split": args.split, **figures}
    if args.json:
        write_json(args.json, figures)
    table(figures)
    return 0


def run_scoreboard(args: argparse.Namespace) -> int:
    """Measure a model, and write its scoreboard beside its weights."""
    from train.scoreboard import scoreboard, write_scoreboard

    use_threads(args)
    model = load_model(args.weights, device=args.device)
    faces = load_faces(args.data, args.split)
    board = scoreboard(model, faces, split=args.split, limit=args.limit)
    print(write_scoreboard(find_weights(args.weights), board))
    return 0
