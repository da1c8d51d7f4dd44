"""One epoch of training: batches, changes to them, the loss, and steps."""

import contextlib
import math
from typing import Any, NamedTuple

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


class Changes(NamedTuple):
    """What happens to a batch, in this order."""

    degrade: nn.Module
    recut: nn.Module
    frame: nn.Module


def changed(
    images: torch.Tensor,
    parts: NDArray[np.uint8] | None,
    changes: Changes,
    *,
    spec: ModelSpec,
    whole: bool,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Change a batch of faces, each its own way.

    Args:
        images: (N, C, s, s) float32 in [0, 1], as large as the source.
        parts: (N, s, s) numbers of their regions, to hide some of each grey face; or None.
        whole: also return the faces as they were before another cut.

    Returns:
        The faces, (N, C, S, S) as large as the input; with ``parts`` (2N, 1, S, S), the second half
        with a part hidden. Which part, (N, S, S), or None. The faces before another cut and
        otherwise changed alike, (N, C, S, S), or None.
    """
    faces = changes.degrade(images).clamp(0, 1)
    x = faces if parts is None else with_hidden(faces, parts)
    channels = x.shape[1]
    x = changes.recut(x)
    if whole:  # as channels of one picture, what turns and moves it keeps them in step
        x = torch.cat([x, faces], 1)
    x = changes.frame(enlarge(x, spec))
    view = x[:, channels:] if whole else None
    if parts is None:
        return x[:, :channels], None, view
    return torch.cat([x[:, :1], x[:, 1:2]]), (x[:, 2] > 0.5).float(), view


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
    changes = Changes(
        build_degradation(config).to(device), build_recut(config), build_framing(config).to(device)
    )
    # What is lost by another cut is known to a teacher that sees the face as it was; of mixed faces
    # there is no such picture.
    whole = learner.teacher is not None and config.recut > 0
    whole = whole and not (config.mixup or config.cutmix)
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
        hidden = None if parts is None else parts[index]
        x, masks, view = changed(images.to(device), hidden, changes, spec=spec, whole=whole)
        x, y = blend((x.expand(-1, 3, -1, -1) - mean) / std, targets.to(device), config)
        if view is not None:
            view = (view.expand(-1, 3, -1, -1) - mean) / std
        losses.append(
            train_step(learner, x, y, masks, view, spec=spec, run=run, step=epoch * steps + step)
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
    view: torch.Tensor | None = None,
    *,
    spec: ModelSpec,
    run: Run,
    step: int,
) -> float:
    """Learn from one batch, of which each process takes its part; return the loss of the part.

    Args:
        x: (N, 3, S, S) float32, normalised; with ``masks`` (2N, 3, S, S), the second half with a
            part hidden. y: (N, K) float32. masks: (N, S, S) float32, which part.
        view: (N, 3, S, S), likewise, what a teacher sees; by default the first N of ``x``.
        step: its number since the start of the run.
    """
    config, processes = run.config, run.processes
    part = processes.part(len(y))
    scale = (part.stop - part.start) * processes.count / len(y)
    faces = torch.cat([half[part] for half in torch.split(x, len(y))])
    faces = faces.contiguous(memory_format=torch.channels_last)
    count = part.stop - part.start
    targets = taught(learner, faces[:count] if view is None else view[part], y[part], run)
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
