"""The served network: batches change nothing, and only exact heads are let in."""

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch

from emotion.classify import classify
from emotion.errors import WeightsError
from emotion.images import RGBImage
from emotion.model import MAX_BATCH, EmotionModel, choose_device
from emotion.preprocess import preprocess
from emotion.weights import find_weights, load_state


def build(model: EmotionModel, architecture: str, *, classes: int = 8) -> EmotionModel:
    """An untrained network under the spec of the real one."""
    network = timm.create_model(architecture, num_classes=classes, pretrained=False)
    with torch.no_grad():
        # As created, many biases are 0 and some norms do nothing: a layer too many would hide.
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    spec = replace(model.spec, architecture=architecture)
    return EmotionModel(spec, network, torch.device("cpu"))


def crops(face: RGBImage, count: int) -> list[np.ndarray]:
    """Different crops, of different sizes."""
    return [np.ascontiguousarray(face[i : 100 + 2 * i, i : 100 + 2 * i]) for i in range(count)]


def test_network_is_frozen_and_in_evaluation_mode(model: EmotionModel) -> None:
    assert not model.network.training
    assert not any(p.requires_grad for p in model.network.parameters())
    assert model.weight.shape == (8, 256)


def test_network_keeps_the_tensors_of_its_file(model: EmotionModel) -> None:
    stored = load_state(find_weights(model.spec.name), model.spec)
    own = model.network.state_dict()
    assert own.keys() == stored.keys()
    assert all(torch.equal(own[name], value) for name, value in stored.items())


def test_answers_are_those_of_the_network_as_stored(
    model: EmotionModel, face_tile: RGBImage
) -> None:
    batch = crops(face_tile, 3)
    with torch.inference_mode():
        expected = model.network(preprocess(batch, model.spec)).numpy()
    for count in (1, 3):
        found = np.stack([p.logits for p in classify(model, batch[:count])])
        np.testing.assert_allclose(found, expected[:count], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["resnet10t", "mobilenetv2_050", "regnety_002"])
def test_pool_and_linear_head_are_accepted(model: EmotionModel, architecture: str) -> None:
    assert build(model, architecture).weight.shape[0] == 8


# A convolution, a norm, or a linear layer stands between their pool and their last layer.
@pytest.mark.parametrize("architecture", ["mobilenetv3_small_050", "convnext_atto", "ghostnet_050"])
def test_layer_behind_the_pool_is_refused(model: EmotionModel, architecture: str) -> None:
    with pytest.raises(WeightsError, match=f"{architecture} does not end in an average pool"):
        build(model, architecture)


def test_head_with_other_number_of_outputs_is_refused(model: EmotionModel) -> None:
    with pytest.raises(WeightsError, match="linear head with 8 outputs"):
        build(model, "resnet10t", classes=7)


def test_batch_equals_one_by_one(model: EmotionModel, face_tile: RGBImage) -> None:
    batch = crops(face_tile, 6)
    together = classify(model, batch)
    for crop, prediction in zip(batch, together, strict=True):
        alone = classify(model, [crop])[0]
        np.testing.assert_allclose(prediction.logits, alone.logits, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(prediction.probabilities, alone.probabilities, atol=1e-5)
        assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-6)


def test_more_faces_than_one_batch_holds(model: EmotionModel, face_tile: RGBImage) -> None:
    one = face_tile[::4, ::4]
    features = model.features([one] * (MAX_BATCH + 1))
    assert features.shape == (MAX_BATCH + 1, 256, 7, 7)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features[-1], features[0], rtol=1e-4, atol=1e-4)


def test_no_crops(model: EmotionModel) -> None:
    assert classify(model, []) == ()
    assert model.features([]).device == model.weight.device


def test_astronaut_shows_happiness(model: EmotionModel, astronaut: RGBImage) -> None:
    prediction = classify(model, [astronaut[60:180, 165:285]])[0]
    assert prediction.label == "happiness"
    assert prediction.probability("happiness") > 0.8


@pytest.mark.parametrize("name", [None, "auto"])
def test_device_by_itself(name: str | None) -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    if not torch.backends.mps.is_available():
        assert choose_device(name).type == expected


@pytest.mark.parametrize("name", ["gpu", "", "banana:0"])
def test_unknown_device(name: str) -> None:
    with pytest.raises(ValueError, match="expected cpu, cuda or mps"):
        choose_device(name)


def test_device_that_is_not_here() -> None:
    for kind, there in (
        ("cuda", torch.cuda.is_available()),
        ("mps", torch.backends.mps.is_available()),
        ("meta", False),
    ):
        if not there:
            with pytest.raises(ValueError, match=f"{kind} is not available here"):
                choose_device(kind)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_answers_like_the_cpu(model: EmotionModel, face_tile: RGBImage) -> None:
    from emotion.model import load_model

    gpu = load_model(device="cuda")
    assert classify(gpu, []) == ()
    expected, found = classify(model, [face_tile])[0], classify(gpu, [face_tile])[0]
    # bfloat16 has eight bits of mantissa.
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=0.03)
