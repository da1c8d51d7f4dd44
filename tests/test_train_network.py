"""train.network: networks as the settings say, their start from another run, their optimizers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from timm.layers import SelectAdaptivePool2d
from torch import nn

from emotion.errors import WeightsError
from tests.shapes import TINY, run_in, shapes
from train.checkpoint import averaged_weights, load_checkpoint
from train.config import ACTIVATIONS, POOLINGS, FitConfig, spec_for
from train.engine import fit
from train.network import build_network, build_optimizer, create_network, layered_groups

# --- networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_of_a_timm_network(activation: str) -> None:
    network = create_network(replace(TINY, activation=activation), 8)
    kinds = {type(m).__name__.lower() for m in network.modules()} & {
        name.replace("_", "") for name in ACTIVATIONS
    }
    assert kinds == {activation.replace("_", "")}


@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_of_a_timm_network(pooling: str) -> None:
    network = create_network(replace(TINY, pooling=pooling), 8).eval()
    (pool,) = [m for m in network.modules() if isinstance(m, SelectAdaptivePool2d)]
    assert pool.pool_type == pooling
    assert network(torch.rand(1, 3, 32, 32)).shape == (1, 8)


def test_the_face_network_has_relu_and_an_average() -> None:
    plain = FitConfig(pretrained=False)
    expected = create_network(plain, 8).state_dict().keys()
    both = replace(plain, activation="relu", pooling="avg")
    assert create_network(both, 8).state_dict().keys() == expected
    for setting in ({"activation": "leaky_relu"}, {"pooling": "avgmax"}, {"pooling": "max"}):
        with pytest.raises(ValueError, match="dlib_face27 does not take"):
            create_network(replace(plain, **setting), 8)


@pytest.mark.parametrize(
    ("architecture", "setting"),
    [
        ("ghostnet_100", {"activation": "silu"}),  # TypeError of its own
        ("inception_next_atto", {"activation": "silu"}),  # follows in a part of its layers
        ("convnext_atto", {"pooling": "catavgmax"}),  # AssertionError of its own
    ],
)
def test_an_architecture_that_does_not_take_a_setting(
    architecture: str, setting: dict[str, str]
) -> None:
    config = replace(TINY, architecture=architecture, **setting)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"^{architecture} .*{next(iter(setting.values()))}"):
        create_network(config, 8)


def test_an_input_size_that_an_architecture_does_not_take() -> None:
    config = replace(TINY, architecture="inception_v3", input_size=48)
    with pytest.raises(ValueError, match="inception_v3 takes no input_size of 48"):
        build_network(config, spec_for(config), shapes(2))


# --- starting from another run -------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run with one head."""
    run = run_in(tmp_path_factory.mktemp("finished"), replace(TINY, epochs=1))
    return fit(run, train=shapes(16), validation=shapes(4))


@pytest.mark.parametrize("fer2013", [0.0, 0.5])
def test_a_start_gives_its_averaged_weights(finished: Path, fer2013: float) -> None:
    config = replace(TINY, start=str(finished), fer2013=fer2013)
    torch.manual_seed(5)
    network = build_network(config, spec_for(config), shapes(4))
    stored = averaged_weights(load_checkpoint(finished, torch.device("cpu"))[0])
    outputs = 15 if fer2013 else 8
    for name, value in network.state_dict().items():
        if name.startswith("fc."):
            assert len(value) == outputs
        assert torch.equal(value[:8] if name.startswith("fc.") else value, stored[name]), name
    torch.manual_seed(5)
    plain = build_network(replace(config, start=""), spec_for(config), shapes(4))
    assert torch.equal(
        network.get_parameter("fc.weight")[8:], plain.get_parameter("fc.weight")[8:]
    ), "outputs that the other run lacks start at random"


def test_a_start_with_more_outputs_is_cut(finished: Path, tmp_path: Path) -> None:
    two = run_in(tmp_path, replace(TINY, epochs=1, fer2013=0.5))
    start = fit(two, train=shapes(16), validation=shapes(4))
    config = replace(TINY, start=str(start))
    network = build_network(config, spec_for(config), shapes(4))
    stored = averaged_weights(load_checkpoint(start, torch.device("cpu"))[0])
    assert torch.equal(network.get_parameter("fc.weight"), stored["fc.weight"][:8])


def test_a_start_that_does_not_fit(finished: Path, tmp_path: Path) -> None:
    def build(start: Path, **settings: str) -> None:
        config = replace(TINY, start=str(start), **settings)  # type: ignore[arg-type]
        build_network(config, spec_for(config), shapes(4))

    with pytest.raises(WeightsError, match=r"holds a resnet10t, not a regnetx_002"):
        build(finished, architecture="regnetx_002")
    with pytest.raises(WeightsError, match=r"does not fit: fc.weight is \(8, 512\), not \(8, 1024"):
        build(finished, pooling="catavgmax")
    with pytest.raises(WeightsError, match=r"there is no checkpoint .*nowhere.pt"):
        build(tmp_path / "nowhere.pt")
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(WeightsError, match="another kind of file"):
        build(tmp_path / "text.pt")
    state = torch.load(finished, weights_only=True)
    state["ema"]["module.layer1.0.conv1.weight"] = torch.zeros(3, 64, 3, 3)
    torch.save(state, tmp_path / "narrow.pt")
    with pytest.raises(WeightsError, match=r"layer1.0.conv1.weight is \(3, 64, 3, 3\), not \(64"):
        build(tmp_path / "narrow.pt")
    del state["ema"]["module.layer1.0.conv1.weight"]
    torch.save(state, tmp_path / "less.pt")
    with pytest.raises(WeightsError, match=r"layer1.0.conv1.weight is in one of the two only"):
        build(tmp_path / "less.pt")


# --- optimizers ----------------------------------------------------------------------------------


def test_optimizers() -> None:
    network = create_network(TINY, 8)
    adamw = build_optimizer(network, replace(TINY, weight_decay=0.1))
    assert isinstance(adamw, torch.optim.AdamW)
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.1, 0.0]
    assert all(p.ndim <= 1 for p in adamw.param_groups[1]["params"])
    sgd = build_optimizer(network, replace(TINY, optimizer="sgd"))
    assert isinstance(sgd, torch.optim.SGD)
    assert [(g["momentum"], g["nesterov"]) for g in sgd.param_groups] == [(0.9, True)] * 2
    everything = {id(p) for p in network.parameters()}
    for optimizer in (adamw, sgd):
        assert {id(p) for g in optimizer.param_groups for p in g["params"]} == everything


@pytest.mark.parametrize(
    ("architecture", "order"),
    [
        ("dlib_face27", ["conv1.weight", "blocks.0.conv1.weight", "blocks.12.conv2.weight"]),
        ("resnet10t", ["conv1.0.weight", "layer1.0.conv1.weight", "layer4.0.conv1.weight"]),
    ],
)
def test_layer_decay_slows_earlier_blocks(architecture: str, order: list[str]) -> None:
    config = replace(TINY, architecture=architecture, input_size=0, layer_decay=0.5)
    network = create_network(config, 8)
    groups = layered_groups(network, config)
    factors = {id(p): g["lr_scale"] for g in groups for p in g["params"]}
    assert factors.keys() == {id(p) for p in network.parameters()}
    scales = [factors[id(network.get_parameter(name))] for name in (*order, "fc.weight")]
    assert scales == sorted(set(scales)), "each earlier one is slower"
    assert scales[-2:] == [0.5, 1.0]
    for group in groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}


def test_layer_decay_reaches_the_rates(tmp_path: Path) -> None:
    run = run_in(tmp_path, replace(TINY, layer_decay=0.5, epochs=1))
    checkpoint = fit(run, train=shapes(16), validation=shapes(4))
    state, _ = load_checkpoint(checkpoint, torch.device("cpu"))
    rates = {(g["lr_scale"], g["lr"]) for g in state["optimizer"]["param_groups"]}
    top = max(rates)[1]
    assert len(rates) > 2
    assert all(rate == pytest.approx(top * scale) for scale, rate in rates)


def test_layer_decay_needs_blocks() -> None:
    with pytest.raises(ValueError, match="leave layer_decay at 1"):
        layered_groups(nn.Linear(2, 2), replace(TINY, layer_decay=0.5))
