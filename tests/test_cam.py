"""The grad-cam package's methods work, and leave nothing behind on any network."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from torch import nn

from emotion import cam as module
from emotion.cam import METHODS, CamExplainer
from emotion.classify import classify
from emotion.images import RGBImage
from emotion.model import EmotionModel


@pytest.fixture(scope="module")
def explainer(model: EmotionModel) -> CamExplainer:
    return CamExplainer(model)


@pytest.fixture(scope="module")
def crop(face_tile: RGBImage) -> RGBImage:
    return face_tile[40:160, 35:155].copy()


def hooks(network: nn.Module) -> int:
    """Count all hooks of a network."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(m, kind)) for m in network.modules() for kind in kinds)


# ScoreCAM runs the network once per channel: at one layer only, for the time it takes.
@pytest.mark.parametrize(
    ("method", "layer"),
    [(m, "last") for m in METHODS] + [(m, "blocks.6") for m in METHODS if m != "scorecam"],
)
def test_every_method(explainer: CamExplainer, crop: RGBImage, method: str, layer: str) -> None:
    found = explainer.explain(crop, "happiness", method=method, layer=layer)
    assert (found.method, found.layer, found.label) == (method, layer, "happiness")
    assert found.map.dtype == np.float32
    assert found.map.shape == ((7, 7) if layer == "last" else (15, 15))
    assert np.isfinite(found.map).all()
    assert found.map.std() > 0
    assert found.peak == found.map.max()
    assert hooks(explainer.tapped) == 0


def test_maps_are_not_normalised(explainer: CamExplainer, crop: RGBImage) -> None:
    # A crop without a face has weak evidence, which [0, 1] would show as full heat.
    blank = np.full_like(crop, 128)
    assert explainer.explain(blank, "fear").peak < explainer.explain(crop, "happiness").peak / 2


def test_last_block_is_the_last_map(explainer: CamExplainer, crop: RGBImage) -> None:
    layers = explainer.layers()
    assert layers[-1] == "last"
    last = explainer.explain(crop, "fear").map
    block = explainer.explain(crop, "fear", layer=layers[-2]).map
    np.testing.assert_allclose(block, last, rtol=1e-4, atol=1e-6)


def test_hooks_are_released_after_an_error(
    explainer: CamExplainer, crop: RGBImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def fail(*_: object) -> None:
        seen.append(hooks(explainer.tapped))
        raise RuntimeError("out of memory, say")

    monkeypatch.setattr(module, "run_raw", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        explainer.explain(crop, "happiness")
    assert seen[0] > 0  # there was something to release
    assert hooks(explainer.tapped) == 0
    monkeypatch.undo()
    assert explainer.explain(crop, "happiness").peak > 0  # the lock is free again


def test_served_model_is_not_touched(model: EmotionModel, crop: RGBImage) -> None:
    before = classify(model, [crop])[0].logits
    explainer = CamExplainer(model)
    for method in ("gradcam", "layercam", "eigencam"):
        explainer.explain(crop, "surprise", method=method)
    np.testing.assert_array_equal(classify(model, [crop])[0].logits, before)
    assert hooks(model.network) == 0
    assert not any(p.requires_grad or p.grad is not None for p in model.network.parameters())
    assert not {id(p) for p in model.network.parameters()} & {
        id(p) for p in explainer.tapped.parameters()
    }


def test_threads_give_the_same_maps(explainer: CamExplainer, crop: RGBImage) -> None:
    labels = explainer.spec.labels
    expected = [explainer.explain(crop, label).map for label in labels]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: explainer.explain(crop, labels[n % 8]).map, range(32)))
    for number, one in enumerate(found):
        np.testing.assert_allclose(one, expected[number % 8], rtol=1e-4, atol=1e-6)


def test_eigencam_does_not_know_the_label(explainer: CamExplainer, crop: RGBImage) -> None:
    one, other = (
        explainer.explain(crop, label, method="eigencam").map for label in ("fear", "anger")
    )
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"label": "joy"}, "no label 'joy'; expected one of neutral, happiness"),
        ({"method": "magic"}, r"no method 'magic'; expected one of gradcam, gradcam\+\+"),
        ({"layer": "conv9"}, "no layer 'conv9'; expected one of blocks.0, .* last"),
    ],
)
def test_unknown_names_list_the_known_ones(
    explainer: CamExplainer, crop: RGBImage, wrong: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        explainer.explain(crop, **{"label": "fear", **wrong})


def test_bad_crop(explainer: CamExplainer) -> None:
    with pytest.raises(ValueError, match="expected a crop"):
        explainer.explain(np.zeros((4, 5, 3), np.uint8), "fear")
    assert hooks(explainer.tapped) == 0
