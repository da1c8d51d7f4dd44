"""One epoch of training: batches, changes to them, the loss, and steps."""

import contextlib
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from emotion.errors import EmotionError
from emotion.labels import FERPLUS
from emotion.weights import ModelSpec
from train.augment import blend, build_degradation, build_framing, build_recut
from train.batches import batches, enlarge, epoch_order, seed_of
from train.config import FitConfig
from train.datasets import FaceDataset
from train.journal import Clock
from train.parts import unfaithfulness, with_hidden
from train.run import Learner, Run


class DivergenceError(EmotionError):
    """A loss that is not a number any more."""


def learning_rate(config: FitConfig, epoch: float) -> float:
    """Return the rate at a point of the run: linear warm-up, then a cosine to zero."""
    if epoch < config.warmup:
        return config.lr * (epoch + 1e-3) / config.warmup
    progress = (epoch - config.warmup) / max(config.epochs - config.warmup, 1e-9)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def loss_of(logits: torch.Tensor, targets: torch.Tensor, config: FitConfig) -> torch.Tensor:
    """Cross-entropy of both label sets; a row of zeros in the targets costs nothing."""
    total = torch.zeros((), device=logits.device)
    weights = (1.0, config.fer2013)
    for part, weight in zip(label_sets(config, logits.shape[1]), weights, strict=False):
        wanted = targets[:, part]
        spread = config.label_smoothing * wanted.sum(1, keepdim=True) / wanted.shape[1]
        wanted = (1 - config.label_smoothing) * wanted + spread
        per_face = -(wanted * F.log_softmax(logits[:, part].float(), 1)).sum(1)
        total = total + weight * per_face.mean()
    return total


def label_sets(config: FitConfig, outputs: int) -> tuple[slice, ...]:
    """Return which outputs belong to which label set: the main one, and FER2013's if it counts."""
    if not config.fer2013:
        return (slice(0, outputs),)
    return slice(0, len(FERPLUS)), slice(len(FERPLUS), outputs)


def taught(learner: Learner, x: torch.Tensor, y: torch.Tensor, run: Run) -> torch.Tensor:
    """Return targets of which the teacher's answers are a part; unlabelled faces stay so.

    Args:
        x: (N, 3, S, S) float32, as the network gets them. y: (N, K) float32.

    Source: Hinton et al., arXiv:1503.02531; that teacher and learner see the same changed face
    is from Beyer et al., CVPR 2022, arXiv:2106.05237.
    """
    if learner.teacher is None:
        return y
    with torch.no_grad(), autocast(run):
        logits = learner.teacher(x)
    share, mixed = run.config.distil, y.clone()
    for part in label_sets(run.config, y.shape[1]):
        known = y[:, part].sum(1, keepdim=True)
        answers = known * F.softmax(logits[:, part].float(), 1)
        mixed[:, part] = (1 - share) * y[:, part] + share * answers
    return mixed


def autocast(run: Run) -> contextlib.AbstractContextManager[Any]:
    """bf16 where the device has it and the config wants it; its range needs no loss scaling."""
    half = run.config.precision == "bf16" and run.device.type in ("cuda", "cpu")
    return torch.autocast(run.device.type, torch.bfloat16, enabled=half)


def train_epoch(
    learner: Learner,
    *,
    faces: FaceDataset,
    parts: NDArray[np.uint8] | None,
    spec: ModelSpec,
    run: Run,
    epoch: int,
    clock: Clock,
) -> float:
    """Train one epoch and return its mean loss.

    Args:
        parts: (N, s, s) numbers of the regions of each face, with ``config.faithful``.

    Raises:
        DivergenceError: the loss is not a number any more.
    """
    config, device = run.config, run.device
    # All randomness of an epoch follows from its number, so a resumed run repeats it exactly.
    torch.manual_seed(seed_of(config, epoch))
    degrade, frame = build_degradation(config).to(device), build_framing(config).to(device)
    recut = build_recut(config)
    mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, device=device).view(1, 3, 1, 1)
    set_training(learner.network, config)
    order = epoch_order(faces, config, epoch)
    steps = max(len(order) // config.batch_size, 1)
    losses: list[float] = []
    bar = tqdm(
        batches(faces, spec, config, order),
        total=steps,
        desc=f"epoch {epoch + 1}/{config.epochs}",
        mininterval=5,
        disable=not run.processes.first,
    )
    for step, (index, images, targets) in enumerate(bar):
        now = epoch + step / steps
        for group in learner.optimizer.param_groups:
            group["lr"] = learning_rate(config, now) * group.get("lr_scale", 1.0)
        x, masks = degrade(images.to(device)).clamp(0, 1), None
        if parts is not None:
            x = with_hidden(x, parts[index])
        x = frame(enlarge(recut(x), spec))
        if parts is not None:
            x, masks = torch.cat([x[:, :1], x[:, 1:2]]), (x[:, 2] > 0.5).float()
        x, y = blend((x.expand(-1, 3, -1, -1) - mean) / std, targets.to(device), config)
        losses.append(
            train_step(learner, x, y, masks, spec=spec, run=run, step=epoch * steps + step)
        )
        if not math.isfinite(losses[-1]):
            raise DivergenceError(
                f"the loss became {losses[-1]} in epoch {epoch + 1}, step {step + 1} of {steps}; "
                "start again with a lower --lr, or a --clip such as 1"
            )
        bar.set_postfix_str(f"loss {np.mean(losses[-50:]):.3f}, {clock.left(now)}", refresh=False)
    return run.processes.mean(float(np.mean(losses)))


def set_training(network: nn.Module, config: FitConfig) -> None:
    """Prepare a network for learning.

    Faces with a hidden part would spoil the statistics by which whole ones are normalised, so with
    ``config.faithful`` the norms keep theirs.
    """
    network.train()
    if config.faithful:
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def train_step(
    learner: Learner,
    x: torch.Tensor,
    y: torch.Tensor,
    masks: torch.Tensor | None = None,
    *,
    spec: ModelSpec,
    run: Run,
    step: int,
) -> float:
    """Learn from one batch, of which each process takes its part; return the loss of the part.

    Args:
        x: (N, 3, S, S) float32, normalised; with ``masks`` (2N, 3, S, S), the second half with a
            part hidden. y: (N, K) float32. masks: (N, S, S) float32, which part.
        step: its number since the start of the run.
    """
    config, processes = run.config, run.processes
    part = processes.part(len(y))
    scale = (part.stop - part.start) * processes.count / len(y)
    faces = torch.cat([half[part] for half in torch.split(x, len(y))])
    faces = faces.contiguous(memory_format=torch.channels_last)
    count = part.stop - part.start
    targets = taught(learner, faces[:count], y[part], run)
    with autocast(run), processes.own_randomness(step, run.device):
        features, logits = learner.shared(faces)
    loss = loss_of(logits[:count], targets, config)
    if masks is not None:
        head = learner.network.get_classifier()  # type: ignore[operator]
        loss = loss + config.faithful * unfaithfulness(features.float(), masks[part], head, spec)
    loss = loss * scale
    learner.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if config.clip:
        nn.utils.clip_grad_norm_(learner.network.parameters(), config.clip)
    learner.optimizer.step()
    learner.ema.update(learner.network, step=step)
    return loss.item()
