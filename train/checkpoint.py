"""The file from which a killed run goes on, and from which a finished one is exported."""

import contextlib
import os
import pickle
import shutil
import zipfile
from collections.abc import Iterator
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
    """Write a run's state after ``epoch`` finished epochs; never leaves half a file behind.

    Raises:
        WeightsError: it cannot be written; the file that was there before is untouched.
    """
    state = {
        "config": asdict(config),
        "epoch": epoch,
        "model": model.state_dict(),
        "ema": ema.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with replacing(path) as partial, partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        # Else a power cut could leave the new name on a file whose content never came.
        os.fsync(file.fileno())


def copy_checkpoint(path: Path, to: Path) -> None:
    """Copy a checkpoint, whole or not at all.

    Raises:
        WeightsError: it cannot be written.
    """
    with replacing(to) as partial:
        shutil.copyfile(path, partial)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, and put it in the place of ``path`` once that went well.

    Raises:
        WeightsError: writing failed; what was written is removed.
    """
    partial = partial_of(path)
    try:
        with writing(path):
            yield partial
            partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write a file of a run into an error that says what to do.

    Raises:
        WeightsError: with the system's reason.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch reports a failed write as either
        cause = error if isinstance(error, OSError) else error.__context__
        reason = getattr(cause, "strerror", None) or str(error).strip().partition("\n")[0]
        raise WeightsError(
            f"{path} cannot be written ({reason}); the epochs before this one are safe: "
            "make room or choose another disk, then give the same command to go on"
        ) from error


def partial_of(path: Path) -> Path:
    """Return the name under which a file is written until it is whole."""
    return path.with_suffix(".partial")


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


def averaged_weights(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the running average of the weights in a run's state, by the network's own names."""
    return {name.removeprefix("module."): value for name, value in state["ema"].items()}


def read_weights(names: str) -> tuple[dict[str, torch.Tensor], FitConfig]:
    """Return the averaged weights of a run, or the mean of several runs' weights.

    Args:
        names: the path of a checkpoint, or several with commas between them.

    Returns:
        The weights by the network's own names, and the config of the first run.

    Raises:
        WeightsError: no such checkpoint, or one of another network than the first.

    Source: Wortsman et al., "Model soups", ICML 2022, arXiv:2203.05482.
    """
    paths = [Path(name.strip()) for name in names.split(",")]
    loaded = [load_checkpoint(path, torch.device("cpu")) for path in paths]
    weights, config = averaged_weights(loaded[0][0]), loaded[0][1]
    for count, (path, (state, _)) in enumerate(zip(paths[1:], loaded[1:], strict=True), 2):
        other = averaged_weights(state)
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in other.items()}:
            raise WeightsError(f"{path} is a run of another network; it cannot be averaged")
        for name, value in weights.items():
            if value.is_floating_point():
                value += (other[name] - value) / count
    return weights, config


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
