"""The same network with less work per face, for answering.

Two steps, neither of which changes what is computed. In evaluation mode a batch norm multiplies
and adds numbers that are fixed, so they go into the convolution before it. And for one face on a
CPU the weights of the convolutions are arranged beforehand as oneDNN wants them: for a single
small picture torch would else take a slower way, which costs about twice the time.

Source: https://github.com/pytorch/pytorch/pull/40610 (why torch avoids oneDNN for one picture).
"""

import copy
import logging
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

TOLERANCE = 1e-4
"""Largest difference of the features to the original's, as a share of the largest feature."""

PACKED_ON = ("AVX2", "AVX512")
"""Kinds of processor on which packing has been measured; on older ones it is slower."""

logger = logging.getLogger(__name__)


class Call(NamedTuple):
    """One use of a convolution or a batch norm: which, what went in, what came out."""

    name: str
    module: nn.Module
    given: torch.Tensor
    made: torch.Tensor


class PackedConv(nn.Module):
    """A convolution for one size of input, its weights arranged for oneDNN; cannot be trained.

    The operator is the one that ``torch.compile`` puts in place of a convolution when it freezes
    a network for the CPU.

    Args:
        conv: float32, on the CPU; see :func:`packable`.
        shape: of its input. Another one, or another number of threads than now, gives the right
            answer too, but can be ten times slower.
    """

    def __init__(self, conv: nn.Conv2d, shape: torch.Size) -> None:
        super().__init__()
        self.how = (conv.padding, conv.stride, conv.dilation, conv.groups)
        arrange = torch.ops.aten.mkldnn_reorder_conv2d_weight
        self.weight = arrange(conv.weight.detach().to_mkldnn(), *self.how, list(shape))
        self.bias = None if conv.bias is None else conv.bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        run = torch.ops.mkldnn._convolution_pointwise
        out: torch.Tensor = run(x, self.weight, self.bias, *self.how, "none", [], "")
        return out


class PackedForOne(nn.Module):
    """A network, and a copy of it with packed convolutions that takes single faces.

    Args:
        network: on the CPU; see :func:`pack_convs`.
        probe: (1, 3, S, S) float32.
    """

    def __init__(self, network: nn.Module, probe: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.packed = pack_convs(network, probe)
        self.shape = probe.shape
        self.threads = torch.get_num_threads()

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) to the last feature map."""
        fits = x.shape == self.shape and torch.get_num_threads() == self.threads
        network = self.packed if fits else self.network
        out: torch.Tensor = network.forward_features(x)  # type: ignore[operator]
        return out


def quicken(network: nn.Module, size: int, *, pack: bool) -> nn.Module:
    """Return a network with the same ``forward_features`` that takes less time.

    Args:
        network: on the CPU, in evaluation mode, float32; it is copied, not changed.
        size: side S of the input (N, 3, S, S).
        pack: whether it will run on the CPU.

    Returns:
        The quicker copy; the network itself where the copy's features are not the same.
    """
    probe = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    quick = fold_norms(network, probe).to(memory_format=torch.channels_last)
    if pack and can_pack():
        try:
            quick = PackedForOne(quick, probe)
        except (RuntimeError, TypeError) as error:
            # The operators are torch's own affair and may change; without them it is only slower.
            logger.info("convolutions are not packed: %s", error)
    if same_features(quick, network, probe):
        return quick
    logger.warning("the network's features change when its norms are folded; it stays unfolded")
    return network


def same_features(one: nn.Module, other: nn.Module, probe: torch.Tensor) -> bool:
    """Whether two networks agree on the probe within :data:`TOLERANCE`."""
    with torch.inference_mode():
        expected = other.forward_features(probe)  # type: ignore[operator]
        found = one.forward_features(probe)  # type: ignore[operator]
    difference = float((found - expected).abs().max())
    return difference <= TOLERANCE * float(expected.abs().max())


def fold_norms(network: nn.Module, probe: torch.Tensor) -> nn.Module:
    """Return a copy of the network whose batch norms have gone into the convolutions.

    The pairs are found by watching the network at work, since the order of definition says
    nothing. That no third layer reads the convolution's output cannot be seen so; compare with
    :func:`same_features`.
    """
    network = copy.deepcopy(network)
    for first, second in pairwise(record_calls(network, probe)):
        conv, norm = first.module, second.module
        follows = isinstance(conv, nn.Conv2d) and second.given is first.made
        if not follows or type(norm) not in (nn.BatchNorm2d, BatchNormAct2d):
            continue
        fold_into(conv, norm)
        network.set_submodule(second.name, getattr(norm, "act", nn.Identity()))
    return network


def fold_into(conv: Any, norm: Any) -> None:
    """Give a convolution the weight and bias that do the work of the norm behind it too."""
    statistics = (norm.running_mean, norm.running_var, norm.eps)
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, *statistics, norm.weight, norm.bias
    )


def record_calls(network: nn.Module, probe: torch.Tensor) -> list[Call]:
    """Return each use of a convolution or a batch norm on the way to the features, in order."""
    calls: list[Call] = []
    names = {module: name for name, module in network.named_modules()}

    def watch(module: nn.Module, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        calls.append(Call(names[module], module, given[0], made))

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [m.register_forward_hook(watch) for m in names if isinstance(m, kinds)]
    with torch.inference_mode():
        network.forward_features(probe)  # type: ignore[operator]
    for hook in hooks:
        hook.remove()
    return calls


def can_pack() -> bool:
    """Whether this torch has the operator of :class:`PackedConv`, and this processor gains."""
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and torch.backends.cpu.get_cpu_capability() in PACKED_ON
    )


def packable(module: nn.Module) -> bool:
    """Whether a module is a plain convolution, padded with a number of zeros."""
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def pack_convs(network: nn.Module, probe: torch.Tensor) -> nn.Module:
    """Return a copy of the network with :class:`PackedConv` for each plain convolution."""
    network = copy.deepcopy(network)
    for call in record_calls(network, probe):
        if isinstance(call.module, nn.Conv2d) and packable(call.module):
            network.set_submodule(call.name, PackedConv(call.module, call.given.shape))
    return network
