"""train.augment and train.sheet: faces change as the config says, and by the seed alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.shapes import shapes, write_shapes
from train.__main__ import main
from train.augment import (
    Cover,
    JpegBlocks,
    LowResolution,
    Recut,
    blend,
    build_degradation,
    build_framing,
    cutmix,
    degradations,
    framings,
    mixup,
    overlay,
    paste,
)
from train.config import SPEC, FitConfig
from train.datasets import DataError
from train.epoch import Changes
from train.epoch import changed as change_batch
from train.sheet import GAP, LABEL, TILE, write_sheet

NOTHING = FitConfig(rotation=0, shift=0, zoom=0, erase=0, blur=0, light=0, mixup=0)
EVERYTHING = FitConfig(blur=0.5, degrade=0.5, cover=0.5, denoise=0.5, light=0.4)
Mix = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def smooth(count: int, channels: int = 1, side: int = 48) -> torch.Tensor:
    """Pictures of soft stripes, each other than the next, in [0.2, 0.8]."""
    x = torch.arange(side) / side
    waves = [0.5 + 0.3 * torch.sin(7 * x * (1 + i / 9) + i) for i in range(count)]
    return torch.stack(waves).view(count, 1, 1, side).repeat(1, channels, side, 1)


def changed(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Which faces of a batch differ."""
    return (after - before).abs().amax((1, 2, 3)) > 1e-4


# --- all steps together --------------------------------------------------------------------------


@pytest.mark.parametrize("build", [build_degradation, build_framing])
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_range_stay_and_the_seed_decides(
    build: Callable[[FitConfig], torch.nn.Module], channels: int
) -> None:
    augment, x = build(EVERYTHING), smooth(16, channels)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(augment(x).clamp(0, 1))
    first, same, other = outputs
    assert first.shape == x.shape
    assert first.dtype == torch.float32
    assert not first.isnan().any()
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_building_draws_no_number() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build_degradation(EVERYTHING), build_framing(EVERYTHING)
    assert torch.equal(torch.rand(3), expected)


def test_each_face_of_a_batch_is_changed_its_own_way() -> None:
    face = smooth(1).expand(8, -1, -1, -1).clone()
    torch.manual_seed(0)
    out = build_framing(FitConfig())(build_degradation(EVERYTHING)(face))
    assert len({float(row.double().sum()) for row in out}) == 8


def test_all_but_the_mirror_can_be_switched_off() -> None:
    x = torch.rand(32, 1, 32, 32)
    torch.manual_seed(0)
    out = build_framing(NOTHING)(build_degradation(NOTHING)(x))
    kept, mirrored = ~changed(x, out), ~changed(x.flip(3), out)
    assert (kept | mirrored).all()
    assert kept.any()
    assert mirrored.any()


def test_noise_reduction_is_not_there_unless_it_is_asked_for() -> None:
    assert "noise reduction" not in degradations(FitConfig())
    names = list(degradations(FitConfig(denoise=0.1)))
    assert names.index("noise") < names.index("noise reduction") < names.index("JPEG")


@pytest.mark.parametrize("steps", [degradations, framings])
def test_always_changes_every_face(
    steps: Callable[..., dict[str, torch.nn.Module]],
) -> None:
    x = smooth(12) + 0.1 * torch.rand(12, 1, 48, 48)
    for name, step in steps(FitConfig(light=0.4), always=True).items():
        torch.manual_seed(1)
        assert changed(x, step(x)).float().mean() > 0.8, name


# --- single steps --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [LowResolution, JpegBlocks, Cover])
def test_a_step_changes_its_share_of_the_faces_and_not_its_input(
    kind: Callable[..., torch.nn.Module],
) -> None:
    x = torch.rand(400, 1, 24, 24)
    before = x.clone()
    torch.manual_seed(0)
    share = changed(x, kind(p=0.3)(x)).float().mean()
    assert share == pytest.approx(0.3, abs=0.07)
    assert torch.equal(x, before)
    assert not changed(x, kind(p=0.0)(x)).any()


def test_low_resolution_takes_detail_and_leaves_the_light() -> None:
    x = torch.rand(20, 1, 48, 48)
    torch.manual_seed(0)
    out = LowResolution(p=1.0)(x)
    assert (out.std((1, 2, 3)) < 0.6 * x.std((1, 2, 3))).all()
    torch.testing.assert_close(out.mean((1, 2, 3)), x.mean((1, 2, 3)), rtol=0, atol=0.02)


@pytest.mark.parametrize(("side", "channels"), [(48, 1), (50, 3)])
def test_jpeg_of_any_side_stays_close_and_aligned(side: int, channels: int) -> None:
    x = smooth(6, channels, side)
    torch.manual_seed(0)
    out = JpegBlocks(p=1.0)(x)
    assert out.shape == x.shape
    assert 1e-4 < (out - x).abs().mean() < 0.05
    assert (out - x).abs().mean() < (out.roll(3, 3) - x).abs().mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_another_cut_moves_all_channels_alike_and_keeps_the_light(channels: int) -> None:
    faces = torch.rand(6, 1, 48, 48).expand(-1, channels, -1, -1).clone()
    before = faces.clone()
    torch.manual_seed(0)
    cut = Recut(p=1.0)(faces)
    assert torch.equal(faces, before)
    assert cut.shape == faces.shape
    assert (cut == cut[:, :1]).all()
    assert ((cut - faces).abs().amax((1, 2, 3)) > 0.05).all()
    assert cut.min() >= 0
    assert cut.max() <= 1


def test_another_cut_draws_nothing_where_it_is_off() -> None:
    faces = torch.rand(2, 1, 48, 48)
    torch.manual_seed(0)
    assert torch.equal(Recut(p=0.0)(faces), faces)
    first = torch.rand(())
    torch.manual_seed(0)
    assert first == torch.rand(())


def test_cover_hides_the_upper_or_the_lower_part_evenly() -> None:
    x = torch.rand(60, 1, 40, 40)
    torch.manual_seed(0)
    out = Cover(p=1.0)(x)
    upper = lower = 0
    for face in out[:, 0]:
        flat = face.amax(1) == face.amin(1)
        height = int(flat.sum())
        assert 0.2 * 40 <= height <= 0.5 * 40
        assert face[flat].unique().numel() == 1
        upper += bool(flat[:height].all())
        lower += bool(flat[-height:].all())
    assert upper + lower == 60
    assert min(upper, lower) > 15


# --- mixing faces --------------------------------------------------------------------------------


def spelling(count: int = 8, side: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures whose channels spell their targets, so that both must be mixed alike."""
    targets = torch.eye(count)
    return targets.view(count, count, 1, 1).expand(count, count, side, side).clone(), targets


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_faces_and_targets_are_mixed_alike(mix: Mix) -> None:
    images, targets = spelling()
    before = images.clone()
    torch.manual_seed(3)
    mixed, blended = mix(images, targets, 0.7)
    assert mixed.shape == images.shape
    torch.testing.assert_close(blended.sum(1), torch.ones(8))
    assert (blended >= 0).all()
    torch.testing.assert_close(mixed.mean((2, 3)), blended)
    assert not torch.equal(blended, targets)
    assert torch.equal(images, before)
    torch.manual_seed(3)
    assert torch.equal(mix(images, targets, 0.7)[0], mixed)


def test_overlay_is_the_same_everywhere_and_paste_is_a_box() -> None:
    images, targets = spelling()
    torch.manual_seed(0)
    mixed, _ = overlay(images, targets, 0.6)
    assert (mixed == mixed[..., :1, :1]).all()
    torch.manual_seed(0)
    mixed, blended = paste(images, targets, 0.6)
    own = mixed[torch.arange(8), torch.arange(8)]
    assert set(own.unique().tolist()) <= {0.0, 1.0}
    shares = blended.diagonal()[blended.diagonal() < 1]
    width = int(20 * 0.4**0.5)
    torch.testing.assert_close(shares, torch.full_like(shares, 1 - width**2 / 400))


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_an_alpha_of_zero_changes_nothing(mix: Mix) -> None:
    images, targets = torch.rand(4, 1, 8, 8), torch.eye(4)
    same, also = mix(images, targets, 0.0)
    assert same is images
    assert also is targets


def test_a_face_without_label_adds_none() -> None:
    """A row of zeros stands for a label that is not known; mixing must not make one up."""
    images, targets = torch.rand(2, 1, 8, 8), torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    torch.manual_seed(1)
    for mix in (overlay, paste):
        _, blended = mix(images, targets, 0.5)
        assert (blended[:, 0] == 0).all()
        assert (blended.sum(1) <= 1).all()


def test_with_both_each_batch_takes_one_of_them() -> None:
    images, targets = spelling()
    config = FitConfig(mixup=1.0, cutmix=1.0)
    boxes = 0
    for seed in range(40):
        torch.manual_seed(seed)
        mixed, _ = blend(images, targets, config)
        boxes += bool((mixed != mixed[..., :1, :1]).any())
    assert 8 < boxes < 32
    assert blend(images, targets, NOTHING)[0] is images


# --- the contact sheet ---------------------------------------------------------------------------


def test_the_sheet_has_a_row_per_step(tmp_path: Path) -> None:
    config = FitConfig(degrade=0.1)
    write_sheet(tmp_path / "new" / "sheet.png", shapes(30), config, columns=4)
    sheet = np.asarray(Image.open(tmp_path / "new" / "sheet.png"))
    # The original, the steps, another cut, mixup, cutmix, and two rows of all together.
    count = 1 + len(framings(config)) + len(degradations(replace(config, denoise=1.0))) + 1 + 2 + 2
    assert sheet.shape == (count * (TILE + GAP) + GAP, LABEL + 4 * (TILE + GAP), 3)
    rows = [sheet[GAP + i * (TILE + GAP) :][:TILE] for i in range(count)]
    tiles = [row[:, LABEL : LABEL + TILE] for row in rows]
    for index, (row, face) in enumerate(zip(rows, tiles, strict=True)):
        assert (row[:, :LABEL] < 128).sum() > 50, f"row {index} has no label"
        assert face.std() > 5
    drawn = {face.tobytes() for face in tiles[:-4]}  # the last four may leave a face as it is
    assert len(drawn) == count - 4
    write_sheet(tmp_path / "again.png", shapes(30), config, columns=4)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "again.png")), sheet)


def test_a_sheet_needs_two_faces(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 faces"):
        write_sheet(tmp_path / "sheet.png", shapes(1), FitConfig())
    with pytest.raises(ValueError, match="at least 2 faces, got 1"):
        write_sheet(tmp_path / "sheet.png", shapes(4), FitConfig(), columns=1)


def test_the_sheet_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = write_shapes(tmp_path / "data", 8, 2), tmp_path / "sheet.png"
    assert main(["sheet", "--data", str(data), "--out", str(out), "--preset", "face27b"]) == 0
    assert Image.open(out).width == LABEL + 6 * (TILE + GAP)
    assert main(["sheet", "--data", str(data), "--out", str(tmp_path / "sheet.nothing")]) == 1
    assert "unknown file extension" in capsys.readouterr().err


# --- all changes of a batch -------------------------------------------------------------------


@pytest.mark.parametrize("hides", [True, False])
def test_a_teacher_may_see_the_face_before_another_cut(hides: bool) -> None:
    """Otherwise it is changed alike: without another cut the two are one picture."""
    spec = replace(SPEC, input_size=64)
    faces = torch.rand(3, 1, 12, 12).repeat_interleave(4, 2).repeat_interleave(4, 3)
    numbers = np.repeat(np.arange(48, dtype=np.uint8)[:, None] // 12, 48, 1)
    parts = np.stack([numbers] * 3) if hides else None
    config = FitConfig(mixup=0.0, erase=0.0, blur=0.0, light=0.0)
    frame = build_framing(config)
    for cut in (Recut(p=0.0), Recut(p=1.0)):
        torch.manual_seed(0)
        changes = Changes(torch.nn.Identity(), cut, frame)
        x, masks, view = change_batch(faces, parts, changes, spec=spec, whole=True)
        assert x.shape == ((6 if hides else 3), 1, 64, 64)
        assert view.shape == (3, 1, 64, 64)
        assert (masks is not None) is hides
        gaps = (x[:3] - view).abs().amax((1, 2, 3))
        assert (gaps > 0.05).all() if cut.p else (gaps == 0).all()
    x, _, view = change_batch(faces, parts, changes, spec=spec, whole=False)
    assert view is None
    assert len(x) == (6 if hides else 3)
