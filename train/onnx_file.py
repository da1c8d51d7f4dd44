"""A weight file as ONNX, for browsers, phones and other languages than Python.

The file takes ``image`` (N, 3, S, S) float32, normalised as :func:`emotion.preprocess.preprocess`
does, and gives ``logits`` (N, C) and ``features`` (N, K, h, w). The evidence needs no more: it is
the head's weight, which the file holds under the name in its metadata, applied to the features
(:mod:`emotion.evidence`). The metadata say the rest: labels, mean, std, sizes, grid, licence.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from emotion.benchmark import EXAMPLE
from emotion.detect import HogDetector
from emotion.errors import WeightsError
from emotion.model import EmotionModel, load_model
from emotion.pipeline import EmotionPipeline
from emotion.preprocess import preprocess
from emotion.weights import ModelSpec

TOLERANCE = 1e-4
"""Largest difference to torch, as a share of the value, or as it is where that is below 1."""

OPSET = 18
"""Version of ONNX's operators: old enough for most runtimes, new enough for torch's exporter."""

SPEC_FIELDS = (
    "name",
    "labels",
    "input_size",
    "source_size",
    "grayscale",
    "mean",
    "std",
    "grid_origin",
    "grid_step",
    "sha256",
    "license",
)


@dataclass(frozen=True, slots=True)
class OnnxReport:
    """What was written: bytes in the file, and the largest difference to torch."""

    size: int
    difference: float


class WithFeatures(nn.Module):
    """A network that gives its last feature map beside its logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.network.forward_features(image)  # type: ignore[operator]
        return self.network.forward_head(features), features  # type: ignore[operator]


def write_onnx(weights: str, out: Path) -> OnnxReport:
    """Write a model as one ONNX file, after checking that it answers as torch does.

    Args:
        weights: a model's name, or the path of a ``.safetensors`` file.
        out: the file to write; its folder is made.

    Raises:
        UnknownModelError: no such model. WeightsError: damaged weights, an architecture that
            ONNX cannot express, or other answers than torch's; then no file is written.
    """
    model = load_model(weights, device="cpu")
    data = to_onnx(model).SerializeToString()
    difference = compare(data, model)
    # Written so that not-a-number fails too.
    if not difference <= TOLERANCE:
        raise WeightsError(
            f"{model.spec.name} as ONNX differs from torch by {difference:.2g}, "
            f"more than {TOLERANCE:g}; nothing was written"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(data)
    return OnnxReport(len(data), difference)


def to_onnx(model: EmotionModel) -> onnx.ModelProto:
    """Translate a model.

    Raises:
        WeightsError: the architecture cannot be translated.
    """
    size = model.spec.input_size
    try:
        program: Any = torch.onnx.export(
            WithFeatures(model.network).eval(),
            (torch.zeros(2, 3, size, size),),
            input_names=["image"],
            output_names=["logits", "features"],
            dynamic_shapes={"image": {0: torch.export.Dim("faces")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{model.spec.architecture} has no ONNX form: {reason}") from None
    proto: onnx.ModelProto = program.model_proto
    forget_source(proto)
    onnx.helper.set_model_props(proto, metadata(model.spec, head_name(proto, model)))
    return proto


def forget_source(proto: onnx.ModelProto) -> None:
    """Take out the notes about the Python lines, and so the folders, that each step came from."""
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info):
        del part.metadata_props[:]


def head_name(proto: onnx.ModelProto, model: EmotionModel) -> str:
    """Return the name under which the file holds the weight (C, K) of the head.

    Raises:
        WeightsError: it holds no such array.
    """
    weight = model.weight.numpy()
    for array in proto.graph.initializer:
        if tuple(array.dims) == weight.shape:
            values = onnx.numpy_helper.to_array(array)
            if np.array_equal(values, weight):
                return array.name
    raise WeightsError(f"the ONNX form of {model.spec.name} does not keep the head's weight")


def metadata(spec: ModelSpec, head: str) -> dict[str, str]:
    """Return what the file says about itself; all values are JSON, but for plain text."""
    values = {name: getattr(spec, name) for name in SPEC_FIELDS}
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
    return {**texts, "head_weight": head}


def compare(data: bytes, model: EmotionModel) -> float:
    """Return the largest difference between a file's answers and the model's."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return max(difference(session, model, images) for images in probes(model))


def probes(model: EmotionModel) -> list[torch.Tensor]:
    """Return inputs to compare on: noise, one and three at a time, and a drawn face."""
    size = model.spec.input_size
    noise = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    faces = EmotionPipeline(model, HogDetector())(EXAMPLE).faces
    return [noise[:1], noise[1:], preprocess([face.crop for face in faces], model.spec)]


def difference(session: Any, model: EmotionModel, images: torch.Tensor) -> float:
    """Return the largest difference on one batch, relative to max(1, value)."""
    with torch.inference_mode():
        features = model.network.forward_features(images)  # type: ignore[operator]
        logits = model.network.forward_head(features)  # type: ignore[operator]
    found: list[NDArray[np.float32]] = session.run(
        ["logits", "features"], {"image": images.numpy()}
    )
    pairs = zip(found, (logits.numpy(), features.numpy()), strict=True)
    return max(float((abs(a - b) / np.maximum(1, abs(b))).max()) for a, b in pairs)
