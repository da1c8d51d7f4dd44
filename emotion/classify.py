"""Feature maps to predictions."""

from collections.abc import Sequence

import torch

from emotion.model import EmotionModel
from emotion.preprocess import Crop
from emotion.results import Prediction


def classify(model: EmotionModel, crops: Sequence[Crop]) -> tuple[Prediction, ...]:
    """Say which emotion each crop shows; all crops go through the network together.

    Args:
        model: shared, not changed.
        crops: N arrays (S, S, 3) or (S, S) uint8, aligned faces.
    """
    return predictions(model, model.features(crops))


def predictions(model: EmotionModel, features: torch.Tensor) -> tuple[Prediction, ...]:
    """Pool feature maps (N, K, h, w) and apply the head; one prediction per face.

    Each has the model's ``set_threshold``, from which its candidates follow.
    """
    spec = model.spec
    with torch.inference_mode():
        logits = features.mean((2, 3)) @ model.weight.T + model.bias
        probabilities = logits.softmax(1)
    return tuple(
        Prediction(
            labels=spec.labels, logits=row, probabilities=p, set_threshold=spec.set_threshold
        )
        for row, p in zip(logits.cpu().numpy(), probabilities.cpu().numpy(), strict=True)
    )
