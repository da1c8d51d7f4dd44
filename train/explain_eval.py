"""How far a heatmap can be trusted: the figures of a model's explanations on many faces.

Each face is explained for the emotion that the model names. Every figure compares the map with
what happens when the face is changed, or with a map that knows nothing of the face.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from emotion.cam import CamExplainer
from emotion.evidence import class_evidence, share_by_region, spread
from emotion.faithfulness import INFILLS, SIDE, VERDICTS, hide, prove_crop
from emotion.images import RGBImage
from emotion.model import EmotionModel
from emotion.regions import OUTSIDE, REGIONS
from emotion.results import Explanation, FloatArray
from train.datasets import DataError, FaceDataset
from train.explain_facts import facs_overlap, map_cost
from train.parts import as_rgb, region_numbers

DELETED = 20
"""Steps in which a face is deleted."""
UNSEEN = ("noise", "foreign")
"""Ways to hide a part that are not among those a network is trained with (:mod:`train.parts`)."""
SEEDS = 20
"""Classifiers drawn at random."""
FACE_PARTS = [i for i in range(len(REGIONS)) if i != OUTSIDE]
BATCH = 256


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """Faces and what the model says of them.

    Attributes:
        crops: N of (96, 96, 3) uint8. regions: (N, 96, 96) uint8, numbers of regions.
        logits: (N, C). maps: (N, C, h, w) evidence. labels: (N,) the label that is named.
    """

    crops: list[RGBImage]
    regions: NDArray[np.uint8]
    logits: FloatArray
    maps: FloatArray
    labels: NDArray[np.int64]

    def chosen(self) -> FloatArray:
        """Return the map of each face's own label, (N, h, w)."""
        out: FloatArray = self.maps[np.arange(len(self.maps)), self.labels]
        return out


def explain_eval(model: EmotionModel, faces: FaceDataset, *, limit: int = 500) -> dict[str, Any]:
    """Measure a model's explanations.

    Args:
        faces: of one split; those with a label count, evenly spaced through it.
        limit: how many of them.

    Returns:
        The JSON object of ``python -m train explain-eval``.

    Raises:
        DataError: no face with a label.
    """
    index = np.flatnonzero(faces.labels >= 0)
    if not len(index):
        raise DataError("there is no face with a label to explain")
    index = index[np.linspace(0, len(index) - 1, min(limit, len(index))).astype(int)]
    seen = explained(model, [faces.crops[i] for i in index])
    return {
        "n": len(index),
        **exactness(model, seen),
        "regions": region_figures(model, seen),
        "deletion": deletion_figures(model, seen),
        "random_classifier": random_classifier(model, seen),
        "runner_up": runner_up(seen),
        "stability": stability(model, seen),
        "inside": inside_share(model, seen),
        "proofs": proof_shares(model, seen),
        "facs": facs_overlap(model, seen.chosen(), seen.labels, seen.regions),
        "cost": map_cost(model, seen.crops[0]),
    }


def explained(model: EmotionModel, crops: Sequence[NDArray[np.uint8]]) -> Explained:
    """Enlarge faces, find their regions, and ask the model."""
    small = [as_rgb(crop, SIDE) for crop in crops]
    logits, maps = ask(model, small)
    return Explained(small, region_numbers(crops, SIDE), logits, maps, logits.argmax(1))


def ask(model: EmotionModel, crops: Sequence[RGBImage]) -> tuple[FloatArray, FloatArray]:
    """Return logits (N, C) and evidence maps (N, C, h, w) of crops."""
    maps = [
        class_evidence(model, model.features(crops[start : start + BATCH]))
        for start in range(0, len(crops), BATCH)
    ]
    joined: FloatArray = np.concatenate(maps)
    logits: FloatArray = joined.sum((2, 3)) + model.bias.cpu().numpy()
    return logits, joined


# --- the figures --------------------------------------------------------------------------------


def exactness(model: EmotionModel, seen: Explained, count: int = 8) -> dict[str, float]:
    """Compare the evidence with the grad-cam package's map, and its sum with the logit."""
    explainer, worst = CamExplainer(model), 0.0
    for crop, maps in zip(seen.crops[:count], seen.maps, strict=False):
        for label, own in zip(model.spec.labels, maps, strict=True):
            theirs = np.asarray(explainer.explain(crop, label).map, np.float64)
            worst = max(worst, float(np.abs(theirs - own).max() / np.abs(own).max()))
    gap = 0.0
    for start in range(0, len(seen.crops), BATCH):
        features = model.features(seen.crops[start : start + BATCH])
        with torch.inference_mode():
            pooled = features.mean((2, 3)) @ model.weight.T + model.bias
        logits = pooled.cpu().numpy()
        summed = seen.logits[start : start + BATCH]
        gap = max(gap, float((np.abs(summed - logits) / np.maximum(1, np.abs(logits))).max()))
    return {"gradcam_relative_difference": worst, "sum_relative_difference": gap}


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


def random_classifier(model: EmotionModel, seen: Explained) -> dict[str, float]:
    """Compare maps with those of classifiers drawn at random: they should have nothing in common.

    Source: the parameter randomisation test of Adebayo et al., NeurIPS 2018, arXiv:1810.03292.
    """
    weight = model.weight.cpu()
    spreads, flat = float(weight.std()), seen.chosen().reshape(len(seen.crops), -1)
    features = torch.cat(
        [
            model.features(seen.crops[start : start + BATCH]).cpu()
            for start in range(0, len(seen.crops), BATCH)
        ]
    ).flatten(2)
    means = []
    for seed in range(SEEDS):
        drawn = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)) * spreads
        drawn = drawn - drawn.mean(0, keepdim=True)  # as the model's own head is centred
        maps = torch.einsum("nk,nkp->np", drawn[torch.from_numpy(seen.labels)], features).numpy()
        means.append(float(spearman_rows(flat, maps).mean()))
    return {
        "absolute_mean": float(np.mean(np.abs(means))),
        "mean": float(np.mean(means)),
        "largest": float(np.max(np.abs(means))),
    }


def runner_up(seen: Explained) -> dict[str, float]:
    """Compare the map of the label with that of the runner-up: two answers need two reasons."""
    rows, count = np.arange(len(seen.labels)), len(seen.labels)
    other = seen.maps[rows, second_labels(seen.logits)]
    values = spearman_rows(seen.chosen().reshape(count, -1), other.reshape(count, -1))
    return {"median": float(np.median(values)), "mean": float(values.mean())}


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


def inside_share(model: EmotionModel, seen: Explained) -> dict[str, float]:
    """Return how much of the positive evidence lies on the face, and how much of the crop it is."""
    origin, step = model.spec.grid_on_crop()
    inside = seen.regions != OUTSIDE
    shares = []
    for evidence, face in zip(seen.chosen(), inside, strict=True):
        laid = np.maximum(spread(evidence, SIDE, origin=origin, step=step), 0)
        shares.append(float(laid[face].sum() / max(laid.sum(), 1e-9)))
    return {"evidence": float(np.mean(shares)), "face": float(inside.mean())}


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


# --- small parts --------------------------------------------------------------------------------


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


def second_labels(logits: FloatArray) -> NDArray[np.int64]:
    """Return the second most probable label of each face."""
    return np.argsort(-logits, 1)[:, 1]


def spearman_rows(
    a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Return Spearman's correlation of each row of two (N, M) arrays; 0 where a row is constant."""
    ranks = [rankdata(values, axis=1) for values in (a, b)]
    centred = [r - r.mean(1, keepdims=True) for r in ranks]
    norms = [np.linalg.norm(r, axis=1) for r in centred]
    shared = (centred[0] * centred[1]).sum(1)
    out: NDArray[np.float64] = shared / np.maximum(norms[0] * norms[1], 1e-12)
    return out


def mean_and_interval(values: NDArray[np.floating[Any]]) -> dict[str, float | None]:
    """Return the mean over faces, and its 95 % interval by the normal approximation.

    Without two faces there is no interval; without any, no mean.
    """
    if len(values) < 2:
        return {"mean": float(values[0]) if len(values) else None, "low": None, "high": None}
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    return {"mean": mean, "low": mean - 1.96 * error, "high": mean + 1.96 * error}
