"""The file from which a killed run goes on, and from which a finished one is exported."""

import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import nn

from emotion.errors import WeightsError
from train.config import FitConfig, stored_config

PARTS = ("config", "epoch", "model", "ema", "optimizer")


def save_checkpoint(
    path: Path,
    *,
    config: FitConfig,
    epoch: int,
    model: nn.Module,
    ema: ModelEmaV3,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write a run's state after ``epoch`` finished epochs; never leaves half a file behind."""
    state = {
        "config": asdict(config),
        "epoch": epoch,
        "model": model.state_dict(),
        "ema": ema.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load_checkpoint(path: Path, device: torch.device) -> tuple[dict[str, Any], FitConfig]:
    """Read a run's state (see :data:`PARTS`) and its settings.

    Raises:
        WeightsError: missing, damaged, or another kind of file.
    """
    if not path.is_file():
        raise WeightsError(f"there is no checkpoint {path}; train one with python -m train fit")
    try:
        check_archive(path)
        state = torch.load(path, map_location=device, weights_only=True)
        if missing := [part for part in PARTS if part not in state]:
            raise ValueError(f"it has no {', '.join(missing)}")
        return state, stored_config(state["config"])
    except pickle.UnpicklingError:
        reason = "it holds something else than tensors"
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
    raise WeightsError(f"{path} is not a training checkpoint: {reason}")


def check_archive(path: Path) -> None:
    """Raise ``ValueError`` unless a file is a zip archive, as torch writes it, and undamaged.

    torch itself reads a file of any other kind in ways that can fail with any error, and does
    not compare the checksums.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile:
        raise ValueError("it is cut off, or another kind of file") from None
    if damaged:
        raise ValueError(f"it is damaged at {damaged}")
