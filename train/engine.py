"""The training loop: one epoch, and the run made of epochs that can be killed and goes on."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from timm.utils import ModelEmaV3
from torch import nn
from tqdm import tqdm

from emotion.facenet import FaceNet
from emotion.preprocess import preprocess, resample
from emotion.weights import ModelSpec
from train.augment import build_augmentation, mixup
from train.checkpoint import load_checkpoint, save_checkpoint
from train.config import FitConfig, differences, spec_for
from train.datasets import DataError, FaceDataset
from train.dlib_weights import calibrate, load_pretrained
from train.metrics import accuracy_of
from train.predict import predict_logits


@dataclass(frozen=True, slots=True)
class Run:
    """One run's folder, settings and device.

    Attributes:
        folder: receives ``last.pt`` (weights, settings) and a line of ``history.jsonl`` per epoch.
        config: the settings. device: where to train.
    """

    folder: Path
    config: FitConfig
    device: torch.device

    @property
    def checkpoint(self) -> Path:
        return self.folder / "last.pt"

    @property
    def history(self) -> Path:
        return self.folder / "history.jsonl"


def build_network(config: FitConfig, spec: ModelSpec, faces: FaceDataset) -> nn.Module:
    """Create the network, from pretrained weights if the config says so.

    Raises:
        ValueError: no such architecture.
    """
    if not timm.is_model(config.architecture):
        raise ValueError(f"timm knows no architecture {config.architecture!r}")
    if config.architecture != "dlib_face27":
        network: nn.Module = timm.create_model(
            config.architecture,
            pretrained=config.pretrained,
            num_classes=len(spec.labels),
            drop_rate=config.drop,
        )
        return network
    model = FaceNet(num_classes=len(spec.labels), drop_rate=config.drop)
    if config.pretrained:
        load_pretrained(model)
        chosen = np.linspace(0, len(faces) - 1, min(1024, len(faces))).astype(int)
        batches = [
            preprocess([faces.crops[i] for i in part], spec)
            for part in np.array_split(chosen, max(1, len(chosen) // 64))
        ]
        calibrate(model.eval(), batches)
    head = model.get_classifier()
    if isinstance(head, nn.Linear):
        nn.init.zeros_(head.bias)
        nn.init.normal_(head.weight, std=0.01)
    return model


def learning_rate(config: FitConfig, epoch: float) -> float:
    """Return the rate at a point of the run: linear warm-up, then a cosine to zero."""
    if epoch < config.warmup:
        return config.lr * (epoch + 1e-3) / config.warmup
    progress = (epoch - config.warmup) / max(config.epochs - config.warmup, 1e-9)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def batches(
    faces: FaceDataset, spec: ModelSpec, config: FitConfig, epoch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield shuffled (images, targets): (N, C, S, S) float32 in [0, 1], (N, K) float32."""
    generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
    order = torch.randperm(len(faces), generator=generator).numpy()
    # Batch norm cannot learn from a last batch of one face, so an incomplete one is left out.
    for start in range(0, max(len(order) - config.batch_size, 0) + 1, config.batch_size):
        index = order[start : start + config.batch_size]
        stack = np.stack([resample(faces.crops[i], spec) for i in index])
        images = torch.from_numpy(stack).float().div_(255)
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
        yield images, torch.from_numpy(faces.targets[index])


def autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bf16 where the device has it; its range needs no loss scaling."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type in ("cuda", "cpu"))


def train_epoch(
    model: nn.Module,
    ema: ModelEmaV3,
    optimizer: torch.optim.Optimizer,
    *,
    faces: FaceDataset,
    spec: ModelSpec,
    run: Run,
    epoch: int,
) -> float:
    """Train one epoch and return its mean loss."""
    config, device = run.config, run.device
    # All randomness of an epoch follows from its number, so a resumed run repeats it exactly.
    torch.manual_seed(config.seed * 100_003 + epoch)
    augment = build_augmentation(config).to(device)
    mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, device=device).view(1, 3, 1, 1)
    model.train()
    steps = max(len(faces) // config.batch_size, 1)
    losses = []
    bar = tqdm(
        batches(faces, spec, config, epoch), total=steps, desc=f"epoch {epoch + 1}", mininterval=5
    )
    for step, (images, targets) in enumerate(bar):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, epoch + step / steps)
        x = augment(images.to(device)).clamp(0, 1).expand(-1, 3, -1, -1)
        x, y = mixup((x - mean) / std, targets.to(device), config.mixup)
        with autocast(device):
            logits = model(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), y, label_smoothing=config.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        ema.update(model, step=epoch * steps + step)
        losses.append(loss.item())
        bar.set_postfix(loss=f"{np.mean(losses[-50:]):.3f}", refresh=False)
    return float(np.mean(losses))


def fit(
    run: Run,
    *,
    train: FaceDataset,
    validation: FaceDataset,
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
) -> Path:
    """Train a run to its end, from its last finished epoch if there is one.

    Args:
        run: folder, config, device.
        train: faces to learn from; those without a target are left out.
        validation: faces to report on after each epoch.
        on_epoch: called with each epoch's figures.

    Returns:
        The checkpoint; its ``ema`` holds the weights to export.

    Raises:
        DataError: no face to train on. WeightsError, ValueError: see :func:`resume`.
    """
    spec = spec_for(run.config)
    train = train.where(train.targets.sum(1) > 0)
    validation = validation.where(validation.labels >= 0)
    if len(train) < 2 or not len(validation):
        raise DataError(f"{len(train)} faces to train on, {len(validation)} to validate: too few")
    torch.manual_seed(run.config.seed)
    model = build_network(run.config, spec, train).to(run.device)
    run.folder.mkdir(parents=True, exist_ok=True)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(parameter_groups(model, run.config), lr=run.config.lr)
    ema = ModelEmaV3(model, decay=run.config.ema, use_warmup=True)
    start = resume(run, model, ema, optimizer)
    for epoch in range(start, run.config.epochs):
        began = time.perf_counter()
        loss = train_epoch(model, ema, optimizer, faces=train, spec=spec, run=run, epoch=epoch)
        logits = predict_logits(ema.module, validation.crops, spec, device=run.device)
        row = {
            "epoch": epoch + 1,
            "loss": round(loss, 4),
            "validation_accuracy": round(accuracy_of(logits, validation.labels), 4),
            "seconds": round(time.perf_counter() - began, 1),
        }
        save_checkpoint(
            run.checkpoint,
            config=run.config,
            epoch=epoch + 1,
            model=model,
            ema=ema,
            optimizer=optimizer,
        )
        with run.history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        on_epoch(row)
    return run.checkpoint


def parameter_groups(model: nn.Module, config: FitConfig) -> list[dict[str, Any]]:
    """Weight decay for filters and matrices only, not for biases and norms."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def resume(run: Run, model: nn.Module, ema: ModelEmaV3, optimizer: torch.optim.Optimizer) -> int:
    """Load the run's checkpoint if there is one, and return the number of finished epochs.

    Raises:
        WeightsError: the checkpoint cannot be read.
        ValueError: the folder holds a run with another config.
    """
    if not run.checkpoint.is_file():
        run.history.unlink(missing_ok=True)
        return 0
    state, config = load_checkpoint(run.checkpoint, run.device)
    if changed := differences(config, run.config):
        raise ValueError(
            f"{run.folder} holds a run with another {', '.join(changed)}; "
            "choose another --run-dir, or the same settings to go on"
        )
    model.load_state_dict(state["model"])
    ema.load_state_dict(state["ema"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"])
