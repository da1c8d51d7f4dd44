"""The figures of ``python -m train explain-eval`` beside what they should be."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emotion.faithfulness import INFILLS

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Line:
    """One figure: what it is, what was found, what it must be, and whether it is."""

    what: str
    found: str
    must: str
    holds: bool


def lines(figures: dict[str, Any]) -> list[Line]:
    """Return the figures that have a limit.

    Args:
        figures: of :func:`train.explain_eval.explain_eval`.
    """
    exact, total = figures["gradcam_relative_difference"], figures["sum_relative_difference"]
    out = [
        Line("evidence against the grad-cam package", f"{exact:.1e}", "1e-5", exact <= 1e-5),
        Line("sum of evidence and bias against the logit", f"{total:.1e}", "1e-4", total <= 1e-4),
    ]
    share = figures["cost"]["share"]
    out.append(
        Line("all maps, share of the forward pass's time", f"{share:.1%}", "10 %", share <= 0.1)
    )
    for infill in INFILLS:
        row = figures["regions"][infill]
        own = row["evidence"]
        good = own["mean"] >= 0.5 and own["low"] is not None and own["low"] >= 0.45
        what = f"region evidence against drop when hidden ({infill}), Spearman"
        out.append(Line(what, interval(own), "0.5 (0.45)", good))
        for name in ("area", "centre", "another_label"):
            above = row[f"above_{name}"]
            words = f"  above {name.replace('_', ' ')}, paired"
            out.append(Line(words, interval(above), "above 0", (above["low"] or -1) > 0))
    for name, limit in (("centre", 0.05), ("blobs", 0.10)):
        below = figures["deletion"][f"below_{name}"]
        words = f"deletion AUC below {name}"
        out.append(Line(words, interval(below), f"{limit:.2f}", below["mean"] >= limit))
    drawn = figures["random_classifier"]["absolute_mean"]
    out.append(Line("maps of random classifiers, |Spearman|", f"{drawn:.3f}", "0.2", drawn <= 0.2))
    other = figures["runner_up"]["median"]
    out.append(Line("map of the runner-up, Spearman, median", f"{other:.2f}", "0.5", other <= 0.5))
    for name, row in figures["stability"].items():
        limit = 0.9 if name == "flip" else 0.8
        words = f"same after {name.replace('_', ' ')}, Spearman"
        out.append(Line(words, interval(row), f"{limit}", (row["mean"] or 0) >= limit))
    inside = figures["inside"]
    good = inside["evidence"] >= 0.8 and inside["evidence"] > inside["face"]
    words = f"positive evidence inside the face (its share: {inside['face']:.0%})"
    out.append(Line(words, f"{inside['evidence']:.0%}", "80 %", good))
    return out


def interval(row: dict[str, float | None]) -> str:
    """Return a mean and its interval."""
    if row["mean"] is None:
        return "none"
    low, high = row["low"], row["high"]
    return f"{row['mean']:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None else "")


def table(figures: dict[str, Any], say: Say = print) -> None:
    """Print the figures for a reader."""
    say(f"n {figures['n']} faces, {figures['model']}, {figures['split']} split")
    for line in lines(figures):
        mark = "ok  " if line.holds else "MISS"
        say(f"{mark} {line.what:64} {line.found:24} must {line.must}")
    unseen = {k: row["evidence"] for k, row in figures["regions"].items() if k not in INFILLS}
    words = ", ".join(f"{name} {interval(row)}" for name, row in unseen.items())
    say(f"     hidden in ways that are not trained with, Spearman: {words}")
    proofs = ", ".join(f"{name} {share:.0%}" for name, share in figures["proofs"].items() if share)
    say(f"     the proof under each map: {proofs}")
    facs = figures["facs"]
    if facs["mean"] is not None:
        say(
            f"     overlap of the hottest fifth with FACS regions (IoU): {facs['mean']:.2f}, "
            f"of as large an area at random {facs['chance']:.2f} (reported, not tuned)"
        )
