"""Named variants of the settings, trained on one small budget and set side by side in a table."""

import json
import math
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from emotion.labels import FERPLUS
from train.checkpoint import replacing
from train.config import FitConfig, checked_settings, read_yaml, spec_for, stored_config
from train.datasets import FaceDataset
from train.engine import fit
from train.epoch import DivergenceError
from train.journal import Row, read_history
from train.network import create_network
from train.run import Run

TIMED_FACES = 30


@dataclass(frozen=True, slots=True)
class Result:
    """What one variant came to.

    Attributes:
        name: of the variant. settings: all of its :class:`train.config.FitConfig`.
        faces: it was trained on. validated: faces it was validated on.
        accuracy, macro_recall: of the last epoch's averaged weights, in [0, 1].
        parameters: of the network with eight outputs.
        seconds: of training and validation.
        ms_per_face: median time of one face at a time through the network alone.
        device: that it ran on, with the number of threads of a CPU.
        diverged: the loss became no number; the figures are then 0.
    """

    name: str
    settings: dict[str, Any]
    faces: int
    validated: int
    accuracy: float
    macro_recall: float
    parameters: int
    seconds: float
    ms_per_face: float
    device: str
    diverged: bool = False


def read_variants(name: str, epochs: int | None = None) -> dict[str, FitConfig]:
    """Read a list of variants: ``variants``, settings by name, and ``common`` to all of them.

    Args:
        name: of a shipped list, or the path of a YAML file.
        epochs: of all variants, instead of the file's.

    Raises:
        ValueError: no such file, or a setting in it that is not known or not possible.
    """
    content, path = read_yaml(name)
    if unknown := content.keys() - {"common", "variants"}:
        raise ValueError(f"{path}: expected common and variants, got {', '.join(sorted(unknown))}")
    listed, common = content.get("variants"), content.get("common") or {}
    if not isinstance(listed, dict) or not listed or not isinstance(common, dict):
        raise ValueError(f"{path}: variants must hold lines of the form name: {{setting: value}}")
    common = checked_settings(common, f"{path}: common") | ({"epochs": epochs} if epochs else {})
    return {str(key): variant(path, key, common, listed[key]) for key in listed}


def variant(path: Path, name: object, common: dict[str, Any], settings: object) -> FitConfig:
    """Return the settings of one variant in a list.

    Raises:
        ValueError: see :func:`read_variants`.
    """
    where = f"{path}: {name}"
    if Path(str(name)).name != str(name) or not isinstance(settings or {}, dict):
        raise ValueError(f"{where} must be a plain name with settings")
    own = checked_settings(dict(settings or {}), where)  # type: ignore[call-overload]
    if "epochs" in own:
        raise ValueError(f"{where}: epochs must be common to all variants, else they are no match")
    try:
        return FitConfig(**{**common, **own})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def sample(faces: FaceDataset, limit: int) -> FaceDataset:
    """Return ``limit`` faces by chance, always the same ones; all where there are no more."""
    keep = np.zeros(len(faces), bool)
    keep[np.random.default_rng(0).permutation(len(faces))[:limit]] = True
    return faces.where(keep)


def run_variants(
    variants: Mapping[str, FitConfig],
    out: Path,
    *,
    train: FaceDataset,
    validation: FaceDataset,
    device: torch.device,
    only: Collection[str] = (),
    tell: Callable[[str], None] = print,
) -> list[Result]:
    """Train all variants that are not done yet, and write ``table.md`` and ``table.json``.

    Args:
        out: folder of the two files, and of one folder per variant.
        only: names of the variants to train; of the others, those that are done are shown.
            Empty for all.
        tell: takes one line per variant.

    Returns:
        What each variant came to, in the order of ``variants``.

    Raises:
        ValueError: no such name, or a variant cannot be built, or was done with other settings.
    """
    if unknown := set(only) - variants.keys():
        raise ValueError(
            f"there is no variant {', '.join(sorted(unknown))}; known are {', '.join(variants)}"
        )
    results: dict[str, Result] = {}
    for name, config in variants.items():
        if found := stored_result(Run(out / name, config, device), name, train):
            results[name] = found
    for name in [name for name in variants if name in (only or variants)]:
        if name not in results:
            run = Run(out / name, variants[name], device)
            try:
                results[name] = measure(run, name, train, validation)
            except ValueError as error:
                raise ValueError(f"variant {name}: {error}") from None
            write_table([results[name] for name in variants if name in results], out)
        tell(table_line(results[name]))
    in_order = [results[name] for name in variants if name in results]
    write_table(in_order, out)
    return in_order


def stored_result(run: Run, name: str, train: FaceDataset) -> Result | None:
    """Return what a variant came to if it is done, else None.

    Raises:
        ValueError: it was done with other settings or on other faces.
    """
    path = run.folder / "result.json"
    if not path.is_file():
        return None
    result = Result(**json.loads(path.read_text(encoding="utf-8")))
    if stored_config(result.settings) != run.config or result.faces != len(train):
        raise ValueError(
            f"{run.folder} holds variant {name} with other settings or faces; choose another --out"
        )
    return result


def measure(
    run: Run,
    name: str,
    train: FaceDataset,
    validation: FaceDataset,
    on_epoch: Callable[[Row], None] = lambda row: None,
) -> Result:
    """Train one variant and write what it came to into its folder; its weights are not kept.

    Args:
        on_epoch: called with each epoch's figures; what it raises stops the variant.

    Raises:
        ValueError: it cannot be built.
    """
    diverged = False
    try:
        fit(run, train=train, validation=validation, on_epoch=on_epoch)
    except DivergenceError:
        diverged = True
    rows = read_history(run.folder / "history.jsonl", run.config.epochs)
    last = {} if diverged else rows[-1]
    network = create_network(run.config, len(FERPLUS)).to(run.device)
    result = Result(
        name=name,
        settings=asdict(run.config),
        faces=len(train),
        validated=int((validation.labels >= 0).sum()),
        accuracy=last.get("validation_accuracy", 0.0),
        macro_recall=last.get("validation_macro_recall", 0.0),
        parameters=sum(p.numel() for p in network.parameters()),
        seconds=round(sum(row["seconds"] for row in rows), 1),
        ms_per_face=round(milliseconds(network, run), 2),
        device=device_name(run.device),
        diverged=diverged,
    )
    with replacing(run.folder / "result.json") as path:
        path.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
    for checkpoint in (run.checkpoint, run.best):
        checkpoint.unlink(missing_ok=True)
    return result


def milliseconds(network: nn.Module, run: Run) -> float:
    """Return the median time in ms of one face through a network, without its preparation."""
    side = spec_for(run.config).input_size
    face = torch.zeros(1, 3, side, side, device=run.device)
    face = face.contiguous(memory_format=torch.channels_last)
    network = network.eval().to(memory_format=torch.channels_last)
    times = []
    with torch.inference_mode():
        for _ in range(TIMED_FACES + 5):
            began = time.perf_counter()
            network(face).cpu()  # waits for a GPU too
            times.append(time.perf_counter() - began)
    return statistics.median(times[5:]) * 1000  # the first ones allocate


def device_name(device: torch.device) -> str:
    """Return the name of what a variant ran on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads() if device.type == "cpu" else 0
    return f"{threads} CPU threads" if threads else device.type


def write_table(results: Sequence[Result], out: Path) -> None:
    """Write ``table.md``, for a reader, and ``table.json``, shares of 1."""
    first = results[0]
    # One standard error of a share near a half; of others it is less.
    error = 50 / math.sqrt(first.validated)
    lines = [
        f"{first.faces} training faces, {first.settings['epochs']} epochs, {first.validated} "
        f"validation faces, {', '.join(sorted({r.device for r in results}))}. The budget is small: "
        "the order is what it tells, not what each network could reach. One standard error of "
        f"an accuracy is up to {error:.1f} points.",
        "",
        "| variant | accuracy % | macro recall % | parameters, M | training, s | ms per face |",
        "|---|---|---|---|---|---|",
        *(table_line(result) for result in results),
    ]
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [asdict(result) for result in results]
    (out / "table.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def table_line(result: Result) -> str:
    """Return the row of one variant, in Markdown."""
    figures = f"{100 * result.accuracy:.2f} | {100 * result.macro_recall:.2f}"
    if result.diverged:
        figures = "diverged | "
    return (
        f"| {result.name} | {figures} | {result.parameters / 1e6:.2f} "
        f"| {result.seconds:.0f} | {result.ms_per_face:.1f} |"
    )
