"""Figures of explanations that compare maps: with another formula, another answer, the face."""

import numpy as np
import torch

from emotion.cam import CamExplainer
from emotion.evidence import spread
from emotion.faithfulness import SIDE
from emotion.model import EmotionModel
from emotion.regions import OUTSIDE
from train.explained import BATCH, Explained, second_labels, spearman_rows

SEEDS = 20
"""Classifiers drawn at random."""


def exactness(model: EmotionModel, seen: Explained) -> dict[str, float]:
    """Compare all labels' evidence with the grad-cam package's maps, and its sum with the logit."""
    explainer, worst = CamExplainer(model), 0.0
    for crop, maps in zip(seen.crops, seen.maps, strict=True):
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


def inside_share(model: EmotionModel, seen: Explained) -> dict[str, float]:
    """Return how much of the positive evidence lies on the face, and how much of the crop it is."""
    origin, step = model.spec.grid_on_crop()
    inside = seen.regions != OUTSIDE
    shares = []
    for evidence, face in zip(seen.chosen(), inside, strict=True):
        laid = np.maximum(spread(evidence, SIDE, origin=origin, step=step), 0)
        shares.append(float(laid[face].sum() / max(laid.sum(), 1e-9)))
    return {"evidence": float(np.mean(shares)), "face": float(inside.mean())}
