"""Figures of explanations that change the face and ask again: hidden, deleted, moved, proven."""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from emotion.evidence import share_by_region, spread
from emotion.faithfulness import INFILLS, SIDE, VERDICTS, hide, prove_crop
from emotion.images import RGBImage
from emotion.model import EmotionModel
from emotion.regions import OUTSIDE, REGIONS
from emotion.results import Explanation, FloatArray
from train.explained import Explained, ask, mean_and_interval, second_labels, spearman_rows

DELETED = 20
"""Steps in which a face is deleted."""
UNSEEN = ("noise", "foreign")
"""Ways to hide a part that are not among those a network is trained with (:mod:`train.parts`)."""
FACE_PARTS = [i for i in range(len(REGIONS)) if i != OUTSIDE]


def region_figures(model: EmotionModel, seen: Explained) -> dict[str, Any]:
    """Correlate each region's evidence with the fall of the logit when the region is hidden."""
    origin, step = model.spec.grid_on_crop()
    masks = seen.regions[:, None] == np.arange(len(REGIONS), dtype=np.uint8)[:, None, None]
    evidence = np.stack(
        [
            share_by_region(maps, mask, origin=origin, step=step)
            for maps, mask in zip(seen.maps, masks, strict=True)
        ]
    )[:, :, FACE_PARTS]
    rows = np.arange(len(seen.labels))
    own = evidence[rows, seen.labels]
    guesses = {
        "evidence": own,
        "area": masks[:, FACE_PARTS].sum((2, 3)).astype(np.float32),
        "centre": np.stack([(gaussian() * m).sum((1, 2)) for m in masks[:, FACE_PARTS]]),
        "another_label": evidence[rows, second_labels(seen.logits)],
    }
    out: dict[str, Any] = {}
    for infill in (*INFILLS, *UNSEEN):
        drops = region_drops(model, seen, masks, infill)
        scores = {name: spearman_rows(values, drops) for name, values in guesses.items()}
        out[infill] = {name: mean_and_interval(values) for name, values in scores.items()} | {
            f"above_{name}": mean_and_interval(scores["evidence"] - scores[name])
            for name in scores
            if name != "evidence"
        }
    return out


def region_drops(
    model: EmotionModel, seen: Explained, masks: NDArray[np.bool_], infill: str
) -> FloatArray:
    """Return by how much each face's logit falls when a region of it is hidden, (N, 10)."""
    others = [*seen.crops[1:], seen.crops[0]]
    crops = [
        fill(crop, mask[part], infill, other)
        for crop, mask, other in zip(seen.crops, masks, others, strict=True)
        for part in FACE_PARTS
    ]
    logits = ask(model, crops)[0].reshape(len(seen.crops), len(FACE_PARTS), -1)
    rows = np.arange(len(seen.labels))
    out: FloatArray = seen.logits[rows, seen.labels][:, None] - logits[rows, :, seen.labels]
    return out


def fill(crop: RGBImage, mask: NDArray[np.bool_], infill: str, other: RGBImage) -> RGBImage:
    """Hide a part of a face, also in the two ways that no network of ours was trained with.

    Args:
        infill: one of :data:`emotion.faithfulness.INFILLS`; ``noise`` with the face's own mean and
            spread; or ``foreign``, the pixels of another face.
        other: that face.
    """
    if infill in INFILLS:
        return hide(crop, mask, infill)
    out = crop.copy()
    if infill == "foreign":
        out[mask] = other[mask]
        return out
    rng = np.random.default_rng(int(mask.sum()))
    grey = rng.normal(crop.mean(), crop.std(), int(mask.sum())).clip(0, 255)
    out[mask] = grey[:, None].astype(np.uint8)
    return out


def deletion_figures(model: EmotionModel, seen: Explained) -> dict[str, Any]:
    """Delete a face step by step, in the order of a map; a good order ends the answer sooner.

    Returns:
        The area under the curve of the probability, of three orders: the evidence, a Gaussian in
        the middle, and random blobs as smooth as the evidence.
    """
    origin, step = model.spec.grid_on_crop()
    rng = np.random.default_rng(0)
    shape = seen.maps.shape[2:]
    orders = {
        "evidence": [spread(m, SIDE, origin=origin, step=step) for m in seen.chosen()],
        "centre": [gaussian()] * len(seen.crops),
        "blobs": [
            spread(rng.normal(size=shape).astype(np.float32), SIDE, origin=origin, step=step)
            for _ in seen.crops
        ],
    }
    areas = {name: deletion_areas(model, seen, maps) for name, maps in orders.items()}
    return {name: mean_and_interval(values) for name, values in areas.items()} | {
        f"below_{name}": mean_and_interval(areas[name] - areas["evidence"])
        for name in ("centre", "blobs")
    }


def deletion_areas(
    model: EmotionModel, seen: Explained, maps: Sequence[NDArray[np.floating[Any]]]
) -> NDArray[np.float64]:
    """Return the area under each face's curve of deletion, (N,) in [0, 1]."""
    out = []
    for crop, label, order in zip(seen.crops, seen.labels, maps, strict=True):
        blurred = cv2.GaussianBlur(crop, (0, 0), SIDE / 12)
        ranks = rankdata(-order.ravel(), method="ordinal").reshape(order.shape) - 1
        steps = [
            np.where((ranks < order.size * i / DELETED)[..., None], blurred, crop)
            for i in range(DELETED + 1)
        ]
        logits = torch.from_numpy(ask(model, steps)[0])
        shares = logits.softmax(1)[:, int(label)].numpy()
        out.append(float(np.trapezoid(shares, dx=1 / DELETED)))
    return np.array(out)


def stability(model: EmotionModel, seen: Explained) -> dict[str, Any]:
    """Compare maps of a face and of the same face changed a little, where the answer stays."""
    out: dict[str, Any] = {}
    for name, change in CHANGES.items():
        logits, maps = ask(model, [change(crop) for crop in seen.crops])
        same = np.flatnonzero(logits.argmax(1) == seen.labels)
        changed = maps[same, seen.labels[same]]
        if name == "flip":
            changed = changed[:, :, ::-1]
        flat = [m.reshape(len(same), -1) for m in (seen.chosen()[same], changed)]
        values = spearman_rows(*flat)
        out[name] = mean_and_interval(values) | {"same_answer": len(same) / len(seen.labels)}
    return out


def proof_shares(model: EmotionModel, seen: Explained) -> dict[str, float]:
    """Return how often the proof under a map, as the app shows it, has each verdict."""
    origin, step = model.spec.grid_on_crop()
    count = dict.fromkeys(VERDICTS, 0)
    rows = zip(seen.crops, seen.regions, seen.maps, seen.logits, seen.labels, strict=True)
    for crop, regions, maps, logits, row in rows:
        explanation = Explanation(
            labels=model.spec.labels,
            evidence=maps,
            bias=model.bias.cpu().numpy(),
            regions=(),
            region_evidence=np.zeros((len(maps), 0), np.float32),
            grid_origin=origin,
            grid_step=step,
            scale=model.spec.evidence_scale,
        )
        proof = prove_crop(
            model,
            crop,
            explanation,
            inside=regions != OUTSIDE,
            label=model.spec.labels[row],
            before=float(torch.from_numpy(logits).softmax(0)[int(row)]),
        )
        count[proof.verdict] += 1
    return {verdict: n / len(seen.crops) for verdict, n in count.items()}


def cropped(crop: RGBImage, share: float) -> RGBImage:
    """Return a crop cut narrower (above 0) or wider (below 0) by a share of its side."""
    scale = 1 / (1 - share)
    matrix = cv2.getRotationMatrix2D((SIDE / 2 - 0.5, SIDE / 2 - 0.5), 0, scale)
    out = cv2.warpAffine(crop, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.uint8)


def lit(crop: RGBImage, factor: float) -> RGBImage:
    """Return a crop brighter or darker by a factor."""
    return np.clip(crop * factor, 0, 255).round().astype(np.uint8)


def jpeg(crop: RGBImage, quality: int = 75) -> RGBImage:
    """Return a crop after JPEG."""
    _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


CHANGES: dict[str, Callable[[RGBImage], RGBImage]] = {
    "flip": lambda crop: np.ascontiguousarray(crop[:, ::-1]),
    "crop_narrower": lambda crop: cropped(crop, 0.03),
    "crop_wider": lambda crop: cropped(crop, -0.03),
    "brighter": lambda crop: lit(crop, 1.1),
    "darker": lambda crop: lit(crop, 0.9),
    "jpeg": jpeg,
}


def gaussian(width: float = 0.25) -> FloatArray:
    """Return a Gaussian in the middle of a crop, (96, 96), of sum 1."""
    place = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    bell = np.exp(-0.5 * (place / width) ** 2)
    out: FloatArray = (np.outer(bell, bell) / bell.sum() ** 2).astype(np.float32)
    return out
