"""A training checkpoint to the two files that the app loads."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_safetensors
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch import nn

from emotion.errors import WeightsError
from emotion.evidence import class_evidence, spread
from emotion.model import EmotionModel
from emotion.weights import ModelSpec
from train.checkpoint import load_checkpoint
from train.config import FitConfig, spec_for
from train.datasets import DataError, FaceDataset
from train.predict import predict_logits


def export(
    checkpoint: Path,
    out: Path,
    *,
    validation: FaceDataset,
    name: str | None = None,
    notes: dict[str, str] | None = None,
) -> ModelSpec:
    """Write ``out/NAME.safetensors`` and ``out/NAME.json`` from a run's checkpoint.

    The averaged weights are taken. The head is centred (an equal part of all logits says
    nothing about any emotion, and would only cloud the evidence) and divided by the
    temperature that calibrates it on the validation faces. Tensors are stored as float16.

    Args:
        checkpoint: ``last.pt`` of :func:`train.engine.fit`.
        validation: faces to calibrate on; only those with a label count.
        name: of the model; by default the one that goes with its architecture.
        notes: for the spec's ``training``.

    Raises:
        WeightsError: the file is not such a checkpoint. DataError: no labelled face.
    """
    config, network = averaged_network(checkpoint)
    spec = spec_for(config)
    spec = replace(spec, name=name or spec.name)
    validation = validation.where(validation.labels >= 0)
    if not len(validation):
        raise DataError("there is no labelled face to calibrate on")
    centre_head(network)
    logits = predict_logits(network, validation.crops, spec, device=torch.device("cpu"))
    temperature = fit_temperature(logits, validation.labels)
    with torch.no_grad():
        head = network.get_classifier()  # type: ignore[operator]
        head.weight /= temperature
        head.bias /= temperature
    network.half().float()
    spec = replace(
        spec,
        evidence_scale=round(measure_scale(spec, network, validation), 2),
        training={
            **(notes or {}),
            "config": str(asdict(config)),
            "temperature": f"{temperature:.4f}",
        },
    )
    return write_model(network, spec, out)


def averaged_network(checkpoint: Path) -> tuple[FitConfig, nn.Module]:
    """Return a run's settings and its network with the averaged weights, on the CPU.

    Raises:
        WeightsError: the file is not a training checkpoint.
    """
    state, config = load_checkpoint(checkpoint, torch.device("cpu"))
    weights = {key.removeprefix("module."): value for key, value in state["ema"].items()}
    try:
        network: nn.Module = timm.create_model(
            config.architecture, num_classes=len(spec_for(config).labels)
        )
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{checkpoint} does not fit {config.architecture}: {reason}") from None
    return config, network.eval()


@torch.no_grad()
def centre_head(network: nn.Module) -> None:
    """Take the mean over the classes off the head; no probability changes."""
    head = network.get_classifier()  # type: ignore[operator]
    head.weight -= head.weight.mean(0, keepdim=True)
    head.bias -= head.bias.mean()


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the divisor of the logits that makes the labels most likely.

    Source: Guo et al., ICML 2017, arXiv:1706.04599.
    """

    def loss(log_t: float) -> float:
        scores = log_softmax(logits.astype(np.float64) / np.exp(log_t), axis=1)
        return float(-scores[np.arange(len(labels)), labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def measure_scale(spec: ModelSpec, network: nn.Module, faces: FaceDataset) -> float:
    """Return the 95th percentile, over faces, of the peak evidence density of the top label."""
    model = EmotionModel(spec, network, torch.device("cpu"))
    features = model.features(faces.crops[:1000])
    maps = class_evidence(model, features)
    top = maps.sum((2, 3)) + model.bias.numpy()
    chosen = maps[np.arange(len(maps)), top.argmax(1)]
    size = 64
    origin, step = spec.grid_on_crop()
    laid = spread(chosen, size, origin=origin, step=step)
    return float(np.percentile(laid.max((1, 2)) * size * size, 95))


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
