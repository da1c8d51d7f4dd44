"""The quick copy of a network: the same features, with fewer steps."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
import timm
import torch
from torch import nn

from emotion import fold
from emotion.fold import PackedConv, PackedForOne, fold_norms, packable, quicken, same_features
from emotion.model import EmotionModel

SIZE = 128
needs_packing = pytest.mark.skipif(not fold.can_pack(), reason="this CPU or torch cannot pack")


def noise(count: int, *, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def untrained(architecture: str) -> nn.Module:
    """A timm network whose norms do something: as created, they multiply by 1 and add 0."""
    network = timm.create_model(architecture, num_classes=8).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values in (norm.running_mean, norm.bias):
                values.copy_(0.1 * torch.randn(values.shape, generator=generator))
            for values in (norm.running_var, norm.weight):
                values.copy_(0.8 + 0.4 * torch.rand(values.shape, generator=generator))
    return network


@pytest.mark.parametrize("count", [1, 3])
def test_served_network_has_no_norms_and_the_same_features(model: EmotionModel, count: int) -> None:
    assert norms(model.network) == 27
    assert norms(model.quick) == 0
    with torch.inference_mode():
        expected = model.network.forward_features(noise(count))
        found = model.quick.forward_features(noise(count))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert expected.abs().max() > 1


# timm's norm with an activation inside; plain norms; squeeze-and-excite; norms beside a
# convolution, which have to stay.
@pytest.mark.parametrize(
    ("architecture", "before", "after"),
    [
        ("mobilenetv2_050", 52, 0),
        ("resnet10t", 14, 0),
        ("regnety_002", 44, 0),
        ("repvgg_a0", 61, 17),
    ],
)
def test_generic_networks(architecture: str, before: int, after: int) -> None:
    network = untrained(architecture)
    folded = fold_norms(network, noise(1))
    assert (norms(network), norms(folded)) == (before, after)
    assert same_features(folded, network, noise(2, seed=3))
    assert quicken(network, SIZE, pack=True) is not network


class Shared(nn.Module):
    """Something else than the norm reads the convolution too, which cannot be seen from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        nn.init.constant_(self.norm.weight, 2)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return self.norm(y) + y


def test_network_that_cannot_be_folded_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    network = Shared().eval()
    assert not same_features(fold_norms(network, noise(1)), network, noise(1))
    assert quicken(network, SIZE, pack=True) is network
    assert "stays unfolded" in caplog.text


def test_not_a_number_is_not_the_same() -> None:
    network = Shared().eval()
    broken = deepcopy(network)
    nn.init.constant_(broken.conv.bias, float("nan"))
    assert same_features(network, network, noise(1))
    assert not same_features(broken, network, noise(1))
    assert not same_features(broken, broken, noise(1))


def test_copying_leaves_the_network_alone(model: EmotionModel) -> None:
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    quicken(model.network, SIZE, pack=True)
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(m._forward_hooks for m in model.network.modules())


@needs_packing
def test_packed_copy_takes_one_face_with_the_same_threads(model: EmotionModel) -> None:
    quick = PackedForOne(fold_norms(model.network, noise(1)), noise(1))
    taken: list[int] = []
    quick.packed.conv1.register_forward_hook(lambda *_: taken.append(1))
    threads = torch.get_num_threads()
    with torch.inference_mode():
        quick.forward_features(noise(1))
        assert len(taken) == 1
        quick.forward_features(noise(2))
        quick.forward_features(noise(1)[..., :100, :100])
        try:
            torch.set_num_threads(1 if threads > 1 else 2)
            quick.forward_features(noise(1))
        finally:
            torch.set_num_threads(threads)
    assert len(taken) == 1


@needs_packing
def test_threads_may_share_the_packed_copy(model: EmotionModel) -> None:
    assert isinstance(model.quick, PackedForOne)
    inputs = [noise(1, seed=seed) for seed in range(4)]

    def run(number: int) -> torch.Tensor:
        with torch.inference_mode():
            return model.quick.packed.forward_features(inputs[number % 4])

    expected = [run(number) for number in range(4)]
    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(run, range(32))):
            torch.testing.assert_close(found, expected[number % 4], rtol=1e-5, atol=1e-5)


def test_processor_that_does_not_gain(model: EmotionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    quick = quicken(model.network, SIZE, pack=True)
    assert norms(quick) == 0
    assert not any(isinstance(module, PackedConv) for module in quick.modules())


@pytest.mark.parametrize(
    ("conv", "expected"),
    [
        (nn.Conv2d(3, 4, 3, 2, 1), True),
        (nn.Conv2d(4, 4, 3, groups=4, dilation=2, bias=False), True),
        (nn.Conv2d(3, 4, 3, padding="same"), False),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), False),
        (nn.ConvTranspose2d(3, 4, 3), False),
        (timm.layers.Conv2dSame(3, 4, 3), False),
    ],
)
@needs_packing
def test_which_convolutions_are_packed(conv: nn.Module, expected: bool) -> None:
    assert packable(conv) is expected
    if expected:
        x = torch.randn(1, conv.in_channels, 20, 20)
        with torch.inference_mode():
            torch.testing.assert_close(PackedConv(conv, x.shape)(x), conv(x), rtol=1e-5, atol=1e-5)
