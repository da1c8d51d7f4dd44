"""train.engine, train.epoch, train.batches, train.journal: a run learns, and goes on."""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.utils import ModelEmaV3

from emotion.errors import WeightsError
from emotion.labels import FER2013, FERPLUS
from emotion.preprocess import preprocess
from tests.shapes import TINY, averaged, history, run_in, shapes
from train.batches import all_targets, batches, enlarge, epoch_order
from train.checkpoint import load_checkpoint
from train.config import FitConfig, spec_for
from train.datasets import DataError
from train.engine import epoch_figures, fit
from train.epoch import DivergenceError, learning_rate, loss_of, taught
from train.journal import Clock, Journal, duration
from train.run import Learner

Stopper = Callable[[dict[str, float]], None]


class PowerCutError(Exception):
    """What stops a run in these tests."""


def cut_after(epochs: int) -> Stopper:
    """Stop a run once it has finished so many epochs."""

    def stop(row: dict[str, float]) -> None:
        if row["epoch"] == epochs:
            raise PowerCutError

    return stop


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
        fit(run_in(tmp_path), train=train, validation=validation, on_epoch=cut_after(1))
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


def test_a_run_that_goes_on_needs_its_start_no_more(whole_run: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.pt"
    start.write_bytes((whole_run / "last.pt").read_bytes())
    run = run_in(tmp_path / "run", replace(TINY, start=str(start)))
    faces = {"train": shapes(16), "validation": shapes(4)}
    with pytest.raises(PowerCutError):
        fit(run, **faces, on_epoch=cut_after(1))
    start.unlink()
    fit(run, **faces)
    assert len(history(run.folder)) == 2


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
    for name in ("light", "drop", "optimizer", "clip", "patience", "layer_decay"):
        del state["config"][name]
    torch.save(state, tmp_path / "last.pt")
    fit(run_in(tmp_path), train=shapes(40), validation=shapes(12))
    with pytest.raises(ValueError, match="another light"):
        fit(run_in(tmp_path, replace(TINY, light=0.1)), train=shapes(40), validation=shapes(12))


def test_lines_of_epochs_that_were_not_saved_are_dropped(tmp_path: Path) -> None:
    lines = ['{"epoch": 1, "loss": 2.0, "validation_accuracy": 0.5}', '{"epoch": 2}', '{"epo']
    (tmp_path / "history.jsonl").write_text("\n".join(lines))
    journal = Journal(tmp_path, finished=1)
    journal.add({"epoch": 2, "loss": 1.0, "validation_accuracy": 0.7})
    journal.close()
    assert [(row["epoch"], row["loss"]) for row in history(tmp_path)] == [(1, 2.0), (2, 1.0)]


def test_a_fresh_start_forgets_an_old_history(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"epoch": 1}\n')
    Journal(tmp_path, finished=0).close()
    assert not (tmp_path / "history.jsonl").exists()


# --- bad states ----------------------------------------------------------------------------------


def test_a_damaged_checkpoint_is_an_error_not_a_fresh_start(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="is not a training checkpoint"):
        fit(run_in(tmp_path), train=shapes(8), validation=shapes(4))
    assert (tmp_path / "last.pt").read_bytes() == b"half a file"


def test_a_checkpoint_of_another_network_in_the_folder(whole_run: Path, tmp_path: Path) -> None:
    state = torch.load(whole_run / "last.pt", weights_only=True)
    state["config"]["architecture"] = "regnetx_002"
    torch.save(state, tmp_path / "last.pt")
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(ValueError, match="another architecture; choose another --run-dir"):
        fit(run_in(tmp_path), train=shapes(8), validation=shapes(4))
    other = run_in(tmp_path, replace(TINY, architecture="regnetx_002"))
    with pytest.raises(
        WeightsError, match=r"last.pt does not fit regnetx_002: .*another --run-dir"
    ):
        fit(other, train=shapes(8), validation=shapes(4))
    assert (tmp_path / "last.pt").read_bytes() == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full: cannot fill a disk")
def test_a_full_disk_leaves_the_last_good_checkpoint(whole_run: Path, tmp_path: Path) -> None:
    partial = tmp_path / "last.partial"

    def fill(row: dict[str, float]) -> None:
        partial.symlink_to("/dev/full")  # what is written there meets a real ENOSPC

    faces = {"train": shapes(40), "validation": shapes(12, seed=1)}
    message = r"last.pt cannot be written \(No space left on device\).*make room .*same command"
    with pytest.raises(WeightsError, match=message):
        fit(run_in(tmp_path), **faces, on_epoch=fill)
    assert not partial.is_symlink()
    assert load_checkpoint(tmp_path / "last.pt", torch.device("cpu"))[0]["epoch"] == 1
    assert len(history(tmp_path)) == 2, "the line of an epoch comes before its checkpoint"

    fit(run_in(tmp_path), **faces)
    assert [row["epoch"] for row in history(tmp_path)] == [1, 2]
    whole, resumed = averaged(whole_run / "last.pt"), averaged(tmp_path / "last.pt")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "last.partial").write_bytes(b"half")
    (tmp_path / "best.partial").write_bytes(b"half")
    fit(run_in(tmp_path, replace(TINY, epochs=1)), train=shapes(8), validation=shapes(4))
    assert not list(tmp_path.glob("*.partial"))


def test_too_few_faces(tmp_path: Path) -> None:
    nobody = shapes(4).where(np.zeros(4, bool))
    with pytest.raises(DataError, match="1 faces to train on, 4 to validate"):
        fit(run_in(tmp_path), train=shapes(1), validation=shapes(4))
    with pytest.raises(DataError, match="0 to validate"):
        fit(run_in(tmp_path), train=shapes(4), validation=nobody)
    undecided = replace(shapes(4), labels=np.full(4, -1))
    with pytest.raises(DataError, match="0 to validate"):
        fit(run_in(tmp_path), train=shapes(4), validation=undecided)


def test_one_class_only(tmp_path: Path) -> None:
    faces = shapes(20)
    with pytest.raises(DataError, match="all 10 faces to train on show happiness"):
        fit(
            run_in(tmp_path),
            train=faces.where(faces.labels == 1),
            validation=faces,
        )
    assert not list(tmp_path.iterdir())


def test_unknown_architecture_leaves_no_folder(tmp_path: Path) -> None:
    config = replace(TINY, architecture="resnet_of_dreams")
    with pytest.raises(ValueError, match="no architecture 'resnet_of_dreams'"):
        fit(run_in(tmp_path / "run", config), train=shapes(4), validation=shapes(4))
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    config = replace(TINY, optimizer="sgd", lr=1e30, warmup=0.0, clip=0.0)
    with pytest.raises(DivergenceError, match=r"loss became (nan|inf) in epoch 1.*lower --lr"):
        fit(run_in(tmp_path, config), train=shapes(40), validation=shapes(4))
    assert not (tmp_path / "last.pt").exists()


# --- learning ------------------------------------------------------------------------------------


def test_it_learns_what_is_easy(tmp_path: Path) -> None:
    config = FitConfig(
        epochs=3,
        batch_size=12,
        lr=3e-4,
        warmup=0.5,
        ema=0.8,
        mixup=0.0,
        label_smoothing=0.0,
        rotation=5.0,
        erase=0.0,
    )
    fit(run_in(tmp_path, config), train=shapes(48), validation=shapes(20, seed=5))
    rows = history(tmp_path)
    assert rows[0]["loss"] < np.log(8) + 0.3, "the head must start near indifference"
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert rows[-1]["validation_accuracy"] >= 0.95


def test_all_settings_together_learn_too(whole_run: Path, tmp_path: Path) -> None:
    """The second head, cutmix, repeated classes, degradations, sgd and layer-wise rates."""
    config = replace(
        TINY,
        start=str(whole_run / "last.pt"),
        epochs=6,
        lr=0.05,
        optimizer="sgd",
        layer_decay=0.9,
        fer2013=0.5,
        cutmix=0.5,
        balance=0.6,
        degrade=0.2,
        denoise=0.2,
        cover=0.1,
    )
    fit(run_in(tmp_path, config), train=shapes(48), validation=shapes(20, seed=5))
    first, *_, last = history(tmp_path)
    assert last["loss"] < first["loss"]
    assert last["validation_accuracy"] >= 0.9
    assert last["validation_fer2013"] >= 0.9


def test_another_seed_gives_another_run(whole_run: Path, tmp_path: Path) -> None:
    config = replace(TINY, seed=1)
    with pytest.raises(PowerCutError):
        fit(
            run_in(tmp_path, config), train=shapes(40), validation=shapes(12), on_epoch=cut_after(1)
        )
    assert history(tmp_path)[0]["loss"] != history(whole_run)[0]["loss"]


def test_the_checkpoint_fits_the_plain_network(whole_run: Path) -> None:
    expected = timm.create_model("resnet10t", num_classes=8).state_dict()
    assert {k.removeprefix("module.") for k in averaged(whole_run / "last.pt")} == set(expected)


# --- patience ------------------------------------------------------------------------------------


def test_patience_ends_a_run_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    # So small a rate changes nothing, so that the first epoch stays the best.
    config = replace(TINY, epochs=9, patience=2, lr=1e-12, batch_size=4)
    run = run_in(tmp_path, config)
    faces = {"train": shapes(8), "validation": shapes(12, seed=1)}
    with pytest.raises(PowerCutError):
        fit(run, **faces, on_epoch=cut_after(1))
    # Killed between the checkpoint and its copy, the copy is made at the next start.
    run.best.unlink()
    assert fit(run, **faces) == run.best
    rows = history(tmp_path)
    best = 1 + int(np.argmax([row["validation_accuracy"] for row in rows]))
    assert len(rows) == best + 2 < 9
    assert load_checkpoint(run.best, torch.device("cpu"))[0]["epoch"] == best
    assert load_checkpoint(run.checkpoint, torch.device("cpu"))[0]["epoch"] == best + 2

    fit(run, **faces)
    assert history(tmp_path) == rows, "a run that was ended must not go on"


def test_without_patience_nothing_else_is_kept(whole_run: Path) -> None:
    assert not (whole_run / "best.pt").exists()


# --- what a run tells ----------------------------------------------------------------------------


def test_tensorboard_has_the_figures_of_the_history(whole_run: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(whole_run / "tensorboard")).Reload()
    for name in ("loss", "rate", "validation_accuracy", "validation_macro_recall"):
        told = [(event.step, event.value) for event in events.Scalars(name)]
        assert told == [(r["epoch"], pytest.approx(r[name])) for r in history(whole_run)], name


def test_without_tensorboard_there_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    journal = Journal(tmp_path, finished=0)
    journal.add({"epoch": 1, "loss": 2.0, "validation_accuracy": 0.5})
    journal.close()
    assert capsys.readouterr().err.count("TensorBoard is not installed") == 1
    assert not (tmp_path / "tensorboard").exists()
    assert len(history(tmp_path)) == 1


def test_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("train.journal.time.monotonic", lambda: now[0])
    clock = Clock(done=2, total=40)  # a run that goes on after two epochs
    assert clock.left(2) == "left ?"
    now[0] += 60
    assert clock.left(2.5) == "left 1 h 15 min"
    assert clock.left(40) == "left 0 s"
    told = [duration(s) for s in (0.4, 59.4, 59.6, 3569, 3571, 7260)]
    assert told == ["0 s", "59 s", "1 min", "59 min", "1 h 0 min", "2 h 1 min"]


# --- schedule, loss and batches ------------------------------------------------------------------


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


def test_the_loss_is_torchs_where_there_is_one_head() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 8), torch.rand(6, 8).softmax(1)
    expected = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.1)
    torch.testing.assert_close(loss_of(logits, targets, FitConfig(label_smoothing=0.1)), expected)


def test_a_face_without_fer2013_label_costs_nothing_on_the_second_head() -> None:
    config = FitConfig(fer2013=0.5, label_smoothing=0.1)
    torch.manual_seed(0)
    logits = torch.randn(2, 15, requires_grad=True)
    targets = torch.zeros(2, 15)
    targets[:, 0] = 1
    targets[0, 8 + 2] = 1
    loss_of(logits, targets, config).backward()
    gradient = logits.grad
    assert gradient is not None
    assert (gradient[1, 8:] == 0).all()
    assert (gradient[0, 8:] != 0).all()
    second = torch.nn.functional.cross_entropy(logits[:1, 8:], targets[:1, 8:], label_smoothing=0.1)
    first = torch.nn.functional.cross_entropy(logits[:, :8], targets[:, :8], label_smoothing=0.1)
    torch.testing.assert_close(loss_of(logits, targets, config), first + 0.5 * second / 2)


def test_targets_of_both_heads() -> None:
    faces = shapes(4)
    assert all_targets(faces, FitConfig()) is faces.targets
    rows = all_targets(faces, FitConfig(fer2013=0.5))
    assert rows.shape == (4, 15)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows[:, :8], faces.targets)
    assert rows[0, 8 + FER2013.index("happiness")] == 1
    assert rows[1, 8 + FER2013.index("fear")] == 1
    np.testing.assert_array_equal(rows[:, 8:].sum(1), [1, 1, 0, 0])


def test_figures_of_both_heads() -> None:
    faces = shapes(4)
    logits = np.zeros((4, 15), np.float32)
    logits[np.arange(4), faces.labels] = 1
    logits[3, FERPLUS.index("anger")] = 2
    logits[:, 8 + FER2013.index("happiness")] = 1
    assert epoch_figures(logits, faces) == {
        "validation_accuracy": 0.75,
        "validation_macro_recall": 0.75,
        "validation_fer2013": 0.5,
    }
    assert "validation_fer2013" not in epoch_figures(logits[:, :8], faces)


def test_batches_are_whole_and_in_order() -> None:
    faces, config = shapes(21), replace(TINY, batch_size=8)
    order = np.arange(21)[::-1].copy()
    found = list(batches(faces, spec_for(config), config, order))
    assert [len(images) for _, images, _ in found] == [8, 8], "the incomplete batch is left out"
    index, images, targets = found[0]
    assert index.tolist() == order[:8].tolist()
    assert images.shape == (8, 1, 48, 48), "at the size of the source"
    assert 0 <= images.min() < images.max() <= 1
    np.testing.assert_array_equal(targets.numpy(), faces.targets[order[:8]])
    np.testing.assert_allclose(images[0, 0].numpy() * 255, faces.crops[20], atol=1e-4)
    few = batches(shapes(5), spec_for(config), config, np.arange(5))
    assert [len(x) for _, x, _ in few] == [5]


def test_an_epochs_order_follows_from_its_number() -> None:
    faces = shapes(30)
    one, again, other = (epoch_order(faces, TINY, epoch) for epoch in (3, 3, 4))
    assert sorted(one) == list(range(30))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_rare_classes_are_repeated_by_the_square_root_of_what_they_lack() -> None:
    everyone = shapes(400)
    rare = everyone.where((everyone.labels == FERPLUS.index("happiness")) | (np.arange(400) < 40))
    share = (rare.labels == FERPLUS.index("fear")).mean()
    config = replace(TINY, balance=0.4)
    counts = np.mean(
        [np.bincount(rare.labels[epoch_order(rare, config, e)], minlength=8) for e in range(20)], 0
    )
    happy, fear = counts[FERPLUS.index("happiness")], counts[FERPLUS.index("fear")]
    assert happy == 200
    assert fear == pytest.approx(20 * math.sqrt(0.4 / share), rel=0.05)


def test_a_face_that_was_not_changed_reaches_the_network_as_when_it_is_served() -> None:
    faces = shapes(3)
    for config in (FitConfig(), TINY, replace(TINY, input_size=48)):
        spec = spec_for(config)
        _, images, _ = next(batches(faces, spec, replace(config, batch_size=3), np.arange(3)))
        mean = torch.tensor(spec.mean).view(1, 3, 1, 1)
        std = torch.tensor(spec.std).view(1, 3, 1, 1)
        trained = (enlarge(images, spec).expand(-1, 3, -1, -1) - mean) / std
        torch.testing.assert_close(trained, preprocess(faces.crops, spec), rtol=0, atol=1e-5)


# --- a teacher -----------------------------------------------------------------------------------


class Oracle(torch.nn.Module):
    """Answers the first label of each label set with near certainty."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(x), len(FERPLUS) + len(FER2013))
        logits[:, [0, len(FERPLUS)]] = 50.0
        return logits


def test_the_teachers_share_of_the_targets(tmp_path: Path) -> None:
    config = replace(TINY, fer2013=1.0, teacher="t.pt", distil=0.25, precision="float32")
    network = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(network.parameters())
    learner = Learner(network, network, ModelEmaV3(network), optimizer, Oracle())
    targets = torch.zeros(2, 15)
    targets[0, 3] = targets[1, 3] = targets[1, 9] = 1.0  # the first has no FER2013 label
    mixed = taught(learner, torch.zeros(2, 3, 4, 4), targets, run_in(tmp_path, config))
    wanted = torch.zeros(2, 15)
    wanted[:, 0], wanted[:, 3], wanted[1, 8], wanted[1, 9] = 0.25, 0.75, 0.25, 0.75
    assert torch.allclose(mixed, wanted)
    alone = replace(learner, teacher=None)
    assert taught(alone, torch.zeros(2, 3, 4, 4), targets, run_in(tmp_path, config)) is targets


def test_a_run_learns_from_a_teacher_alone(whole_run: Path, tmp_path: Path) -> None:
    """With all of the target the teacher's, labels of another kind change nothing."""
    config = replace(TINY, teacher=str(whole_run / "last.pt"), distil=1.0, epochs=1)
    faces = shapes(40)
    shuffled = replace(faces, targets=np.roll(faces.targets, 1, axis=1))
    for folder, train in ((tmp_path / "a", faces), (tmp_path / "b", shuffled)):
        fit(run_in(folder, config), train=train, validation=shapes(8, seed=1))
    first, second = (averaged(tmp_path / name / "last.pt") for name in "ab")
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    fit(run_in(tmp_path / "c", replace(config, teacher="")), train=faces, validation=shapes(8))
    other = averaged(tmp_path / "c" / "last.pt")
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [({"input_size": 48}, "prepared in another way"), ({"fer2013": 1.0}, "as a teacher")],
)
def test_a_teacher_that_does_not_fit(change, words, whole_run: Path, tmp_path: Path) -> None:
    config = replace(TINY, teacher=str(whole_run / "last.pt"), **change)
    with pytest.raises(WeightsError, match=words):
        fit(run_in(tmp_path, config), train=shapes(16), validation=shapes(4))


def test_a_teacher_that_is_not_there(tmp_path: Path) -> None:
    config = replace(TINY, teacher=str(tmp_path / "none.pt"))
    with pytest.raises(WeightsError, match=r"none\.pt"):
        fit(run_in(tmp_path / "r", config), train=shapes(16), validation=shapes(4))
