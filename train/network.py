"""Networks to train: built, started from what others learnt, and given an optimizer."""

from typing import Any

import numpy as np
import timm
import torch
from timm.layers import get_act_layer
from timm.models import group_parameters
from torch import nn

from emotion.errors import WeightsError
from emotion.facenet import FaceNet
from emotion.labels import FER2013
from emotion.preprocess import preprocess
from emotion.weights import ModelSpec
from train.checkpoint import read_weights
from train.config import ACTIVATIONS, FitConfig, spec_for
from train.datasets import FaceDataset
from train.dlib_weights import calibrate, load_pretrained

FACE_LAYERS = {"stem": r"^conv1|^bn1", "blocks": r"^blocks\.(\d+)"}
"""Which parameters of ``dlib_face27`` belong together, as timm's networks tell it themselves."""


class WithFeatures(nn.Module):
    """A network that returns its last feature map along with its logits.

    Args:
        network: a timm network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, S, S) to the features and the logits (N, K)."""
        features = self.network.forward_features(x)  # type: ignore[operator]
        return features, self.network.forward_head(features)  # type: ignore[operator]


def build_network(
    config: FitConfig, spec: ModelSpec, faces: FaceDataset, *, fresh: bool = True
) -> nn.Module:
    """Create the network of a run.

    Args:
        faces: to which dlib's network is adapted. fresh: whether the run starts now; one that
            goes on gets its weights from its checkpoint, so none are looked for.

    Raises:
        ValueError: no such architecture, or one that does not take these settings.
        WeightsError: ``config.start`` does not fit.
    """
    outputs = output_count(config, spec)
    hub = fresh and config.pretrained and not config.start
    network = create_network(
        config, outputs, pretrained=hub and config.architecture != "dlib_face27"
    )
    if config.input_size:
        check_input(network, config)
    if not fresh:
        return network
    if isinstance(network, FaceNet):
        if hub:
            adapt_pretrained(network, spec, faces)
        start_indifferent(network)
    return load_start(network, config) if config.start else network


def output_count(config: FitConfig, spec: ModelSpec) -> int:
    """Return how many outputs a run's network has: its labels, and FER2013's if they count."""
    return len(spec.labels) + (len(FER2013) if config.fer2013 else 0)


def create_network(config: FitConfig, outputs: int, *, pretrained: bool = False) -> nn.Module:
    """Create a network with random weights, or with those of timm's hub.

    Raises:
        ValueError: no such architecture, or one without such an activation or pooling.
    """
    name = config.architecture
    if not timm.is_model(name):
        raise ValueError(f"timm knows no architecture {name!r}")
    activation, pooling = config.activation, config.pooling
    if name == "dlib_face27":  # it has these two written into its code
        activation = "" if activation == "relu" else activation
        pooling = "" if pooling == "avg" else pooling
    options: dict[str, Any] = {}
    if activation:
        options["act_layer"] = get_act_layer(activation)
    if pooling:
        options["global_pool"] = pooling
    try:
        network: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=outputs, drop_rate=config.drop, **options
        )
    except (TypeError, AssertionError, KeyError) as error:
        wanted = f" with {' and '.join(filter(None, (activation, pooling)))}" if options else ""
        raise ValueError(f"{name} cannot be built{wanted}: {error}") from None
    check_layers(network, name, activation=activation, pooling=pooling)
    return network


def check_layers(network: nn.Module, name: str, *, activation: str, pooling: str) -> None:
    """Make sure that a network has the activation and the pooling that it was asked for.

    Some architectures ignore such a wish, or follow it in a part of their layers.

    Raises:
        ValueError: it has others.
    """
    modules = list(network.modules())
    known = {get_act_layer(choice).__name__: choice for choice in ACTIVATIONS}
    found = {known[kind] for m in modules if (kind := type(m).__name__) in known}
    if activation and found != {activation}:
        has = ", ".join(sorted(found)) or "its own"
        raise ValueError(f"{name} does not take the activation {activation}; it has {has}")
    pools = {str(m.pool_type) for m in modules if hasattr(m, "pool_type")}
    if pooling and pools != {pooling}:
        has = ", ".join(sorted(pools)) or "its own"
        raise ValueError(f"{name} does not take the pooling {pooling}; it has {has}")


def check_input(network: nn.Module, config: FitConfig) -> None:
    """Make sure that a network takes faces of the size in the config.

    Raises:
        ValueError: it does not.
    """
    side = config.input_size
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{config.architecture} takes no input_size of {side}: {reason}") from None


def adapt_pretrained(network: FaceNet, spec: ModelSpec, faces: FaceDataset) -> None:
    """Give a face network dlib's filters, and norms that fit a thousand of our faces."""
    load_pretrained(network)
    chosen = np.linspace(0, len(faces) - 1, min(1024, len(faces))).astype(int)
    batches = [
        preprocess([faces.crops[i] for i in part], spec)
        for part in np.array_split(chosen, max(1, len(chosen) // 64))
    ]
    calibrate(network.eval(), batches)


def start_indifferent(network: FaceNet) -> None:
    """Give the head weights so small that all classes start nearly even."""
    head = network.get_classifier()
    if isinstance(head, nn.Linear):
        nn.init.zeros_(head.bias)
        nn.init.normal_(head.weight, std=0.01)


def load_start(network: nn.Module, config: FitConfig) -> nn.Module:
    """Give a network the averaged weights of another run, or the mean of several.

    A head with fewer or more outputs is taken as far as it goes: the outputs have one order,
    FER+'s eight first.

    Raises:
        WeightsError: no such checkpoint, or one of another network.
    """
    path = config.start
    stored, theirs = read_weights(path)
    if theirs.architecture != config.architecture:
        raise WeightsError(f"{path} holds a {theirs.architecture}, not a {config.architecture}")
    own, head = network.state_dict(), head_names(network)
    if other := stored.keys() ^ own.keys():
        raise WeightsError(f"{path} does not fit: {min(other)} is in one of the two only")
    for name, value in own.items():
        found = stored[name]
        rows = slice(0, min(len(value), len(found)) if name in head else None)
        if value.shape != found.shape and (name not in head or value.shape[1:] != found.shape[1:]):
            raise WeightsError(
                f"{path} does not fit: {name} is {tuple(found.shape)}, not {tuple(value.shape)}"
            )
        if value.ndim:
            value[rows] = found[rows]
        else:
            value.copy_(found)
    network.load_state_dict(own)
    return network


def load_teacher(config: FitConfig, spec: ModelSpec) -> nn.Module | None:
    """Return the finished network whose answers a run learns too; None where it names none.

    Args:
        spec: of the run, which has the labels and says how faces are prepared.

    Raises:
        WeightsError: no such checkpoint, or a network with another input or other outputs.
    """
    if not config.teacher:
        return None
    path = config.teacher
    weights, theirs = read_weights(path)
    network = create_network(theirs, output_count(config, spec))
    seen = spec_for(theirs)
    if (seen.input_size, seen.mean, seen.std) != (spec.input_size, spec.mean, spec.std):
        raise WeightsError(f"{path} does not fit: it is trained on faces prepared in another way")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise WeightsError(f"{path} does not fit as a teacher: {reason}") from None
    return network.eval().requires_grad_(False)


def head_names(network: nn.Module) -> set[str]:
    """Return the names of the parameters of the last linear layer."""
    head = network.get_classifier()  # type: ignore[operator]
    inside = next(name for name, module in network.named_modules() if module is head)
    return {f"{inside}.{name}" for name, _ in head.named_parameters()}


def build_optimizer(network: nn.Module, config: FitConfig) -> torch.optim.Optimizer:
    """Create the optimizer that the config names."""
    groups = (
        parameter_groups(network, config)
        if config.layer_decay == 1
        else layered_groups(network, config)
    )
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=config.lr)


def parameter_groups(network: nn.Module, config: FitConfig) -> list[dict[str, Any]]:
    """Weight decay for filters and matrices only, not for biases and norms."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def layered_groups(network: nn.Module, config: FitConfig) -> list[dict[str, Any]]:
    """Like :func:`parameter_groups`, for each block, with the factor on its rate as ``lr_scale``.

    Source: layer-wise decay, Howard & Ruder, ACL 2018, arXiv:1801.06146, and
    Bao et al., BEiT, ICLR 2022, arXiv:2106.08254.

    Raises:
        ValueError: the architecture does not say what its blocks are.
    """
    if isinstance(network, FaceNet):
        matcher: Any = FACE_LAYERS
    elif hasattr(network, "group_matcher"):
        matcher = network.group_matcher(coarse=False)  # type: ignore[operator]
    else:
        raise ValueError(f"{config.architecture} names no blocks; leave layer_decay at 1")
    layers = group_parameters(network, matcher, reverse=True)
    last = max(layers.values())
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        groups.setdefault((layers[name], parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": config.weight_decay if decayed else 0.0,
            "lr_scale": config.layer_decay ** (last - layer),
        }
        for (layer, decayed), parameters in groups.items()
    ]
