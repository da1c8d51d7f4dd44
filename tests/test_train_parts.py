"""train.parts: faces with a part hidden, and a loss that compares evidence with what hiding did."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from emotion.evidence import class_evidence, share_by_region
from emotion.model import load_model
from emotion.regions import OUTSIDE, REGIONS
from tests.shapes import TINY, history, run_in, shapes
from train import parts
from train.config import FitConfig, spec_for
from train.engine import fit
from train.parts import as_rgb, likeness, random_part, region_numbers, unfaithfulness, with_hidden


def test_every_face_has_all_its_regions() -> None:
    numbers = region_numbers(shapes(3).crops, 48)
    assert numbers.shape == (3, 48, 48)
    assert numbers.dtype == np.uint8
    for face in numbers:
        assert set(np.unique(face)) == set(range(len(REGIONS)))


def test_what_is_hidden_differs_there_and_nowhere_else() -> None:
    faces = shapes(12)
    numbers = region_numbers(faces.crops, 48)
    images = torch.from_numpy(np.stack(faces.crops))[:, None].float() / 255
    torch.manual_seed(3)
    out = with_hidden(images, numbers)
    assert out.shape == (12, 3, 48, 48)
    face, hidden, mask = out.unbind(1)
    torch.testing.assert_close(face, images[:, 0])
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(face[mask == 0], hidden[mask == 0])
    assert ((face != hidden).flatten(1).any(1)).float().mean() > 0.8
    torch.manual_seed(3)
    assert torch.equal(with_hidden(images, numbers), out), "an epoch can be repeated"


def test_parts_are_regions_or_ellipses_and_never_the_whole() -> None:
    rng = np.random.default_rng(0)
    regions = region_numbers(shapes(1).crops, 48)[0]
    masks = [random_part(regions, rng) for _ in range(300)]
    named = [
        m
        for m in masks
        if all(m[regions == r].all() or not m[regions == r].any() for r in range(len(REGIONS)))
    ]
    assert 0.6 < len(named) / 300 < 0.95
    assert max(m.mean() for m in masks) < 0.95
    assert any(m[regions == OUTSIDE].all() for m in named)
    blank = np.full((48, 48), OUTSIDE, np.uint8)
    assert all(not m.all() for m in (random_part(blank, rng) for _ in range(50)))


def test_the_loss_is_nothing_where_hiding_takes_the_evidence_away(monkeypatch) -> None:
    """Features that are set to zero under a mask of whole cells are the ideal."""
    monkeypatch.setattr(parts, "ALIKE", 0.0)
    spec, head = spec_for(FitConfig()), nn.Linear(16, 8)
    before = torch.rand(2, 16, 7, 7)
    masks = torch.ones(2, 128, 128)
    ideal = torch.zeros_like(before)  # all is hidden, and all evidence is gone
    assert unfaithfulness(torch.cat([before, ideal]), masks, head, spec).item() < 1e-10
    unmoved = unfaithfulness(torch.cat([before, before]), masks, head, spec).item()
    assert unmoved > 1e-4
    none = torch.zeros_like(masks)
    assert unfaithfulness(torch.cat([before, before]), none, head, spec).item() == 0


def test_the_loss_counts_evidence_as_the_app_does(monkeypatch) -> None:
    monkeypatch.setattr(parts, "ALIKE", 0.0)
    model = load_model()
    crops = [as_rgb(crop, 96) for crop in shapes(2).crops]
    features = model.features(crops)
    masks = np.zeros((2, 128, 128), bool)
    masks[0, 60:100, 30:90] = True
    masks[1, :40] = True
    head = nn.Linear(*model.weight.T.shape)
    head.load_state_dict({"weight": model.weight, "bias": model.bias})
    after = torch.zeros_like(features)
    origin, step = model.spec.grid_on_crop()
    wanted = []
    for maps, mask in zip(class_evidence(model, features), masks, strict=True):
        on_mask = share_by_region(maps, mask[None], origin=origin, step=step)[:, 0]
        gap = maps.sum((1, 2)) - on_mask
        wanted.append(gap - gap.mean())
    gaps = torch.from_numpy(np.stack(wanted))
    distance = nn.functional.smooth_l1_loss(gaps, torch.zeros_like(gaps), beta=parts.BETA)
    both = torch.cat([features, after])
    found = unfaithfulness(both, torch.from_numpy(masks).float(), head, model.spec)
    assert found.item() == pytest.approx(distance.item(), rel=1e-4)


def test_maps_of_two_labels_that_are_alike_cost_something() -> None:
    head = nn.Linear(4, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0.9, 0, 0, 0], [0, 0, -1, 0]]))
    same = torch.rand(2, 4, 5, 5)
    assert likeness(same, head, 3).item() == pytest.approx(1, abs=1e-5)
    with torch.no_grad():
        head.weight[1] = torch.tensor([-0.1, 1.0, 0, 0])
    assert likeness(same, head, 3).item() < 0.9


def test_a_run_learns_with_it_and_leaves_the_norms_alone(tmp_path) -> None:
    plain = replace(TINY, mixup=0.0, erase=0.0, epochs=1)
    fit(
        run_in(tmp_path / "a", replace(plain, faithful=2.0)),
        train=shapes(24),
        validation=shapes(8, seed=1),
    )
    fit(run_in(tmp_path / "b", plain), train=shapes(24), validation=shapes(8, seed=1))
    states = [torch.load(tmp_path / n / "last.pt", weights_only=True) for n in "ab"]
    networks = [s.get("model", s.get("state", {}).get("model")) for s in states]
    name = next(key for key in networks[0] if key.endswith("num_batches_tracked"))
    assert int(networks[0][name]) == 0 < int(networks[1][name])
    assert history(tmp_path / "a")[0]["loss"] > history(tmp_path / "b")[0]["loss"]


@pytest.mark.parametrize("name", ["mixup", "cutmix", "erase", "cover"])
def test_faces_that_are_not_whole_are_refused(name: str) -> None:
    settings = {"mixup": 0.0, "cutmix": 0.0, "erase": 0.0, "cover": 0.0, name: 0.3}
    with pytest.raises(ValueError, match=f"with faithful, {name} must be 0"):
        FitConfig(faithful=1.0, **settings)
