"""train.engine, train.augment, train.config: a run learns, and goes on where it was killed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.utils import ModelEmaV3

from emotion.errors import WeightsError
from emotion.labels import FERPLUS
from train.augment import build_augmentation, mixup
from train.config import FitConfig, differences, spec_for, stored_config
from train.datasets import DataError, FaceDataset, one_hot
from train.engine import Run, batches, fit, learning_rate, resume

TINY = FitConfig(pretrained=False, epochs=2, batch_size=8, warmup=0.5, ema=0.9)


def shapes(count: int, seed: int = 0) -> FaceDataset:
    """Grey pictures of a filled disc ("happiness") or an upright bar ("fear"), with noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :48]
    crops, labels = [], np.arange(count) % 2
    for label in labels:
        y, x = rng.integers(20, 28, 2)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < 150
        shape = disc if label == 0 else np.abs(columns - x) < 4
        crops.append((60 + 140 * shape + rng.integers(0, 30, (48, 48))).astype(np.uint8))
    classes = np.array([FERPLUS.index("happiness"), FERPLUS.index("fear")])[labels]
    return FaceDataset(crops, one_hot(classes), classes, [f"{i}" for i in range(count)])


def run_in(folder: Path, config: FitConfig = TINY) -> Run:
    return Run(folder, config, torch.device("cpu"))


def averaged(checkpoint: Path) -> dict[str, torch.Tensor]:
    state = torch.load(checkpoint, weights_only=True)
    weights: dict[str, torch.Tensor] = state["ema"]
    return weights


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


class PowerCutError(Exception):
    """What stops a run in these tests."""


def cut(row: dict[str, float]) -> None:
    raise PowerCutError


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    fit(run_in(folder), train=shapes(40), validation=shapes(12, seed=1))
    return folder


# --- going on ------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_with_the_same_result(whole_run: Path, tmp_path: Path) -> None:
    train, validation = shapes(40), shapes(12, seed=1)
    with pytest.raises(PowerCutError):
        fit(run_in(tmp_path), train=train, validation=validation, on_epoch=cut)
    after_one = averaged(tmp_path / "last.pt")
    torch.rand(17)  # another process would not have this one's random state either
    rows: list[dict[str, float]] = []
    fit(run_in(tmp_path), train=train, validation=validation, on_epoch=rows.append)
    assert [row["epoch"] for row in rows] == [2]

    whole, resumed = averaged(whole_run / "last.pt"), averaged(tmp_path / "last.pt")
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    assert any(not torch.equal(v, after_one[k]) for k, v in whole.items()), "epoch 2 did nothing"
    kept = [[(r["epoch"], r["loss"]) for r in history(f)] for f in (whole_run, tmp_path)]
    assert kept[0] == kept[1]
    assert [epoch for epoch, _ in kept[0]] == [1, 2]
    assert not list(tmp_path.glob("*.partial"))


def test_a_finished_run_stays_as_it_is(whole_run: Path) -> None:
    before = (whole_run / "last.pt").read_bytes()
    rows: list[dict[str, float]] = []
    fit(run_in(whole_run), train=shapes(40), validation=shapes(12), on_epoch=rows.append)
    assert rows == []
    assert (whole_run / "last.pt").read_bytes() == before
    assert len(history(whole_run)) == 2


def test_another_config_in_the_same_folder_is_refused(whole_run: Path) -> None:
    other = replace(TINY, lr=1e-3, mixup=0.0)
    with pytest.raises(ValueError, match=r"another lr, mixup; choose another --run-dir"):
        fit(run_in(whole_run, other), train=shapes(40), validation=shapes(12))
    assert len(history(whole_run)) == 2


def test_a_checkpoint_older_than_a_setting_goes_on(whole_run: Path, tmp_path: Path) -> None:
    state = torch.load(whole_run / "last.pt", weights_only=True)
    del state["config"]["light"], state["config"]["drop"]
    torch.save(state, tmp_path / "last.pt")
    fit(run_in(tmp_path), train=shapes(40), validation=shapes(12))
    with pytest.raises(ValueError, match="another light"):
        fit(run_in(tmp_path, replace(TINY, light=0.1)), train=shapes(40), validation=shapes(12))


def test_a_damaged_checkpoint_is_an_error_not_a_fresh_start(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="is not a training checkpoint"):
        fit(run_in(tmp_path), train=shapes(8), validation=shapes(4))
    assert (tmp_path / "last.pt").read_bytes() == b"half a file"


def test_a_fresh_start_forgets_an_old_history(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"epoch": 9}\n')
    model = torch.nn.Linear(2, 2)
    run = run_in(tmp_path)
    optimizer = torch.optim.SGD(model.parameters())
    assert resume(run, model, ModelEmaV3(model), optimizer) == 0
    assert not run.history.exists()


# --- learning ------------------------------------------------------------------------------------


def test_it_learns_what_is_easy(tmp_path: Path) -> None:
    config = FitConfig(
        epochs=4, batch_size=8, lr=1e-3, warmup=0.5, ema=0.8, mixup=0.0, label_smoothing=0.0
    )
    fit(run_in(tmp_path, config), train=shapes(48), validation=shapes(20, seed=5))
    rows = history(tmp_path)
    assert rows[0]["loss"] < np.log(8) + 0.3, "the head must start near indifference"
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[-1]["validation_accuracy"] >= 0.95


def test_another_seed_gives_another_run(whole_run: Path, tmp_path: Path) -> None:
    config = replace(TINY, seed=1)
    with pytest.raises(PowerCutError):
        fit(run_in(tmp_path, config), train=shapes(40), validation=shapes(12), on_epoch=cut)
    assert history(tmp_path)[0]["loss"] != history(whole_run)[0]["loss"]


def test_a_timm_network_can_be_trained(tmp_path: Path) -> None:
    config = replace(TINY, architecture="resnet18", epochs=1, batch_size=4)
    checkpoint = fit(run_in(tmp_path, config), train=shapes(4), validation=shapes(2))
    expected = timm.create_model("resnet18", num_classes=8).state_dict()
    assert {k.removeprefix("module.") for k in averaged(checkpoint)} == set(expected)


def test_too_few_faces(tmp_path: Path) -> None:
    nobody = shapes(4).where(np.zeros(4, bool))
    with pytest.raises(DataError, match="1 faces to train on, 4 to validate"):
        fit(run_in(tmp_path), train=shapes(1), validation=shapes(4))
    with pytest.raises(DataError, match="0 to validate"):
        fit(run_in(tmp_path), train=shapes(4), validation=nobody)


def test_unknown_architecture_leaves_no_folder(tmp_path: Path) -> None:
    config = replace(TINY, architecture="resnet_of_dreams")
    with pytest.raises(ValueError, match="no architecture 'resnet_of_dreams'"):
        fit(run_in(tmp_path / "run", config), train=shapes(4), validation=shapes(4))
    assert not (tmp_path / "run").exists()


# --- schedule and batches ------------------------------------------------------------------------


def test_learning_rate_endpoints() -> None:
    config = FitConfig(lr=0.1, epochs=11, warmup=1.0)
    assert 0 < learning_rate(config, 0) < 0.001
    assert learning_rate(config, 0.5) == pytest.approx(0.05, rel=0.01)
    assert learning_rate(config, 1) == pytest.approx(0.1)
    assert learning_rate(config, 6) == pytest.approx(0.05)
    assert learning_rate(config, 11) == pytest.approx(0, abs=1e-12)
    assert learning_rate(config, 12) == pytest.approx(0, abs=1e-12)
    rates = [learning_rate(config, e) for e in np.linspace(1, 11, 50)]
    assert rates == sorted(rates, reverse=True)
    assert learning_rate(FitConfig(lr=0.1, epochs=2, warmup=0.0), 0) == pytest.approx(0.1)


def test_batches_are_shuffled_whole_and_the_same_again() -> None:
    faces, spec = shapes(21), spec_for(TINY)
    one, again = (list(batches(faces, spec, TINY, 3)) for _ in range(2))
    assert [len(images) for images, _ in one] == [8, 8], "the incomplete batch is left out"
    images, targets = one[0]
    assert images.shape == (8, 1, 128, 128)
    assert 0 <= images.min() < images.max() <= 1
    assert targets.shape == (8, 8)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(one, again, strict=True))
    assert not torch.equal(images, next(batches(faces, spec, TINY, 4))[0])
    assert [len(x) for x, _ in batches(shapes(5), spec, TINY, 0)] == [5]


# --- augmentation --------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_keeps_shape_and_range_and_follows_the_seed(channels: int) -> None:
    augment = build_augmentation(FitConfig(blur=0.5))
    torch.manual_seed(5)
    x = torch.rand(16, channels, 64, 64)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(augment(x))
    first, same, other = outputs
    assert first.shape == x.shape
    assert first.dtype == torch.float32
    assert first.min() >= -1e-5
    assert first.max() <= 1 + 1e-5
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_each_face_of_a_batch_is_changed_its_own_way() -> None:
    face = torch.rand(1, 1, 64, 64).expand(8, -1, -1, -1).clone()
    torch.manual_seed(0)
    out = build_augmentation(FitConfig())(face)
    assert len({float(row.double().sum()) for row in out}) == 8


def test_augmentation_can_be_all_but_switched_off() -> None:
    config = FitConfig(rotation=0, shift=0, zoom=0, erase=0, blur=0, light=0)
    x = torch.rand(32, 1, 32, 32)
    torch.manual_seed(0)
    out = build_augmentation(config)(x)
    kept = (out - x).abs().amax((1, 2, 3)) < 1e-4
    mirrored = (out - x.flip(3)).abs().amax((1, 2, 3)) < 1e-4
    assert (kept | mirrored).all()
    assert kept.any()
    assert mirrored.any()


def test_mixup_blends_faces_and_targets_alike() -> None:
    torch.manual_seed(3)
    targets = torch.eye(8)
    images = targets.view(8, 8, 1, 1).expand(8, 8, 4, 4)
    mixed, blended = mixup(images, targets, 0.4)
    assert mixed.shape == images.shape
    torch.testing.assert_close(blended.sum(1), torch.ones(8))
    assert (blended >= 0).all()
    # The pictures here spell their targets, so what holds for one must hold for the other.
    torch.testing.assert_close(mixed[:, :, 0, 0], blended)
    assert not torch.equal(blended, targets)
    torch.manual_seed(3)
    assert torch.equal(mixup(images, targets, 0.4)[0], mixed)


def test_mixup_of_zero_changes_nothing() -> None:
    images, targets = torch.rand(4, 1, 8, 8), torch.eye(4)
    same, also = mixup(images, targets, 0.0)
    assert same is images
    assert also is targets


# --- config --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("ema", 1.0),
        ("label_smoothing", -0.1),
        ("mixup", -1.0),
        ("erase", 1.5),
        ("zoom", -0.1),
    ],
)
def test_impossible_settings_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        FitConfig(**{field: value})  # type: ignore[arg-type]


def test_stored_config() -> None:
    assert stored_config({"epochs": 3}) == FitConfig(epochs=3)
    assert differences(FitConfig(epochs=3), FitConfig()) == ["epochs"]
    with pytest.raises(ValueError, match="unknown settings colour"):
        stored_config({"colour": 1})


def test_shipped_settings_stay() -> None:
    """The weights in weights/ were made with these; a change needs new weights and a log entry."""
    config = FitConfig()
    assert (config.architecture, config.epochs, config.batch_size) == ("dlib_face27", 24, 64)
    assert (config.lr, config.weight_decay, config.warmup) == (5e-4, 0.05, 1.0)
    assert (config.ema, config.mixup, config.label_smoothing) == (0.998, 0.4, 0.05)
    assert (config.rotation, config.shift, config.zoom) == (20.0, 0.08, 0.2)
    assert (config.erase, config.blur, config.light, config.drop) == (0.4, 0.2, 0.3, 0.2)
