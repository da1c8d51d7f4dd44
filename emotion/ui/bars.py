"""The regions of a face as a table of signed bars."""

import math

from emotion.parts import PartDrops
from emotion.results import FaceResult


def region_bars(face: FaceResult, label: str, parts: PartDrops | None = None) -> str:
    """Return signed bars, in logits, of each region; with the bias they sum to the logit.

    Args:
        parts: what the logit loses when each region is hidden, for a column of its own.
    """
    row = face.prediction.index(label)
    values = face.explanation.region_evidence[row]
    limit = bar_limit(face)
    bars = "".join(
        f"<tr><th>{name}</th><td>{signed_bar(float(value), limit)}</td><td>{value:+.2f}</td>"
        f"{hidden_cell(parts, name)}</tr>"
        for name, value in zip(face.explanation.regions, values, strict=True)
    )
    rest = "<td></td>" if parts else ""
    bias, logit = face.explanation.bias[row], face.prediction.logits[row]
    return (
        f'<table class="lens-regions"><caption>What each region adds to the logit'
        f"{heads(parts)}</caption><tbody>{bars}</tbody><tfoot>"
        f"<tr><th>bias</th><td></td><td>{bias:+.2f}</td>{rest}</tr>"
        f"<tr><th>sum = logit</th><td></td><td>{logit:+.2f}</td>{rest}</tr></tfoot></table>"
    )


def hidden_cell(parts: PartDrops | None, region: str) -> str:
    """Return the cell that says what becomes of the logit when a region is hidden."""
    if parts is None:
        return ""
    if region not in parts.regions:
        return '<td class="lens-hidden"></td>'
    change = -parts.drops[parts.regions.index(region)]
    return f'<td class="lens-hidden">{change:+.2f}</td>'


def heads(parts: PartDrops | None) -> str:
    """Return what the last column of the regions is, and how far the two columns agree."""
    if parts is None:
        return ""
    return (
        "; last column: how the logit changes when the region is hidden. On this face the two "
        f"agree by {parts.agreement:+.2f} (rank correlation; 1 is the best)"
    )


def bar_limit(face: FaceResult) -> float:
    """Return the evidence that fills half a bar: the same for all classes of a face."""
    return max(1.0, math.ceil(float(abs(face.explanation.region_evidence).max()) * 2) / 2)


def signed_bar(value: float, limit: float) -> str:
    """Return a bar that grows right from the middle for, left against."""
    share = min(abs(value) / limit, 1) * 50
    side = "for" if value >= 0 else "against"
    return f'<i class="lens-bar"><b class="{side}" style="width:{share:.1f}%"></b></i>'
