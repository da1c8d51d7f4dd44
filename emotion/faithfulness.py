"""Does the face bear the map out? Hide what the map marks, and as much elsewhere, and look again.

A map says which parts an answer came from. If that is so, the answer must fade when those parts are
hidden, and fade less when an area of the same size and shape is hidden elsewhere on the face. How a
part is hidden matters (a grey patch is news to the model too), so it is done in three ways, and two
of them must agree.

Source: the idea of deletion with a control is that of Petsiuk et al., "RISE", BMVC 2018,
arXiv:1806.07421; why several infills: Rong et al., "ROAD", ICML 2022, arXiv:2202.00449.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from emotion.classify import classify
from emotion.evidence import spread
from emotion.images import RGBImage
from emotion.model import EmotionModel
from emotion.regions import OUTSIDE, crop_landmarks, region_map
from emotion.results import Explanation, FaceResult, label_index, two_digits

Mask = NDArray[np.bool_]

SIDE = 96
"""Side in pixels at which parts are hidden: a crop reduced to it, and then to the model's 48,
differs from one that is reduced at once by rounding alone."""
MOST = 0.2
"""Largest share of the face that is hidden."""
DRAWS = 3
"""Areas elsewhere that are tried; their mean counts."""
INFILLS = ("blur", "mean", "inpaint")
VERDICTS = ("supported", "weak", "contradicted", "nothing to hide")
FADES, TWICE = 0.5, 2.0
"""A map is supported if the logit falls by at least so much, and so many times as much as if
something else is hidden."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What became of an answer when parts were hidden in one way.

    Attributes:
        infill: one of :data:`INFILLS`.
        hidden, elsewhere: probability of the label with the hottest area hidden, and with as much
            hidden elsewhere (the mean over the draws).
        drop, drop_elsewhere: by how much its logit fell, likewise.
    """

    infill: str
    hidden: float
    elsewhere: float
    drop: float
    drop_elsewhere: float

    @property
    def verdict(self) -> str:
        """``supported``, ``weak`` or ``contradicted``, by this infill alone."""
        if max(self.drop, self.drop_elsewhere) < FADES:
            return "weak"  # neither is missed: the rest of the face says as much
        if self.drop <= self.drop_elsewhere:
            return "contradicted"
        fades = self.drop >= max(FADES, TWICE * self.drop_elsewhere)
        return "supported" if fades else "weak"


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """A map put to the test on its own face.

    Attributes:
        label: whose map. before: its probability with nothing hidden.
        area: share of the face that the hottest area takes.
        mask: (96, 96) bool, that area. others: (D, 96, 96) bool, the areas elsewhere.
        trials: one for each of :data:`INFILLS`; none where there is nothing to hide.
        pictures: (2, 96, 96, 3) uint8 RGB: the face with the hottest area blurred, and with an area
            elsewhere blurred; empty where there is nothing to hide.
    """

    label: str
    before: float
    area: float
    mask: Mask
    others: Mask
    trials: tuple[Trial, ...]
    pictures: NDArray[np.uint8]

    @property
    def verdict(self) -> str:
        """One of :data:`VERDICTS`: what at least two infills say, ``weak`` where none do."""
        if not self.trials:
            return "nothing to hide"
        said = [trial.verdict for trial in self.trials]
        return next((v for v in VERDICTS if said.count(v) >= 2), "weak")

    @property
    def sentence(self) -> str:
        """What was done, what came of it in probability and logit, and what that means."""
        if not self.trials:
            return f"No part of the face speaks for {self.label}, so there is nothing to hide."
        trial = self.typical
        before = two_digits(self.before)
        return (
            f"Hide what the map marks ({self.area:.0%} of the face): {before} → "
            f"{two_digits(trial.hidden)} (logit {-trial.drop:+.1f}). Hide as much elsewhere: "
            f"{before} → {two_digits(trial.elsewhere)} (logit {-trial.drop_elsewhere:+.1f}). "
            f"{PLAIN[self.verdict]}"
        )

    @property
    def typical(self) -> Trial:
        """The trial whose fall of the logit is the middle one of the three."""
        return sorted(self.trials, key=lambda trial: trial.drop)[len(self.trials) // 2]


PLAIN = {
    "supported": "The map is supported: what it marks is what the answer misses most.",
    "weak": "The map is weakly supported: the rest of the face nearly suffices for the answer.",
    "contradicted": "The map is contradicted: other parts mattered as much.",
}


def prove(model: EmotionModel, face: FaceResult, label: str | None = None) -> Proof:
    """Put the map of a label to the test; one batch of twelve small faces.

    Args:
        model: that gave the result. face: as the pipeline returned it.
        label: by default the most probable one.

    Returns:
        The same for the same face and model: what is drawn is drawn from the face itself.

    Raises:
        ValueError: no such label.
    """
    label = label or face.prediction.label
    row = label_index(face.prediction.labels, label)
    crop = np.asarray(cv2.resize(face.crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    inside = region_map(crop_landmarks(face.face, face.to_crop), SIDE) != OUTSIDE
    before = float(face.prediction.probabilities[row])
    return prove_crop(model, crop, face.explanation, inside=inside, label=label, before=before)


def prove_crop(
    model: EmotionModel,
    crop: RGBImage,
    explanation: Explanation,
    *,
    inside: Mask,
    label: str,
    before: float,
) -> Proof:
    """Put a map to the test on a crop.

    Args:
        crop: (96, 96, 3) uint8 RGB. explanation: of it. inside: (96, 96) bool, the face.
        label: whose map. before: its probability with nothing hidden.

    Raises:
        ValueError: no such label.
    """
    row = label_index(explanation.labels, label)
    mask = hottest(explanation, label, inside)
    if not mask.any():
        none = np.zeros((0, SIDE, SIDE), bool)
        return Proof(label, before, 0.0, mask, none, (), np.zeros((0, SIDE, SIDE, 3), np.uint8))
    others = elsewhere(mask, inside)
    masks = [mask, *others]
    crops = [hide(crop, m, infill) for infill in INFILLS for m in masks]
    answers = classify(model, [crop, *crops])
    logit = float(answers[0].logits[row])
    trials = []
    for i, infill in enumerate(INFILLS):
        part = answers[1 + i * len(masks) : 1 + (i + 1) * len(masks)]
        logits = [float(answer.logits[row]) for answer in part]
        shares = [float(answer.probabilities[row]) for answer in part]
        trials.append(
            Trial(
                infill=infill,
                hidden=shares[0],
                elsewhere=float(np.mean(shares[1:])),
                drop=logit - logits[0],
                drop_elsewhere=logit - float(np.mean(logits[1:])),
            )
        )
    return Proof(
        label=label,
        before=before,
        area=float(mask.sum() / inside.sum()),
        mask=mask,
        others=np.stack(others),
        trials=tuple(trials),
        pictures=np.stack(crops[:2]),
    )


def hottest(explanation: Explanation, label: str, inside: Mask) -> Mask:
    """Return where the evidence for a label is strongest.

    Args:
        inside: (S, S) bool, the face.

    Returns:
        (S, S) bool: pixels of the face with evidence for the label, the strongest first, up to
        :data:`MOST` of the face; none where nothing speaks for it.
    """
    row = label_index(explanation.labels, label)
    laid = spread(
        explanation.evidence[row],
        len(inside),
        origin=explanation.grid_origin,
        step=explanation.grid_step,
    )
    values = np.where(inside & (laid > 0), laid, 0)
    count = min(int(MOST * inside.sum()), int((values > 0).sum()))
    mask = np.zeros(inside.size, bool)
    mask[np.argsort(-values.ravel(), kind="stable")[:count]] = True
    return mask.reshape(inside.shape)


def elsewhere(mask: Mask, inside: Mask, draws: int = DRAWS) -> list[Mask]:
    """Return the same shape at other places of the face, turned by quarters and moved.

    Of all places those are taken that lie within the face and apart from the shape itself, as far
    as that is possible; among the best, some that differ are drawn, always the same for one face.
    """
    candidates: list[tuple[float, Mask]] = []
    size, step = int(mask.sum()), max(len(mask) // 16, 1)
    for turns in range(4):
        turned = np.rot90(mask, turns)
        for down in range(-len(mask) // 2, len(mask) // 2 + 1, step):
            for right in range(-len(mask) // 2, len(mask) // 2 + 1, step):
                moved = shift(turned, down, right) & inside
                kept, shared = int(moved.sum()), int((moved & mask).sum())
                candidates.append(((kept - 2 * shared) / size, moved))
    candidates.sort(key=lambda pair: -pair[0])
    best = [m for score, m in candidates if score >= candidates[0][0] - 0.1]
    rng = np.random.default_rng(size)
    chosen = rng.permutation(len(best))[:draws]
    return [best[i] for i in chosen]


def shift(mask: Mask, down: int, right: int) -> Mask:
    """Return a mask moved by whole pixels; what leaves the picture is lost."""
    out = np.zeros_like(mask)
    height, width = mask.shape
    rows = slice(max(down, 0), height + min(down, 0)), slice(max(-down, 0), height + min(-down, 0))
    cols = (
        slice(max(right, 0), width + min(right, 0)),
        slice(max(-right, 0), width + min(-right, 0)),
    )
    out[rows[0], cols[0]] = mask[rows[1], cols[1]]
    return out


def hide(crop: RGBImage, mask: Mask, infill: str) -> RGBImage:
    """Return a crop with a part hidden.

    Args:
        crop: (S, S, 3) uint8 RGB. mask: (S, S) bool, what to hide.
        infill: ``blur`` (a strong blur), ``mean`` (the mean colour of what stays), or ``inpaint``
            (continued from its surroundings).

    Raises:
        ValueError: no such infill, or a mask of another size.

    Source: Telea, "An image inpainting technique based on the fast marching method", 2004.
    """
    if mask.shape != crop.shape[:2]:
        raise ValueError(f"expected a mask {crop.shape[:2]}, got {mask.shape}")
    if infill not in INFILLS:
        raise ValueError(f"no infill {infill!r}; expected one of {', '.join(INFILLS)}")
    if infill == "inpaint":
        return np.asarray(cv2.inpaint(crop, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA), np.uint8)
    out = crop.copy()
    if infill == "blur":
        out[mask] = cv2.GaussianBlur(crop, (0, 0), len(crop) / 12)[mask]
    else:
        rest = crop[~mask] if (~mask).any() else crop.reshape(-1, 3)
        out[mask] = rest.mean(0).round().astype(np.uint8)
    return out
