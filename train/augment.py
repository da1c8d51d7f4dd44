"""Random changes to a batch of faces, each face its own, on the device that trains.

Source: kornia (Riba et al., WACV 2020) for the transforms; mixup is Zhang et al., ICLR 2018.
"""

import kornia.augmentation as K
import torch
from torch import nn

from train.config import FitConfig


def build_augmentation(config: FitConfig) -> nn.Module:
    """Return the augmentation of a run, for batches (N, 1 or 3, S, S) float32 in [0, 1]."""
    light, zoom = config.light, config.zoom
    return nn.Sequential(
        K.RandomHorizontalFlip(p=0.5),
        K.RandomAffine(
            degrees=config.rotation,
            translate=(config.shift, config.shift),
            scale=(1 / (1 + zoom), 1 + zoom),
            padding_mode="border",
            p=0.9,
        ),
        K.RandomContrast((1 - light, 1 + light), p=0.5),
        K.RandomBrightness((1 - light, 1 + light), p=0.5),
        K.RandomGamma((1 / (1 + light), 1 + light), p=0.25),
        K.RandomGaussianBlur((9, 9), (0.6, 3.0), p=config.blur),
        K.RandomErasing((0.02, 0.2), (0.4, 2.5), value=0.5, p=config.erase),
    )


def mixup(
    images: torch.Tensor, targets: torch.Tensor, alpha: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend each face with another one of its batch, and their targets alike.

    Args:
        images: (N, C, S, S). targets: (N, K).
        alpha: of the symmetric beta distribution that draws the share; 0 for no change.
    """
    if alpha <= 0:
        return images, targets
    share = torch.distributions.Beta(alpha, alpha).sample().item()
    other = torch.randperm(len(images), device=images.device)
    return (
        share * images + (1 - share) * images[other],
        share * targets + (1 - share) * targets[other],
    )
