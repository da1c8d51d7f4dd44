"""The figures of ``python -m train evaluate`` as text for a terminal; percent, not shares."""

from collections.abc import Callable
from typing import Any

Say = Callable[[str], None]


def table(figures: dict[str, Any], say: Say = print) -> None:
    """Print the figures for a reader.

    Args:
        figures: of :func:`train.evaluate.evaluate`.
        say: prints one line.
    """
    say(f"measured against the labels of {figures['truth']}, n {figures['n']}")
    say(f"accuracy      {percent(figures['accuracy'])} {spread(figures['accuracy_interval'])}")
    common = figures["macro_recall_common"]
    if common is not None:
        count, above = len(figures["common"]), figures["common_above"]
        say(f"macro recall  {percent(figures['macro_recall'])}   of the {count} classes with")
        say(f"              more than {above} faces {percent(common)}")
    else:
        say(f"macro recall  {percent(figures['macro_recall'])}")
    say(f"macro F1      {percent(figures['macro_f1'])}")
    say(f"ECE           {percent(figures['ece'])}")
    sets = figures["sets"]
    say(
        f"sets          hold the truth in {percent(sets['coverage'])}, mean size {sets['size']:.2f}"
        f" (labels from probability {sets['threshold']:.3f})"
    )
    say("")
    classes(figures, say)
    if "without_duplicates" in figures:
        without(figures["without_duplicates"], say)
    if "robustness" in figures:
        damage(figures["robustness"], say)
    say(f"\n{figures['seconds']} s")


def classes(figures: dict[str, Any], say: Say) -> None:
    """Print a line per class."""
    say(
        f"{'':10} {'n':>5} {'precision':>9} {'recall':>7}  {'95 % interval':15} {'F1':>6} "
        f"{'in set':>7} {'set size':>8}"
    )
    for name, row in figures["per_class"].items():
        own = figures["sets"]["per_class"][name]
        size = "" if own["size"] is None else f"{own['size']:.2f}"
        say(
            f"{name:10} {row['n']:5} {percent(row['precision']):>9} {percent(row['recall']):>7}  "
            f"{spread(row['recall_interval']):15} {percent(row['f1']):>6} "
            f"{percent(own['coverage']):>7} {size:>8}"
        )


def without(rest: dict[str, Any], say: Say) -> None:
    """Print the figures without near duplicates."""
    say(
        f"\nwithout the {rest['left_out']} faces that have a near duplicate in another split: "
        f"n {rest['n']}, accuracy {percent(rest['accuracy'])}, "
        f"macro recall {percent(rest['macro_recall'])}"
    )


def damage(figures: dict[str, Any], say: Say) -> None:
    """Print the accuracies on changed faces."""
    say(f"\n{'accuracy at strength':20} {'1':>6} {'2':>6} {'3':>6}")
    for kind, row in figures["corruptions"].items():
        say(f"{kind.replace('_', ' '):20} " + " ".join(f"{percent(v):>6}" for v in row))
    mean, relative = figures["corruption_mean"], figures["corruption_relative"]
    say(f"{'mean':20} {percent(mean):>6}, {percent(relative)} % of that on plain faces")
    say("\naccuracy at another framing")
    for name, value in figures["framings"].items():
        say(f"{name:20} {percent(value):>6}")
    gap = 100 * figures["framing_gap"]
    say(f"worst: {figures['framing_worst']}, {gap:.2f} points below the plain framing")


def percent(share: float | None) -> str:
    """Return a share of 1 in percent; a dash for None."""
    return "-" if share is None else f"{100 * share:.2f}"


def spread(ends: list[float] | None) -> str:
    """Return an interval of shares in percent; nothing for None."""
    return "" if ends is None else f"({100 * ends[0]:.1f} to {100 * ends[1]:.1f})"
