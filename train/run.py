"""A training run, and what changes while it goes on."""

from dataclasses import dataclass
from pathlib import Path

import torch
from timm.utils import ModelEmaV3
from torch import nn

from train.config import FitConfig
from train.processes import ONE, Processes


@dataclass(frozen=True, slots=True)
class Run:
    """One run's folder, settings, device and processes.

    Attributes:
        folder: receives ``last.pt`` (weights, settings), ``best.pt`` where ``config.patience``
            asks for it, a line of ``history.jsonl`` per epoch, and ``tensorboard/``.
        config: the settings. device: where to train.
        processes: which part of each batch is this process's.
    """

    folder: Path
    config: FitConfig
    device: torch.device
    processes: Processes = ONE

    @property
    def checkpoint(self) -> Path:
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"


@dataclass(frozen=True, slots=True)
class Learner:
    """What changes while a run goes on.

    Attributes:
        network: learns. shared: what to call in training: it returns the features too, and
            learns from all processes (:meth:`Processes.share`).
        ema: the running average of its weights. optimizer: changes them.
        teacher: a finished network whose answers are learnt too, or None.
    """

    network: nn.Module
    shared: nn.Module
    ema: ModelEmaV3
    optimizer: torch.optim.Optimizer
    teacher: nn.Module | None = None
