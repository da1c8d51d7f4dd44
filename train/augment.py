"""Random changes to a batch of faces, each face its own, on the device that trains.

Two steps, in the order in which they happen to a real face. :func:`build_degradation` works at
the resolution of the source (48 px), where noise, blur and JPEG blocks have their true size;
:func:`build_framing` turns, shifts and covers the enlarged face.

Source: kornia (Riba et al., WACV 2020) for the transforms; mixup is Zhang et al., ICLR 2018;
CutMix is Yun et al., ICCV 2019.
"""

import kornia.augmentation as K
import torch
import torch.nn.functional as F
from torch import nn

from train.config import FitConfig
from train.corruptions import reframe


def build_degradation(config: FitConfig) -> nn.Module:
    """Return what happens to light and sharpness, for (N, 1 or 3, S, S) float32 in [0, 1]."""
    return nn.Sequential(*degradations(config).values())


def build_framing(config: FitConfig) -> nn.Module:
    """Return what happens to place and cover, for (N, 1 or 3, S, S) float32 in [0, 1]."""
    return nn.Sequential(*framings(config).values())


def build_recut(config: FitConfig) -> nn.Module:
    """Return what another cut does to a face, for (N, 1 or 3, S, S) float32 in [0, 1].

    At the resolution of the source, as the degradations, but what is hidden of a face moves along.
    """
    return Recut(p=config.recut)


def degradations(config: FitConfig, *, always: bool = False) -> dict[str, nn.Module]:
    """Return the steps of :func:`build_degradation` by name, in their order.

    Args:
        always: whether each step changes every face, whatever its probability.
    """

    def chance(p: float) -> float:
        return 1.0 if always else p

    light, p = config.light, chance(config.degrade)
    steps: dict[str, nn.Module] = {
        "contrast": K.RandomContrast((1 - light, 1 + light), p=chance(0.5)),
        "brightness": K.RandomBrightness((1 - light, 1 + light), p=chance(0.5)),
        "gamma": K.RandomGamma((1 / (1 + light), 1 + light), p=chance(0.25)),
        "blur": K.RandomGaussianBlur((7, 7), (0.3, 1.6), p=chance(config.blur)),
        "motion blur": K.RandomMotionBlur((3, 7), 90.0, 0.5, border_type="replicate", p=p),
        "low resolution": LowResolution(p=p),
        "noise": K.RandomGaussianNoise(std=0.06, p=p),
    }
    # A step that is left out draws no random number, so runs without it stay as they were.
    if always or config.denoise:
        steps["noise reduction"] = K.RandomMedianBlur((3, 3), p=chance(config.denoise))
    steps["JPEG"] = JpegBlocks(p=p)
    return steps


def framings(config: FitConfig, *, always: bool = False) -> dict[str, nn.Module]:
    """Return the steps of :func:`build_framing` by name, in their order.

    Args:
        always: whether each step changes every face, whatever its probability.
    """

    def chance(p: float) -> float:
        return 1.0 if always else p

    zoom = config.zoom
    return {
        "flip": K.RandomHorizontalFlip(p=chance(0.5)),
        "rotation, shift, zoom": K.RandomAffine(
            degrees=config.rotation,
            translate=(config.shift, config.shift),
            scale=(1 / (1 + zoom), 1 + zoom),
            padding_mode="border",
            p=chance(0.9),
        ),
        "cut-out": K.RandomErasing((0.02, 0.2), (0.4, 2.5), value=0.5, p=chance(config.erase)),
        "cover": Cover(p=chance(config.cover)),
    }


class LowResolution(nn.Module):
    """Reduce some faces of a batch to between a third and two thirds, and enlarge them again."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        chosen = torch.rand(len(images), device=images.device) < self.p
        if not bool(chosen.any()):
            return images
        side = images.shape[-1]
        small = int(side * (0.33 + 0.33 * torch.rand(()).item()))
        reduced = F.interpolate(images[chosen], (small, small), mode="area")
        images = images.clone()
        images[chosen] = F.interpolate(reduced, (side, side), mode="bicubic").clamp(0, 1)
        return images


class JpegBlocks(nn.Module):
    """JPEG's loss for some faces of a batch, at one quality from 15 to 60 each."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.jpeg = K.RandomJPEG((15.0, 60.0), p=1.0)
        self.p = p

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        chosen = torch.rand(len(images), device=images.device) < self.p
        if not bool(chosen.any()):
            return images
        part = images[chosen].clamp(0, 1)
        # The transform wants three channels, and sides that 16 divides.
        rest = -images.shape[-1] % 16
        coloured = F.pad(part.expand(-1, 3, -1, -1), (0, rest, 0, rest), mode="replicate")
        side, channels = images.shape[-1], images.shape[1]
        images = images.clone()
        images[chosen] = self.jpeg(coloured)[:, :channels, :side, :side]
        return images


class Recut(nn.Module):
    """Cut some faces anew, from 0.68 to 1.35 times as large and moved by up to a tenth.

    Zooming the enlarged face keeps all of its detail; a smaller face in a crop of the same number
    of pixels has less. That is what happens where a detector frames faces more widely.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not self.p:
            return images  # and draw no number: runs without it stay as they were
        images = images.clone()
        for i in torch.nonzero(torch.rand(len(images)) < self.p).flatten().tolist():
            size, right, down = torch.rand(3).tolist()
            zoom = 0.68 * (1.35 / 0.68) ** size
            face = images[i].mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
            face = face[..., 0] if face.shape[2] == 1 else face
            cut = torch.from_numpy(reframe(face, zoom, 0.2 * right - 0.1, 0.2 * down - 0.1))
            cut = cut[None] if cut.ndim == 2 else cut.permute(2, 0, 1)
            images[i] = cut.to(images.device) / 255
        return images


class Cover(nn.Module):
    """Cover the upper or the lower part of some faces, up to a half, with one grey each."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = images.clone()
        side = images.shape[-1]
        for i in torch.nonzero(torch.rand(len(images)) < self.p).flatten().tolist():
            height = int(side * (0.2 + 0.3 * torch.rand(()).item()))
            upper = bool(torch.rand(()) < 0.5)
            rows = slice(0, height) if upper else slice(side - height, side)
            images[i, :, rows] = torch.rand((), device=images.device)
        return images


def blend(
    images: torch.Tensor, targets: torch.Tensor, config: FitConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each face with another one of its batch, and their targets alike.

    Args:
        images: (N, C, S, S). targets: (N, K). config: its ``mixup`` and ``cutmix`` count.
    """
    ways = [way for way, alpha in ((mixup, config.mixup), (cutmix, config.cutmix)) if alpha > 0]
    if not ways:
        return images, targets
    way = ways[int(torch.randint(len(ways), ()))]
    return way(images, targets, config.mixup if way is mixup else config.cutmix)


def mixup(
    images: torch.Tensor, targets: torch.Tensor, alpha: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each face with another one of its batch, by a share from a beta distribution.

    Args:
        images: (N, C, S, S). targets: (N, K).
        alpha: of the symmetric beta distribution that draws the share; 0 for no change.
    """
    if alpha <= 0:
        return images, targets
    return overlay(images, targets, torch.distributions.Beta(alpha, alpha).sample().item())


def cutmix(
    images: torch.Tensor, targets: torch.Tensor, alpha: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put a box of another face of the batch into each face, its area from a beta distribution.

    Args:
        images: (N, C, S, S). targets: (N, K).
        alpha: of the symmetric beta distribution that draws the share; 0 for no change.
    """
    if alpha <= 0:
        return images, targets
    return paste(images, targets, torch.distributions.Beta(alpha, alpha).sample().item())


def overlay(
    images: torch.Tensor, targets: torch.Tensor, share: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return faces and targets of which ``share`` is their own, the rest another face's."""
    other = torch.randperm(len(images), device=images.device)
    return (
        share * images + (1 - share) * images[other],
        share * targets + (1 - share) * targets[other],
    )


def paste(
    images: torch.Tensor, targets: torch.Tensor, share: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return faces that keep about ``share`` of their area, with targets by the true areas."""
    side = images.shape[-1]
    width = int(side * (1 - share) ** 0.5)
    top, left = torch.randint(side - width + 1, (2,)).tolist()
    other = torch.randperm(len(images), device=images.device)
    box = (slice(None), slice(None), slice(top, top + width), slice(left, left + width))
    mixed = images.clone()
    mixed[box] = images[other][box]
    kept = 1 - width * width / side**2
    return mixed, kept * targets + (1 - kept) * targets[other]
