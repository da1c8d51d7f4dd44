"""Logits for many crops, prepared exactly as the app prepares them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from emotion.preprocess import Crop, preprocess
from emotion.weights import ModelSpec


def predict_logits(
    model: nn.Module,
    crops: Sequence[Crop],
    spec: ModelSpec,
    *,
    device: torch.device,
    batch_size: int = 128,
) -> NDArray[np.float32]:
    """Return the logits (N, K) float32 of N crops.

    Args:
        model: changed to evaluation mode.
    """
    model.eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(crops), batch_size):
            x = preprocess(crops[start : start + batch_size], spec).to(device)
            x = x.contiguous(memory_format=torch.channels_last)
            rows.append(model(x).float().cpu().numpy())
    return np.concatenate(rows) if rows else np.empty((0, len(spec.labels)), np.float32)
