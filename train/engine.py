"""A training run from its first epoch to its last, which can be killed and goes on."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from timm.utils import ModelEmaV3
from torch import nn

from emotion.errors import WeightsError
from emotion.labels import FERPLUS
from emotion.weights import ModelSpec
from train.checkpoint import copy_checkpoint, load_checkpoint, partial_of, save_checkpoint
from train.config import differences, spec_for
from train.datasets import DataError, FaceDataset, require_trainable
from train.epoch import autocast, learning_rate, train_epoch
from train.journal import Clock, Journal, Row
from train.metrics import accuracy_of, macro_recall_of
from train.network import WithFeatures, build_network, build_optimizer, load_teacher
from train.parts import region_numbers
from train.predict import predict_logits
from train.processes import Processes, synchronised
from train.run import Learner, Run


def fit(
    run: Run,
    *,
    train: FaceDataset,
    validation: FaceDataset,
    on_epoch: Callable[[Row], None] = lambda row: None,
) -> Path:
    """Train a run to its end, from its last finished epoch if there is one.

    Args:
        run: folder, config, device.
        train: faces to learn from; those without a target are left out.
        validation: faces to report on after each epoch.
        on_epoch: called with each epoch's figures, in the first process.

    Returns:
        The checkpoint, ``best.pt`` with ``config.patience``, else ``last.pt``; its ``ema`` holds
        the weights to export.

    Raises:
        DataError: no face to train on, or of one class only. DivergenceError: see
        :func:`train.epoch.train_epoch`. WeightsError, ValueError: see :func:`begin`.
    """
    spec = spec_for(run.config)
    train, validation = usable(train, validation, run.processes)
    torch.manual_seed(run.config.seed)
    learner, finished = begin(run, spec, train)
    parts = find_parts(run, spec, train)
    journal = Journal(run.folder, finished) if run.processes.first else None
    clock = Clock(finished, run.config.epochs)
    try:
        keep_best(run, journal)
        for epoch in range(finished, run.config.epochs):
            if run.processes.agree(is_over(run, journal)):
                break
            began = time.perf_counter()
            loss = train_epoch(
                learner, faces=train, parts=parts, spec=spec, run=run, epoch=epoch, clock=clock
            )
            if journal:
                figures = validate(learner, validation, spec, run)
                rate = round(learning_rate(run.config, epoch + 1), 8)
                seconds = round(time.perf_counter() - began, 1)
                row = {"epoch": epoch + 1, "loss": round(loss, 4), "rate": rate, **figures}
                finish_epoch(run, learner, journal, {**row, "seconds": seconds})
                on_epoch(journal.rows[-1])
        run.processes.agree(True)  # the others wait until the last file is written
    finally:
        if journal:
            journal.close()
    return run.best if run.config.patience else run.checkpoint


def usable(
    train: FaceDataset, validation: FaceDataset, processes: Processes
) -> tuple[FaceDataset, FaceDataset]:
    """Return the faces that can be learnt from, and those that can be validated on.

    Raises:
        DataError: too few, or of one class only.
    """
    train = train.where(train.targets.sum(1) > 0)
    validation = validation.where(validation.labels >= 0)
    if len(train) < 2 * processes.count or not len(validation):
        raise DataError(f"{len(train)} faces to train on, {len(validation)} to validate: too few")
    require_trainable(train)
    return train, validation


def find_parts(run: Run, spec: ModelSpec, faces: FaceDataset) -> NDArray[np.uint8] | None:
    """Return where the parts of each face lie, if the run learns from hiding them."""
    if not run.config.faithful:
        return None
    return region_numbers(faces.crops, spec.source_size or spec.input_size)


def begin(run: Run, spec: ModelSpec, faces: FaceDataset) -> tuple[Learner, int]:
    """Build what learns, from the run's checkpoint if there is one.

    Returns:
        It, and the number of finished epochs.

    Raises:
        ValueError: no such architecture, or the folder holds a run with another config.
        WeightsError: ``config.start`` or the checkpoint cannot be read, or does not fit.
    """
    fresh = not run.checkpoint.is_file()
    network = build_network(run.config, spec, faces, fresh=fresh).to(run.device)
    network = synchronised(network, run.processes, run.device)
    network = network.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(network, run.config)
    ema = ModelEmaV3(network, decay=run.config.ema, use_warmup=True)
    finished = 0 if fresh else resume(run, network, ema, optimizer)
    run.folder.mkdir(parents=True, exist_ok=True)
    if run.processes.first:
        for path in (run.checkpoint, run.best):
            partial_of(path).unlink(missing_ok=True)  # of a process that was killed
    shared = run.processes.share(WithFeatures(network), run.device)
    if run.processes.mean(finished) != finished:
        raise ValueError(f"not all processes see {run.folder}; put it on a disk that they share")
    teacher = load_teacher(run.config, spec)
    if teacher is not None:
        teacher = teacher.to(run.device).to(memory_format=torch.channels_last)
    return Learner(network, shared, ema, optimizer, teacher), finished


def resume(run: Run, model: nn.Module, ema: ModelEmaV3, optimizer: torch.optim.Optimizer) -> int:
    """Load the run's checkpoint, and return the number of finished epochs.

    Raises:
        WeightsError: the checkpoint cannot be read, or is of another network.
        ValueError: the folder holds a run with another config.
    """
    state, config = load_checkpoint(run.checkpoint, run.device)
    if changed := differences(config, run.config):
        raise ValueError(
            f"{run.folder} holds a run with another {', '.join(changed)}; "
            "choose another --run-dir, or the same settings to go on"
        )
    try:
        model.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(
            f"{run.checkpoint} does not fit {config.architecture}: {reason}; "
            "choose another --run-dir"
        ) from None
    return int(state["epoch"])


def validate(learner: Learner, faces: FaceDataset, spec: ModelSpec, run: Run) -> dict[str, float]:
    """Return the figures of the averaged weights, see :func:`epoch_figures`."""
    with autocast(run):
        logits = predict_logits(learner.ema.module, faces.crops, spec, device=run.device)
    return epoch_figures(logits, faces)


def epoch_figures(logits: NDArray[np.float32], faces: FaceDataset) -> dict[str, float]:
    """Return what a line of the history says of the validation faces, in shares of 1."""
    ferplus, fer2013 = logits[:, : len(FERPLUS)], logits[:, len(FERPLUS) :]
    figures = {
        "validation_accuracy": accuracy_of(ferplus, faces.labels),
        "validation_macro_recall": macro_recall_of(ferplus, faces.labels),
    }
    known = faces.fer2013 >= 0
    if fer2013.shape[1] and known.any():
        figures["validation_fer2013"] = accuracy_of(fer2013[known], faces.fer2013[known])
    return {name: round(value, 4) for name, value in figures.items()}


def finish_epoch(run: Run, learner: Learner, journal: Journal, row: Row) -> None:
    """Write down an epoch's figures and state."""
    # First the line, then the checkpoint: a line without its checkpoint is found and dropped.
    journal.add(row)
    save_checkpoint(
        run.checkpoint,
        config=run.config,
        epoch=int(row["epoch"]),
        model=learner.network,
        ema=learner.ema,
        optimizer=learner.optimizer,
    )
    keep_best(run, journal)


def keep_best(run: Run, journal: Journal | None) -> None:
    """Copy the checkpoint of the last epoch if that is the best one, and the run asks for it."""
    if not run.config.patience or not journal or not journal.rows:
        return
    if journal.best_epoch() == journal.rows[-1]["epoch"]:
        copy_checkpoint(run.checkpoint, run.best)


def is_over(run: Run, journal: Journal | None) -> bool:
    """Whether the validation accuracy has not risen for as long as the run has patience."""
    if not run.config.patience or not journal or not journal.rows:
        return False
    return journal.rows[-1]["epoch"] - journal.best_epoch() >= run.config.patience
