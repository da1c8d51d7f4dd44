"""The Scoreboard tab: how the shipped model did, cell by cell, and how far its maps can be trusted.

All of it is read from the file that ``python -m train scoreboard`` wrote beside the weights.
"""

import html
import json
import logging
from typing import Any

import gradio as gr

from emotion.landmarks import MEAN_FACE
from emotion.ui import cards
from emotion.ui.live_tab import COLOURS
from emotion.weights import ModelSpec, find_weights

logger = logging.getLogger(__name__)

KIND, FORMAT = "emotion-lens scoreboard", 1
COMMAND = "python -m train scoreboard --data DIR --weights {name} --split test"


def build_scoreboard_tab(spec: ModelSpec) -> None:
    """Add the tab's component to the Blocks that is being built."""
    board = read_scoreboard(spec)
    if board is None:
        gr.HTML(
            cards.note(f"There is no scoreboard of this model. {COMMAND.format(name=spec.name)}")
        )
        return
    gr.HTML(
        html_template=page(board),
        js_on_load="window.emotionScoreboard(element);",
        apply_default_css=False,
        elem_id="scoreboard",
    )


def read_scoreboard(spec: ModelSpec) -> dict[str, Any] | None:
    """Return the scoreboard that lies beside a model's weights; None without one of that model."""
    try:
        weights = find_weights(spec.name)
        path = weights.with_name(f"{weights.stem}.scoreboard.json")
        board: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        good = board["kind"] == KIND and board["format"] == FORMAT
        if good and board["sha256"] == spec.sha256:
            return board
        logger.warning("%s is of another model; it is not shown", path.name)
    except Exception as error:  # a model by its path, no such file, or no JSON
        logger.info("no scoreboard: %s", error)
    return None


def page(board: dict[str, Any]) -> str:
    """Return the tab's HTML; the script needs the cells, the rest stands in it."""
    config = {key: board[key] for key in ("labels", "regions", "origin", "step", "scale", "cells")}
    config |= {"colours": COLOURS, "face": MEAN_FACE.round(4).tolist()}
    figures = board["figures"]
    low, high = figures["accuracy_interval"]
    data = html.escape(json.dumps(config), quote=True)
    return (
        f'<div class="sb" data-config="{data}"><h2>How it did on {figures["n"]} faces it had '
        f"never seen</h2><p>{names(board)}. Accuracy <b>{figures['accuracy']:.1%}</b> (95 % "
        f"interval {low:.1%} to {high:.1%}), mean recall of the emotions "
        f"<b>{figures['macro_recall']:.1%}</b>, calibration error <b>{figures['ece']:.1%}</b>. "
        f"Press a cell to see what the model looks at on those faces.</p>"
        f'<div class="sb-two"><div>{matrix(board)}</div>{cell_view()}</div>'
        f"<h3>Each emotion</h3>{classes(figures['per_class'])}"
        f"<h3>Pictures that are damaged</h3>{corruptions(board['robustness'])}"
        f"<h3>How far the heatmaps can be trusted</h3>{trust(board['explanations'])}"
        f"<p class='sb-small'>Computed with <code>{COMMAND.format(name=board['model'])}</code>. "
        "No picture of the data set is in it: maps are means over all faces of a cell.</p></div>"
    )


def names(board: dict[str, Any]) -> str:
    """Say what was measured on what."""
    data = "FER2013's private test" if board["data"] == "fer2013" else "FER+"
    return f"Model {html.escape(board['model'])}, {data} {board['split']} split"


def matrix(board: dict[str, Any]) -> str:
    """Return the confusion matrix; each cell with a face is a button."""
    cells = {(c["truth"], c["said"]): c for c in board["cells"]}
    totals = {name: board["figures"]["per_class"][name]["n"] for name in board["labels"]}
    head = "".join(f"<th scope='col'><span>{name}</span></th>" for name in board["labels"])
    rows = []
    for truth in board["labels"]:
        row = []
        for said in board["labels"]:
            cell = cells.get((truth, said))
            if cell is None:
                row.append("<td></td>")
                continue
            share = cell["n"] / max(totals[truth], 1)
            row.append(
                f'<td><button type="button" data-truth="{truth}" data-said="{said}" '
                f'style="--share:{share:.3f}" aria-label="{cell["n"]} faces of {truth} called '
                f'{said}">{cell["n"]}</button></td>'
            )
        rows.append(f"<tr><th scope='row'>{truth}</th>{''.join(row)}</tr>")
    return (
        '<table class="sb-matrix"><caption>Rows: what people said. Columns: what the model said. '
        f"Shade: share of the row.</caption><thead><tr><td></td>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def cell_view() -> str:
    """Return where the chosen cell is shown."""
    return (
        '<div class="sb-cell"><h4 aria-live="polite"></h4><canvas width="288" height="288" '
        'role="img" aria-label="Mean evidence of the faces of this cell, on a mean face"></canvas>'
        '<table class="sb-regions"><tbody></tbody></table></div>'
    )


def classes(per_class: dict[str, Any]) -> str:
    """Return the figures of each emotion."""
    rows = "".join(
        f"<tr><th scope='row'>{name}</th><td>{row['n']}</td><td>{percent(row['recall'])}</td>"
        f"<td>{between(row['recall_interval'])}</td><td>{percent(row['precision'])}</td>"
        f"<td>{percent(row['f1'])}</td></tr>"
        for name, row in per_class.items()
    )
    head = "".join(
        f"<th scope='col'>{word}</th>"
        for word in ("", "faces", "found (recall)", "95 % interval", "right when named", "F1")
    )
    return (
        f'<div class="sb-wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div>"
    )


def corruptions(robustness: dict[str, Any]) -> str:
    """Return the accuracies on damaged faces."""
    rows = "".join(
        f"<tr><th scope='row'>{html.escape(name.replace('_', ' '))}</th>"
        f"{''.join(f'<td>{percent(value)}</td>' for value in values)}</tr>"
        for name, values in robustness["corruptions"].items()
    )
    return (
        "<p>Accuracy at three strengths; on average "
        f"{percent(robustness['corruption_relative'])} of that on the faces as they are. Cut in "
        f"another way, it falls by up to {100 * robustness['framing_gap']:.1f} points "
        f"({html.escape(robustness['framing_worst'])})."
        f'</p><div class="sb-wide"><table><thead><tr><th></th><th scope="col">weak</th><th '
        f'scope="col">middle</th><th scope="col">strong</th></tr></thead><tbody>{rows}</tbody>'
        "</table></div>"
    )


def trust(found: dict[str, Any]) -> str:
    """Return the figures of the explanations, in words."""
    regions, deletion = found["regions"], found["deletion"]
    words = {"blur": "blurred", "mean": "one colour", "inpaint": "painted over"}
    words |= {"noise": "noise", "foreign": "another face's pixels"}
    spearman = ", ".join(
        f"{row['evidence']['mean']:.2f} ({words.get(name, name)})" for name, row in regions.items()
    )
    chance = ", ".join(f"{row['area']['mean']:.2f}" for row in regions.values())
    facs = found["facs"]
    lines = [
        f"Hide a region and the logit falls by about what the map says: rank correlation {spearman}"
        f". It was trained with the first three. Ranking by size would reach {chance}.",
        f"Delete a face in the order of its map and the answer is gone sooner: area under curve "
        f"{deletion['evidence']['mean']:.2f}, against {deletion['centre']['mean']:.2f} from the "
        f"middle outwards and {deletion['blobs']['mean']:.2f} in random order.",
        f"Maps of random classifiers look nothing like the model's own: correlation "
        f"{found['random_classifier']['absolute_mean']:.2f} in absolute mean.",
        f"The map of the runner-up is another one: correlation {found['runner_up']['median']:.2f} "
        "(median).",
        f"A mirrored face gives the mirrored map: {found['stability']['flip']['mean']:.2f}; other "
        f"crops, light and JPEG: at least {least(found['stability']):.2f}.",
        f"{found['inside']['evidence']:.0%} of the evidence lies on the face, which is "
        f"{found['inside']['face']:.0%} of the crop.",
    ]
    proofs = [f"{name} {share:.0%}" for name, share in found["proofs"].items() if share]
    lines.append(f"The proof under a map: {', '.join(proofs)}.")
    if facs["mean"] is not None:
        lines.append(
            f"The hottest fifth overlaps with where FACS expects the emotion by {facs['mean']:.2f} "
            f"(intersection over union; by chance {facs['chance']:.2f}). Nothing was tuned to that."
        )
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<p>On {found['n']} faces of the same split:</p><ul>{items}</ul>"


def least(stability: dict[str, Any]) -> float:
    """Return the lowest mean but for the flip."""
    return min(
        row["mean"] for name, row in stability.items() if name != "flip" and row["mean"] is not None
    )


def percent(value: float | None) -> str:
    """Return a share as percent; a dash where there is none."""
    return "–" if value is None else f"{value:.1%}"


def between(interval: list[float] | None) -> str:
    """Return an interval as percent."""
    return "–" if interval is None else f"{interval[0]:.0%} to {interval[1]:.0%}"
