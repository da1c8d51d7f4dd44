"""One epoch of training: batches, changes to them, the loss, and steps."""

import contextlib
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from emotion.errors import EmotionError
from emotion.labels import FERPLUS
from emotion.weights import ModelSpec
from train.augment import blend, build_degradation, build_framing
from train.batches import batches, enlarge, epoch_order, seed_of
from train.config import FitConfig
from train.datasets import FaceDataset
from train.journal import Clock
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
    learner: Learner, *, faces: FaceDataset, spec: ModelSpec, run: Run, epoch: int, clock: Clock
) -> float:
    """Train one epoch and return its mean loss.

    Raises:
        DivergenceError: the loss is not a number any more.
    """
    config, device = run.config, run.device
    # All randomness of an epoch follows from its number, so a resumed run repeats it exactly.
    torch.manual_seed(seed_of(config, epoch))
    degrade, frame = build_degradation(config).to(device), build_framing(config).to(device)
    mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, device=device).view(1, 3, 1, 1)
    learner.network.train()
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
    for step, (images, targets) in enumerate(bar):
        now = epoch + step / steps
        for group in learner.optimizer.param_groups:
            group["lr"] = learning_rate(config, now) * group.get("lr_scale", 1.0)
        x = enlarge(degrade(images.to(device)).clamp(0, 1), spec)
        x = frame(x).expand(-1, 3, -1, -1)
        x, y = blend((x - mean) / std, targets.to(device), config)
        losses.append(train_step(learner, x, y, run=run, step=epoch * steps + step))
        if not math.isfinite(losses[-1]):
            raise DivergenceError(
                f"the loss became {losses[-1]} in epoch {epoch + 1}, step {step + 1} of {steps}; "
                "start again with a lower --lr, or a --clip such as 1"
            )
        bar.set_postfix_str(f"loss {np.mean(losses[-50:]):.3f}, {clock.left(now)}", refresh=False)
    return run.processes.mean(float(np.mean(losses)))


def train_step(learner: Learner, x: torch.Tensor, y: torch.Tensor, *, run: Run, step: int) -> float:
    """Learn from one batch, of which each process takes its part; return the loss of the part.

    Args:
        x: (N, 3, S, S) float32, normalised. y: (N, K) float32.
        step: its number since the start of the run.
    """
    config, processes = run.config, run.processes
    part = processes.part(len(x))
    scale = (part.stop - part.start) * processes.count / len(x)
    faces = x[part].contiguous(memory_format=torch.channels_last)
    targets = taught(learner, faces, y[part], run)
    with autocast(run), processes.own_randomness(step, run.device):
        logits = learner.shared(faces)
    loss = loss_of(logits, targets, config) * scale
    learner.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if config.clip:
        nn.utils.clip_grad_norm_(learner.network.parameters(), config.clip)
    learner.optimizer.step()
    learner.ema.update(learner.network, step=step)
    return loss.item()
