"""A report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere.

Without leave there is no face in it: the heatmap lies on an outline of the face's regions.
"""

import base64
import html
import json
from typing import Any

import cv2
import numpy as np

from emotion.images import RGBImage
from emotion.methods import MethodMap
from emotion.regions import crop_landmarks, describe, region_map
from emotion.render import blend, encode, map_rgba
from emotion.report import Explained
from emotion.results import FloatArray, two_digits

SIDE = 288
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c1917; background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.row { display: flex; flex-wrap: wrap; gap: 1.2rem; } figure { margin: 0; max-width: 18rem; }
img { width: 100%; border-radius: 8px; display: block; } figcaption { font-size: 0.85rem; }
table { border-collapse: collapse; } td, th { padding: 0.15rem 0.7rem 0.15rem 0; text-align: left;
  font-weight: 400; font-variant-numeric: tabular-nums; } th { min-width: 7rem; }
i { display: inline-block; position: relative; width: 12rem; height: 0.8rem; background: #f0eeec; }
i b { position: absolute; top: 0; bottom: 0; } .for { left: 50%; background: #e8590c; }
.against { right: 50%; background: #1971c2; } .small { font-size: 0.85rem; color: #57534e; }
code { overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { body { color: #f5f5f4; background: #1c1917; }
  i { background: #44403c; } .small { color: #a8a29e; } }
"""
WHAT = (
    "A map shows what this model used for its answer, on a coarse grid. It is no proof of anything "
    "about the face, it does not code single muscles, and a shown expression is not a felt emotion."
)


def report_html(
    explained: Explained, report: dict[str, Any], *, crop: RGBImage | None = None
) -> str:
    """Return a report as HTML.

    Args:
        report: of :func:`emotion.report.report_json`; it is put into the page as well.
        crop: (S, S, 3) uint8 RGB, the face; None for a report without faces.
    """
    face, label = explained.face, explained.label
    model, settings = report["model"], report["settings"]
    title = f"Why {label}?"
    explanation = face.explanation
    ground = ground_of(explained, crop)
    row = explanation.labels.index(label)
    own = heat(ground, explanation.evidence[row], explained, explanation.scale)
    versus = explained.contrast
    against = heat(ground, versus.evidence, explained, explanation.scale)
    sections = [
        f"<h1>{html.escape(title)}</h1>"
        f"<p>{html.escape(describe(face.prediction, explanation, label))}</p>",
        f'<div class="row">{figure(own, f"evidence for {label}")}{probabilities(explained)}</div>',
        f"<h2>By parts of the face</h2>"
        f"{bars(explanation.regions, explanation.region_evidence[row])}"
        f'<p class="small">In logits. With the bias of {explanation.bias[row]:+.2f} they sum to '
        f"the logit, {face.prediction.logits[row]:+.2f}.</p><p>{html.escape(explained.facs)}</p>",
        proof_section(explained, with_pictures=crop is not None),
        f"<h2>Why {versus.label} and not {versus.other}?</h2><p>{html.escape(versus.sentence)}</p>"
        f'<div class="row">{figure(against, f"for {versus.label} rather than {versus.other}")}'
        f"<div>{bars(versus.regions, versus.region_evidence)}</div></div>",
        methods_section(explained, ground),
        f"<h2>What it was made with</h2><p>Model {html.escape(model['name'])} "
        f"<code>{model['sha256']}</code>, detector {html.escape(settings['detector'])}, picture "
        f"<code>{report['picture']['sha256']}</code>. {html.escape(versions(report))}</p>"
        "<p>To check every number: save the JSON beside this page and run <code>python -m emotion "
        "explain --verify report.json IMAGE</code>.</p>"
        f'<p class="small">{html.escape(WHAT)}</p>',
    ]
    data = json.dumps(report).replace("<", "\\u003c")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}'
        '</title><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>{''.join(sections)}"
        f'<script type="application/json" id="report">{data}</script></body></html>\n'
    )


def versions(report: dict[str, Any]) -> str:
    """Return the versions in a line."""
    return ", ".join(f"{name} {number}" for name, number in report["software"].items()) + "."


def ground_of(explained: Explained, crop: RGBImage | None) -> RGBImage:
    """Return what a heatmap lies on: the face, or else the borders of its regions."""
    if crop is not None:
        return np.asarray(cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    face = explained.face
    numbers = region_map(crop_landmarks(face.face, face.to_crop), SIDE)
    border = np.zeros(numbers.shape, bool)
    border[1:] |= numbers[1:] != numbers[:-1]
    border[:, 1:] |= numbers[:, 1:] != numbers[:, :-1]
    out = np.full((SIDE, SIDE, 3), 232, np.uint8)
    out[border] = 120
    return out


def heat(ground: RGBImage, evidence: FloatArray, explained: Explained, scale: float) -> RGBImage:
    """Lay a map over the ground."""
    explanation = explained.face.explanation
    rgba = map_rgba(
        evidence,
        origin=explanation.grid_origin,
        step=explanation.grid_step,
        scale=scale,
        size=SIDE,
    )
    return blend(ground, rgba, 0.75)


def figure(picture: RGBImage, caption: str) -> str:
    """Return a picture with a caption, within the page."""
    data = base64.b64encode(encode(picture, "JPEG", quality=88)).decode()
    text = html.escape(caption)
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def probabilities(explained: Explained) -> str:
    """Return the probabilities as a table."""
    prediction = explained.face.prediction
    rows = "".join(
        f"<tr><th>{name}</th><td>{two_digits(float(value))}</td></tr>"
        for name, value in zip(prediction.labels, prediction.probabilities, strict=True)
    )
    return f"<table><tbody>{rows}</tbody></table>"


def bars(names: tuple[str, ...], values: FloatArray) -> str:
    """Return signed bars."""
    limit = max(1.0, float(np.abs(values).max()))
    rows = "".join(
        f'<tr><th>{name}</th><td><i><b class="{"for" if value >= 0 else "against"}" '
        f'style="width:{50 * abs(value) / limit:.1f}%"></b></i></td><td>{value:+.2f}</td></tr>'
        for name, value in zip(names, values.tolist(), strict=True)
    )
    return f"<table><tbody>{rows}</tbody></table>"


def proof_section(explained: Explained, *, with_pictures: bool) -> str:
    """Return the proof, with the pictures of the face where they are allowed."""
    proof = explained.proof
    pictures = ""
    if with_pictures and proof.trials:
        names = ("what the map marks is hidden", "as much is hidden elsewhere")
        shown = zip(proof.pictures, names, strict=True)
        pictures = f'<div class="row">{"".join(figure(p, n) for p, n in shown)}</div>'
    return f"<h2>Put to the test</h2>{pictures}<p>{html.escape(proof.sentence)}</p>"


def methods_section(explained: Explained, ground: RGBImage) -> str:
    """Return the other methods' maps; nothing where they were not asked for."""
    if not explained.methods:
        return ""
    shown = "".join(method_figure(method, ground) for method in explained.methods)
    return (
        "<h2>Other methods</h2><p>Each on its own scale. The number is the rank correlation with "
        f'occlusion on this face.</p><div class="row">{shown}</div>'
    )


def method_figure(method: MethodMap, ground: RGBImage) -> str:
    """Return one method's map, or where it is already to be seen."""
    name = method.method.name
    if method.same_as:
        return f"<figure><p><b>{name}</b>: the same map as {method.same_as}.</p></figure>"
    rgba = method_rgba(method, SIDE)
    caption = f"{name}: {method.agreement:+.2f}; forward passes beyond the first: "
    return figure(blend(ground, rgba, 0.75), caption + method.method.cost)


def method_rgba(method: MethodMap, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a method's map in colours, on a scale of its own; no colour if nothing speaks for it.

    Units differ between methods, so each map's strongest cell, for or against, is full colour.
    """
    top = float(np.abs(method.map).max()) or 1.0
    scale = top * method.map.size
    return map_rgba(method.map, origin=method.origin, step=method.step, scale=scale, size=size)
