"""A search for better settings with Optuna, which goes on where it was stopped.

Source: Akiba et al., Optuna, KDD 2019; TPE is Bergstra et al., NeurIPS 2011.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import torch
import yaml  # type: ignore[import-untyped]
from optuna.trial import FrozenTrial, TrialState

from train.config import ACTIVATIONS, POOLINGS, FitConfig
from train.datasets import FaceDataset
from train.journal import Row
from train.run import Run
from train.variants import Result, measure

ARCHITECTURES = (
    "dlib_face27",
    "resnet18",
    "regnetx_002",
    "repvgg_a0",
    "mobilenetv2_100",
    "efficientnet_b0",
)
INPUT_SIZE = 64
"""Side of the input, in pixels, of all of them but ``dlib_face27``, which has its own."""

STRENGTHS = ("rotation", "shift", "zoom", "erase", "blur", "light", "degrade", "cover", "mixup")
"""What the strength of the augmentation multiplies."""

COLUMNS = ("architecture", "lr", "batch_size", "activation", "pooling", "augmentation")


@dataclass(frozen=True, slots=True)
class Search:
    """What a search holds fixed.

    Attributes:
        base: settings that are not searched, ``epochs`` among them, and of the augmentation
            those at strength 1.
        trials: how many are wanted in all, those of earlier calls included.
        storage: an Optuna storage; by default ``study.db`` (SQLite) in the folder of the search.
    """

    base: FitConfig
    trials: int
    storage: str = ""


def sweep(
    search: Search,
    out: Path,
    *,
    train: FaceDataset,
    validation: FaceDataset,
    device: torch.device,
    tell: Callable[[str], None] = print,
) -> optuna.Study:
    """Try settings until there are enough trials, the best validation accuracy first.

    Writes ``trials.md``, ``trials.json`` and ``best.yaml``, a preset, after each trial.

    Args:
        out: folder of the study. tell: takes one line per trial.

    Raises:
        ValueError: the folder holds a search of another kind.
    """
    study = open_study(search, out, faces=len(train))

    def objective(trial: optuna.Trial) -> float:
        run = Run(out / f"trial{trial.number}", suggest(trial, search.base), device)

        def report(row: Row) -> None:
            trial.report(row["validation_accuracy"], int(row["epoch"]))
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            result = measure(run, str(trial.number), train, validation, report)
        finally:
            shutil.rmtree(run.folder, ignore_errors=True)
        trial.set_user_attr("result", asdict(result))
        if result.diverged:
            raise optuna.TrialPruned
        return result.accuracy

    def written(study: optuna.Study, trial: FrozenTrial) -> None:
        write_trials(study, out)
        tell(trial_line(trial))

    study.optimize(objective, max(0, search.trials - len(finished(study))), callbacks=[written])
    write_trials(study, out)
    return study


def open_study(search: Search, out: Path, *, faces: int) -> optuna.Study:
    """Create a study, or open the one that is there; trials that were cut off come first.

    Raises:
        ValueError: that one has other fixed settings or other faces.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="train",
        storage=search.storage or f"sqlite:///{out / 'study.db'}",
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    fixed = {**asdict(search.base), "faces": faces}
    stored = study.user_attrs.get("fixed", fixed)
    if changed := sorted(k for k in fixed.keys() | stored.keys() if fixed.get(k) != stored.get(k)):
        raise ValueError(
            f"{out} holds a search with another {', '.join(changed)}; choose another --out"
        )
    study.set_user_attr("fixed", fixed)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
        shutil.rmtree(out / f"trial{trial.number}", ignore_errors=True)
    # A sampler that starts anew with the same seed would draw the same settings again.
    seed = search.base.seed + len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=5)
    return study


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that came to a figure, or were stopped for a poor one."""
    return study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))


def suggest(trial: optuna.trial.BaseTrial, base: FitConfig) -> FitConfig:
    """Return the settings of a trial."""
    architecture = trial.suggest_categorical("architecture", ARCHITECTURES)
    settings: dict[str, Any] = {
        "architecture": architecture,
        "lr": trial.suggest_float("lr", 1e-4, 3e-3, log=True),
        "batch_size": trial.suggest_categorical("batch_size", (32, 64, 128)),
    }
    if architecture != "dlib_face27":  # which has one activation and one pooling, and 128 px
        settings["activation"] = trial.suggest_categorical("activation", ACTIVATIONS)
        settings["pooling"] = trial.suggest_categorical("pooling", POOLINGS)
        settings |= {"input_size": INPUT_SIZE, "pretrained": False}
    return strengthened(replace(base, **settings), trial.suggest_float("augmentation", 0.0, 1.5))


def strengthened(config: FitConfig, strength: float) -> FitConfig:
    """Return a config with its augmentation times ``strength``, as far as its ranges allow."""
    most = {"rotation": 180.0, "zoom": 1.0, "mixup": 2.0, "shift": 0.5, "light": 0.9}
    changed = {
        name: min(getattr(config, name) * strength, most.get(name, 1.0)) for name in STRENGTHS
    }
    return replace(config, **changed)


def write_trials(study: optuna.Study, out: Path) -> None:
    """Write the trials, the best first, and a preset of the best one."""
    trials = sorted(finished(study), key=lambda t: t.value if t.value is not None else 0.0)[::-1]
    columns = ("trial", "accuracy %", *COLUMNS, "training, s", "ms per face")
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [trial_line(trial) for trial in trials]
    (out / "trials.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [
        {"trial": t.number, "state": t.state.name, "params": t.params, **t.user_attrs}
        for t in trials
    ]
    (out / "trials.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if complete:
        settings = Result(**complete[0].user_attrs["result"]).settings
        (out / "best.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def trial_line(trial: FrozenTrial) -> str:
    """Return the row of one trial, in Markdown."""
    settings = [trial.params.get(name, "own") for name in COLUMNS]
    shown = [f"{s:.3g}" if isinstance(s, float) else str(s) for s in settings]
    result = trial.user_attrs.get("result", {})
    accuracy = trial.state.name.lower()
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        accuracy = f"{100 * trial.value:.2f}"
    times = [str(result.get("seconds", "")), str(result.get("ms_per_face", ""))]
    return f"| {' | '.join([str(trial.number), accuracy, *shown, *times])} |"
