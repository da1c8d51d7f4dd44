"""Read dlib's face network from its file and start ``dlib_face27`` from it.

``dlib_face_recognition_resnet_model_v1.dat`` comes with ``face_recognition_models``, which
``face-recognition`` installs. Its licence is CC0 1.0 (https://github.com/davisking/dlib-models).

The format is dlib's own serialisation: an integer is a length byte (its top bit the sign)
and that many little-endian bytes; a layer starts with its name as a counted string; a tensor
is the integer 2, four dimensions, and float32 values.
"""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from emotion.facenet import FaceNet

FILE_NAME = "dlib_face_recognition_resnet_model_v1.dat"
MEAN = (122.782 / 255, 117.001 / 255, 104.298 / 255)
STD = (256 / 255, 256 / 255, 256 / 255)
"""dlib's own input normalisation, (value - mean) / 256, for values in [0, 1]."""

LAYER = re.compile(rb"\x01\x05con_4|\x01\x07affine_")
END = ("the end", np.empty(0, np.float32))


def model_file() -> Path:
    """Return where ``face_recognition_models`` keeps the network.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    try:
        return Path(str(files("face_recognition_models") / "models" / FILE_NAME))
    except ModuleNotFoundError:
        raise FileNotFoundError("install face-recognition: it brings dlib's network") from None


def read_integer(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer at a byte offset, and the offset after it."""
    head = data[at]
    length = head & 0x0F
    value = int.from_bytes(data[at + 1 : at + 1 + length], "little")
    return (-value if head & 0x80 else value), at + 1 + length


def read_tensor(data: bytes, at: int) -> tuple[NDArray[np.float32], int]:
    """Return the values of the tensor at a byte offset, flat, and the offset after it."""
    version, at = read_integer(data, at)
    if version != 2:
        raise ValueError(f"expected a tensor of version 2 at byte {at}, got {version}")
    count = 1
    for _ in range(4):
        dimension, at = read_integer(data, at)
        count *= dimension
    return np.frombuffer(data, "<f4", count, at).copy(), at + 4 * count


def read_layers(data: bytes) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield ("con" | "affine", parameters) from the input side to the output side."""
    at = 0
    while match := LAYER.search(data, at):
        values, at = read_tensor(data, match.end())
        yield ("con" if b"con" in match.group() else "affine"), values


def load_pretrained(model: FaceNet, path: Path | None = None) -> None:
    """Copy dlib's filters into ``model``; each batch norm becomes dlib's affine layer.

    The biases of dlib's convolutions go into the batch norm that follows each of them. The
    classifier is left as it is.

    Args:
        model: with 3 input channels; changed in place.
        path: of dlib's file; by default the one that ``face_recognition_models`` carries.

    Raises:
        ValueError: another kind of file.
    """
    layers = read_layers((path or model_file()).read_bytes())
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for conv, norm in zip(convs, norms, strict=True):
        kind, filters = next(layers, END)
        kind_after, affine = next(layers, END)
        if (kind, kind_after) != ("con", "affine"):
            raise ValueError(f"expected con, affine in dlib's file, got {kind}, {kind_after}")
        count = conv.out_channels
        set_affine(conv, norm, filters=filters[:-count], bias=filters[-count:], affine=affine)


@torch.no_grad()
def set_affine(
    conv: nn.Conv2d,
    norm: nn.BatchNorm2d,
    *,
    filters: NDArray[np.float32],
    bias: NDArray[np.float32],
    affine: NDArray[np.float32],
) -> None:
    """Give one convolution its filters and its batch norm the affine function after it."""
    gamma, beta = torch.from_numpy(affine).view(2, -1)
    conv.weight.copy_(torch.from_numpy(filters).view_as(conv.weight))
    norm.running_mean.zero_()  # type: ignore[union-attr]
    norm.running_var.fill_(1.0 - norm.eps)  # type: ignore[union-attr]
    norm.weight.copy_(gamma)
    norm.bias.copy_(beta + gamma * torch.from_numpy(bias))


@torch.no_grad()
def calibrate(model: nn.Module, batches: list[torch.Tensor]) -> None:
    """Give each batch norm the statistics of our faces, without changing the function.

    A fresh batch norm would standardise each layer at once and undo what dlib learnt. So the
    mean and variance that reach each norm are measured, and its weight and bias are set such
    that normalising by them and scaling back is the affine function it was.

    Args:
        model: in evaluation mode, after :func:`load_pretrained`; changed in place.
        batches: of preprocessed faces, (N, 3, S, S) float32; a thousand faces are plenty.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    sums = {n: torch.zeros(3, n.num_features, dtype=torch.float64) for n in norms}

    def measure(norm: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        x = args[0].double()
        count = torch.full_like(x[0, :, 0, 0], x.numel() / x.shape[1])
        sums[norm] += torch.stack([count, x.sum((0, 2, 3)), x.square().sum((0, 2, 3))]).cpu()  # type: ignore[index]

    hooks = [n.register_forward_pre_hook(measure) for n in norms]
    try:
        for batch in batches:
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    for norm in norms:
        count, total, squares = sums[norm]
        mean = total / count
        var = (squares / count - mean.square()).clamp_min(1e-8)
        scale = norm.weight.double().cpu() / (norm.running_var.double().cpu() + norm.eps).sqrt()  # type: ignore[union-attr]
        offset = norm.bias.double().cpu() - scale * norm.running_mean.double().cpu()  # type: ignore[union-attr]
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(var)  # type: ignore[union-attr]
        norm.weight.copy_(scale * (var + norm.eps).sqrt())
        norm.bias.copy_(offset + scale * mean)
