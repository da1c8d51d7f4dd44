"""python -m emotion explain: one face's explanation, with its proof; and reports to check."""

import argparse
import json
from pathlib import Path
from typing import Any

from emotion.errors import ReportError

EVERY = "all"


def add_explain(commands: Any, add_pipeline_flags: Any) -> None:
    """Add the command to the command line."""
    explain = commands.add_parser("explain", help="why this answer: evidence, proof, methods")
    explain.set_defaults(run=run_explain)
    explain.add_argument("image", metavar="IMAGE", help="a picture file")
    explain.add_argument("--face", type=int, default=1, metavar="N", help="which face, from 1")
    explain.add_argument("--target", metavar="LABEL", help="whose evidence (default: the top one)")
    explain.add_argument("--versus", metavar="LABEL", help="against which (default: the next)")
    explain.add_argument(
        "--method",
        metavar="NAME",
        help="also by this method: gradcam, gradcam++, hirescam, layercam, scorecam, eigencam, "
        f"occlusion, or {EVERY}",
    )
    explain.add_argument("--out", type=Path, metavar="DIR", help="write report and maps here")
    explain.add_argument("--with-face", action="store_true", help="show the face in the report")
    explain.add_argument("--json", action="store_true", help="the report on stdout")
    explain.add_argument("--verify", type=Path, metavar="REPORT", help="compute a report anew")
    add_pipeline_flags(explain)


def run_explain(args: argparse.Namespace) -> int:
    """Explain a face, or verify a report.

    Returns:
        0; 1 if a report does not hold.
    """
    data = read(Path(args.image), "picture")
    return run_verify(args, data) if args.verify else run_report(args, data)


def read(path: Path, what: str) -> bytes:
    """Return a file's bytes; ``ReportError`` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReportError(f"the {what} {path} cannot be read: {error.strerror}") from None


def load(args: argparse.Namespace, **settings: Any) -> Any:
    """Load the pipeline of the flags; ``settings`` go before them."""
    from emotion.pipeline import load_pipeline

    flags = {"detector": args.detector, "min_face": args.min_face} | settings
    model = flags.pop("model", args.model)
    return load_pipeline(model, device=args.device, yunet=args.yunet, **flags)


def run_report(args: argparse.Namespace, data: bytes) -> int:
    """Explain one face; print it, and write it where asked."""
    from dataclasses import replace

    from emotion.images import load_image
    from emotion.report import explain_face, report_json

    pipeline = load(args)
    faces = pipeline(load_image(data)).faces
    explained = explain_face(pipeline, faces, args.face - 1, label=args.target, other=args.versus)
    if args.method:
        explained = replace(explained, methods=chosen_methods(args, pipeline, explained))
    report = report_json(pipeline, explained, data=data, name=Path(args.image).name)
    if args.out:
        write(args, explained, report)
    if args.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print_explained(explained)
    return 0


def chosen_methods(args: argparse.Namespace, pipeline: Any, explained: Any) -> tuple[Any, ...]:
    """Return the maps by the method of the flag, or by all.

    Raises:
        ValueError: no such method.
    """
    from emotion.cam import CamExplainer
    from emotion.methods import METHODS, compare_methods

    known = {m.cam or m.name for m in METHODS} - {"exact evidence"}
    if args.method not in (EVERY, *known):
        names = ", ".join((*sorted(known), EVERY))
        raise ValueError(f"no method {args.method!r}; expected one of {names}")
    wanted = [m for m in METHODS if args.method in (EVERY, m.cam or m.name)]
    explainer = CamExplainer(pipeline.model)
    return compare_methods(
        pipeline.model, explainer, explained.face, explained.label, methods=wanted
    )


def write(args: argparse.Namespace, explained: Any, report: dict[str, Any]) -> None:
    """Write the report as HTML and JSON, and raw maps as ``.npy``."""
    import numpy as np

    from emotion.report_page import report_html

    stem = f"{Path(args.image).stem}.face{args.face}"
    crop = explained.face.crop if args.with_face else None
    maps = {"evidence": explained.face.explanation.evidence, "versus": explained.contrast.evidence}
    for method in explained.methods:
        maps[method.method.name.replace(" ", "_").replace(",", "")] = method.map
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        page, numbers = (args.out / f"{stem}.report.{kind}" for kind in ("html", "json"))
        page.write_text(report_html(explained, report, crop=crop), encoding="utf-8")
        numbers.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
        for name, values in maps.items():
            np.save(args.out / f"{stem}.{name}.npy", values)
    except OSError as error:
        raise ReportError(f"the report cannot be written: {error}") from None


def print_explained(explained: Any) -> None:
    """Print an explanation for a reader."""
    from emotion.regions import describe

    face, label = explained.face, explained.label
    print(describe(face.prediction, face.explanation, label))
    row = face.explanation.region_evidence[face.prediction.index(label)]
    drops = dict(zip(explained.parts.regions, explained.parts.drops, strict=True))
    print(f"  {'':12} {'evidence':>8}  {'when hidden':>11}   in logits")
    for name, value in zip(face.explanation.regions, row, strict=True):
        hidden = f"{-drops[name]:+.2f}" if name in drops else ""
        print(f"  {name:12} {value:+8.2f}  {hidden:>11}")
    print(f"  the two columns' rank correlation: {explained.parts.agreement:+.2f}")
    print(explained.proof.sentence)
    print(explained.contrast.sentence)
    print(explained.facs)
    for method in explained.methods:
        same = f"the same map as {method.same_as}" if method.same_as else ""
        text = same or f"agreement with occlusion {method.agreement:+.2f}"
        print(f"  {method.method.name:18} {text}  (passes: {method.method.cost})")


def run_verify(args: argparse.Namespace, data: bytes) -> int:
    """Compute a report's numbers anew, and say which hold."""
    from emotion.verify import read_report, verify

    report = read_report(read(args.verify, "report"))
    try:
        settings = {k: report["settings"][k] for k in ("detector", "min_face")}
        settings["model"] = args.model
        if report["model"]["name"] != Path(args.model).stem:
            settings["model"] = report["model"]["name"]
    except (KeyError, TypeError):
        raise ReportError("the report is damaged: it lacks its settings or its model") from None
    checks = verify(report, load(args, **settings), data)
    for check in checks:
        print(f"{'holds' if check.holds else 'FAILS':6} {check.what}: {check.detail}")
    good = all(check.holds for check in checks)
    print("The report holds." if good else "The report does not hold.")
    return 0 if good else 1
