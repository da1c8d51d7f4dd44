"""A training checkpoint to the two files that the app loads."""

import hashlib
import json
import math
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_safetensors
from torch import nn

from emotion.errors import WeightsError
from emotion.evidence import class_evidence, spread
from emotion.labels import FER2013, FERPLUS
from emotion.model import EmotionModel
from emotion.preprocess import Crop
from emotion.weights import ModelSpec
from train.calibration import fit_set_threshold, fit_temperature, rare_offsets
from train.checkpoint import load_checkpoint
from train.config import FitConfig, spec_for
from train.datasets import DataError, FaceDataset
from train.predict import predict_logits

INTENDED_USE = "Demonstrations, teaching, research on explanations, a start for one's own training."
EXCLUDED_USE = (
    "Decisions about people (hiring, schooling, policing, border control, credit, insurance, "
    "medicine, lie detection), and watching people who have not agreed to it."
)


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How a run becomes a model.

    Attributes:
        name: of the model; by default the one that goes with its architecture.
        labels: ``ferplus`` (8) or, from a run with a second head, ``fer2013`` (7).
        rare_cost: accuracy on the validation faces, as a share of 1, that may be given up to
            find rare classes more often (see :func:`train.calibration.rare_offsets`).
        average: checkpoints of other runs of the same network, whose weights are averaged with
            the run's. That makes sense for runs that start from each other or from one run.
        notes: for the spec's ``training``.
    """

    name: str | None = None
    labels: str = "ferplus"
    rare_cost: float = 0.0
    average: Sequence[Path] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


def export(
    checkpoint: Path, out: Path, *, validation: FaceDataset, options: ExportOptions
) -> ModelSpec:
    """Write ``out/NAME.safetensors`` and ``out/NAME.json`` from a run's checkpoint.

    The averaged weights are taken. The head is centred (an equal part of all logits says
    nothing about any emotion, and would only cloud the evidence), moved towards rare classes if
    asked, and divided by the temperature that calibrates it on the validation faces. Tensors are
    stored as float16.

    Args:
        checkpoint: ``last.pt`` of :func:`train.engine.fit`.
        validation: faces to calibrate on; only those with a label count.

    Raises:
        WeightsError: the file is not such a checkpoint. DataError: no labelled face.
        ValueError: the run has no such labels.
    """
    config, network = averaged_network(checkpoint)
    average_with(network, options.average)
    spec = choose_labels(network, spec_for(config), options.labels)
    spec = replace(
        spec, name=options.name or spec.name, intended_use=INTENDED_USE, excluded_use=EXCLUDED_USE
    )
    crops, labels = labelled(validation, options.labels)
    centre_head(network)
    logits = predict_logits(network, crops, spec, device=torch.device("cpu"))
    offsets = rare_offsets(logits, labels, cost=options.rare_cost)
    temperature = fit_temperature(logits + offsets, labels)
    with torch.no_grad():
        head = network.get_classifier()  # type: ignore[operator]
        head.bias += torch.from_numpy(offsets)
        head.weight /= temperature
        head.bias /= temperature
    network.half().float()
    logits = predict_logits(network, crops, spec, device=torch.device("cpu"))
    spec = replace(
        spec,
        evidence_scale=round(measure_scale(spec, network, validation), 2),
        # Rounded down, so that rounding never takes a label out of a set.
        set_threshold=math.floor(fit_set_threshold(logits, labels) * 1e4) / 1e4 or 1e-4,
        training={
            **options.notes,
            "config": str(asdict(config)),
            "mean_of": mean_of([checkpoint, *options.average]),
            "revision": revision(),
            "temperature": f"{temperature:.4f}",
            "offsets": ", ".join(f"{value:.2f}" for value in offsets),
        },
    )
    return write_model(network, spec, out)


def labelled(faces: FaceDataset, labels: str) -> tuple[list[Crop], NDArray[np.int64]]:
    """Return the crops that have a label of one of the two sets, and the labels.

    Raises:
        DataError: there is none.
    """
    chosen = faces.fer2013 if labels == "fer2013" else faces.labels
    index = np.flatnonzero(chosen >= 0).tolist()
    if not index:
        raise DataError(f"there is no face with a {labels} label to calibrate on")
    return [faces.crops[i] for i in index], chosen[index]


def averaged_network(checkpoint: Path) -> tuple[FitConfig, nn.Module]:
    """Return a run's settings and its network with the averaged weights, on the CPU.

    Raises:
        WeightsError: the file is not a training checkpoint, or its network is one that cannot be
            built from the name of the architecture alone.
    """
    state, config = load_checkpoint(checkpoint, torch.device("cpu"))
    if changed := [name for name in ("activation", "pooling") if getattr(config, name)]:
        raise WeightsError(
            f"{checkpoint} has another {' and '.join(changed)} than {config.architecture} has by "
            "itself, which the app cannot build; such a run is for comparison only"
        )
    weights = {key.removeprefix("module."): value for key, value in state["ema"].items()}
    outputs = len(FERPLUS) + (len(FER2013) if config.fer2013 else 0)
    try:
        network: nn.Module = timm.create_model(config.architecture, num_classes=outputs)
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{checkpoint} does not fit {config.architecture}: {reason}") from None
    return config, network.eval()


@torch.no_grad()
def average_with(network: nn.Module, checkpoints: Sequence[Path]) -> None:
    """Replace a network's weights by their mean with those of other runs.

    Source: Wortsman et al., "Model soups", ICML 2022, arXiv:2203.05482.

    Raises:
        WeightsError: a run of another network.
    """
    own = network.state_dict()
    for count, path in enumerate(checkpoints, 2):
        other = averaged_network(path)[1].state_dict()
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in other.items()}:
            raise WeightsError(f"{path} is a run of another network; it cannot be averaged")
        for name, value in own.items():
            if value.is_floating_point():
                value += (other[name] - value) / count


@torch.no_grad()
def choose_labels(network: nn.Module, spec: ModelSpec, labels: str) -> ModelSpec:
    """Keep the rows of the head that answer one label set; return the spec with its labels.

    Raises:
        ValueError: the run did not learn them.
    """
    if labels not in ("ferplus", "fer2013"):
        raise ValueError(f"expected labels ferplus or fer2013, got {labels!r}")
    head = network.get_classifier()  # type: ignore[operator]
    first = len(FERPLUS) if labels == "fer2013" else 0
    names = FER2013 if labels == "fer2013" else FERPLUS
    if head.out_features < first + len(names):
        raise ValueError("this run has no FER2013 labels; train with --fer2013 0.5")
    head.weight = nn.Parameter(head.weight[first : first + len(names)].clone())
    head.bias = nn.Parameter(head.bias[first : first + len(names)].clone())
    head.out_features = len(names)
    return replace(spec, labels=names, name=spec.name.replace("ferplus", labels))


def mean_of(checkpoints: Sequence[Path]) -> str:
    """Return which runs' weights are averaged, and how often each of them counts."""
    counts = Counter(path.resolve().parent.name for path in checkpoints)
    return ", ".join(f"{count} x {name}" for name, count in counts.items())


def revision() -> str:
    """Return the git revision of this code, with a plus where it was changed; "" without git."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


@torch.no_grad()
def centre_head(network: nn.Module) -> None:
    """Take the mean over the classes off the head; no probability changes."""
    head = network.get_classifier()  # type: ignore[operator]
    head.weight -= head.weight.mean(0, keepdim=True)
    head.bias -= head.bias.mean()


def measure_scale(spec: ModelSpec, network: nn.Module, faces: FaceDataset) -> float:
    """Return the evidence density that is shown in full colour.

    It is what the peak of the top label's map exceeds on a quarter of the faces: with more, the
    maps of all but the plainest smiles would be pale.
    """
    model = EmotionModel(spec, network, torch.device("cpu"))
    features = model.features(faces.crops[:1000])
    maps = class_evidence(model, features)
    top = maps.sum((2, 3)) + model.bias.numpy()
    chosen = maps[np.arange(len(maps)), top.argmax(1)]
    size = 64
    origin, step = spec.grid_on_crop()
    laid = spread(chosen, size, origin=origin, step=step)
    # A network that has hardly learnt may have no evidence for anything.
    return max(float(np.percentile(laid.max((1, 2)) * size * size, 75)), 0.01)


def write_model(network: nn.Module, spec: ModelSpec, out: Path) -> ModelSpec:
    """Write weights and spec; returns the spec with the sha256 filled in."""
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    # The labels go into the weight file too: a spec with another order is then refused.
    metadata = {"labels": ",".join(spec.labels), "format": "pt"}
    data = order_metadata(save_safetensors(tensors, metadata), metadata)
    spec = replace(spec, sha256=hashlib.sha256(data).hexdigest())
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{spec.name}.safetensors").write_bytes(data)
    (out / f"{spec.name}.json").write_text(spec.to_json(), encoding="utf-8")
    return spec


def order_metadata(data: bytes, metadata: dict[str, str]) -> bytes:
    """Put the metadata of a safetensors file in a fixed order.

    The library writes them in an order that changes from call to call, and with it the sha256.
    """
    length = int.from_bytes(data[:8], "little")
    header = {**json.loads(data[8 : 8 + length]), "__metadata__": metadata}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return data[:8] + text.ljust(length) + data[8 + length :]
