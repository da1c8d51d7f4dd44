"""train.metrics, train.evaluate, train.export and the command line of train."""

import copy
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from emotion.classify import classify
from emotion.evidence import class_evidence
from emotion.labels import FERPLUS
from emotion.model import EmotionModel, load_model
from emotion.preprocess import preprocess
from emotion.weights import load_spec
from train.__main__ import main
from train.config import SPEC
from train.datasets import DataError, FaceDataset, load_faces, one_hot
from train.evaluate import evaluate, record
from train.export import averaged_network, centre_head, export, fit_temperature
from train.metrics import accuracy_of, calibration_error, evaluate_logits

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "ferplus-face27.safetensors"
KEYS = {
    "n",
    "accuracy",
    "macro_recall",
    "macro_f1",
    "weighted_f1",
    "precision",
    "ece",
    "per_class",
    "confusion",
    "seconds",
}
TINY_FIT = ["--no-pretrained", "--epochs", "2", "--batch-size", "8", "--ema", "0.9", "--lr", "1e-3"]
Folders = tuple[Path, Path]


def certain(guesses: list[int], classes: int = 3, logit: float = 50.0) -> NDArray[np.float32]:
    """Logits that leave no doubt about each guess."""
    return (np.eye(classes)[guesses] * logit).astype(np.float32)


def write_tree(folder: Path, count: int = 24) -> None:
    """Write a small tree of pictures: light or dark noise, a folder per class and split."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for index in range(count):
            name, base = (("Happy", 160), ("2_Fear", 20))[index % 2]
            path = folder / split / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(base, base + 60, (48, 48, 3)).astype(np.uint8)).save(path)


def random_faces(count: int, seed: int = 0) -> FaceDataset:
    """Grey and colour crops of several sizes, with labels."""
    rng = np.random.default_rng(seed)
    crops = []
    for index in range(count):
        size = (48, 48) if index % 2 else (90, 90, 3)
        crops.append(rng.integers(0, 256, size).astype(np.uint8))
    labels = np.arange(count) % len(FERPLUS)
    return FaceDataset(crops, one_hot(labels), labels, [str(i) for i in range(count)])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A folder of pictures, and a run that the command line trained on it."""
    base = tmp_path_factory.mktemp("tiny")
    write_tree(base / "data")
    arguments = ["fit", "--data", str(base / "data"), "--run-dir", str(base / "run"), *TINY_FIT]
    assert main([*arguments, "--device", "cpu", "--threads", "2"]) == 0
    return base / "data", base / "run"


@pytest.fixture(scope="module")
def exported(tiny: Folders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weight file that the command line made of the tiny run."""
    data, run = tiny
    out = tmp_path_factory.mktemp("exported")
    arguments = ["export", "--data", str(data), "--run-dir", str(run), "--out", str(out)]
    assert main([*arguments, "--name", "mine", "--note", "data=drawn = by hand"]) == 0
    return out / "mine.safetensors"


# --- metrics -------------------------------------------------------------------------------------


def test_figures_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    figures = evaluate_logits(certain([0, 0, 0, 1, 1, 0]), labels, ["a", "b", "c"])
    assert figures["n"] == 6
    assert figures["accuracy"] == pytest.approx(4 / 6)
    # Class c has no face: it stays out of the means.
    assert figures["macro_recall"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert figures["precision"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert figures["macro_f1"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert figures["weighted_f1"] == pytest.approx((4 * 3 / 4 + 2 * 1 / 2) / 6)
    assert figures["confusion"] == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert figures["per_class"]["b"] == {"n": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert figures["per_class"]["c"] == {"n": 0, "precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert figures["ece"] == pytest.approx(2 / 6), "all confidence is 1, two of six are wrong"


def test_confusion_rows_are_the_truth() -> None:
    figures = evaluate_logits(certain([2, 2]), np.array([0, 2]), ["a", "b", "c"])
    assert figures["confusion"][0] == [0, 0, 1]
    assert figures["per_class"]["a"]["recall"] == 0.0
    assert figures["per_class"]["c"]["precision"] == 0.5


def test_an_absent_class_stays_out_of_the_means_even_when_guessed() -> None:
    figures = evaluate_logits(certain([0, 2]), np.array([0, 0]), ["a", "b", "c"])
    assert figures["macro_recall"] == pytest.approx(0.5)
    assert figures["precision"] == pytest.approx(1.0)


def test_figures_are_plain_json() -> None:
    figures = evaluate_logits(certain([0, 1]), np.array([0, 1]), ["a", "b", "c"])
    assert json.loads(json.dumps(figures)) == figures


def test_no_rows() -> None:
    with pytest.raises(ValueError, match="no labelled face"):
        evaluate_logits(np.empty((0, 3), np.float32), np.empty(0, np.int64), ["a", "b", "c"])


def test_accuracy() -> None:
    assert accuracy_of(certain([0, 1, 2, 2]), np.array([0, 1, 2, 0])) == 0.75


def test_calibration_error_by_hand() -> None:
    # Two bins of ten: 0.95 is right once in two, 0.65 always.
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.35, 0.65]], np.float32)
    error = calibration_error(probabilities, np.array([0, 1, 1, 1]), bins=10)
    assert error == pytest.approx(0.5 * abs(0.5 - 0.95) + 0.5 * abs(1 - 0.65), abs=1e-6)


def test_calibration_error_of_an_honest_classifier_is_zero() -> None:
    probabilities = np.tile(np.array([0.75, 0.25], np.float32), (4, 1))
    assert calibration_error(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(0, abs=1e-6)
    sure = np.array([[1.0, 0.0]], np.float32)
    assert calibration_error(sure, np.array([0])) == pytest.approx(0, abs=1e-6)


# --- evaluate ------------------------------------------------------------------------------------


def test_evaluate_is_what_is_served(model: EmotionModel) -> None:
    faces = random_faces(19)
    figures = evaluate(model, faces)
    served = classify(model, faces.crops)
    logits = np.stack([p.logits for p in served])
    expected = evaluate_logits(logits, faces.labels, model.spec.labels)
    assert {k: v for k, v in figures.items() if k != "seconds"} == expected
    labels = [p.labels[int(p.logits.argmax())] for p in served]
    right = [a == FERPLUS[b] for a, b in zip(labels, faces.labels, strict=True)]
    assert figures["accuracy"] == pytest.approx(np.mean(right))


def test_faces_without_a_label_do_not_count(model: EmotionModel) -> None:
    faces = random_faces(9)
    labels = np.where(np.arange(9) < 4, -1, faces.labels)
    figures = evaluate(model, FaceDataset(faces.crops, faces.targets, labels, faces.names))
    assert figures["n"] == 5
    nobody = FaceDataset(faces.crops, faces.targets, np.full(9, -1), faces.names)
    with pytest.raises(DataError, match="no labelled face"):
        evaluate(model, nobody)


def test_flip_averages_the_logits(model: EmotionModel) -> None:
    faces = random_faces(6)
    mirrored = [np.ascontiguousarray(c[:, ::-1]) for c in faces.crops]
    both = [np.stack([p.logits for p in classify(model, c)]) for c in (faces.crops, mirrored)]
    logits = ((both[0] + both[1]) / 2).astype(np.float32)
    expected = evaluate_logits(logits, faces.labels, model.spec.labels)
    figures = evaluate(model, faces, flip=True)
    assert figures["confusion"] == expected["confusion"]
    assert figures["ece"] == pytest.approx(expected["ece"], abs=1e-6)
    assert figures["ece"] != evaluate(model, faces)["ece"]


def other_labels(model: EmotionModel, labels: tuple[str, ...]) -> EmotionModel:
    """A model whose outputs go by other labels (and are as many)."""
    network = copy.deepcopy(model.network)
    head = network.get_classifier()  # type: ignore[operator]
    order = [model.spec.labels.index(name) for name in labels]
    network.fc = torch.nn.Linear(head.in_features, len(labels))
    network.fc.weight.data = head.weight.data[order]
    network.fc.bias.data = head.bias.data[order]
    return EmotionModel(replace(model.spec, labels=labels), network, torch.device("cpu"))


def test_labels_in_another_order_give_the_same_figures(model: EmotionModel) -> None:
    faces = random_faces(16)
    guesses = [
        FERPLUS.index(p.labels[int(p.logits.argmax())]) for p in classify(model, faces.crops)
    ]
    labels = np.where(np.arange(16) < 11, guesses, faces.labels)  # mostly right, and unbalanced
    faces = FaceDataset(faces.crops, faces.targets, labels, faces.names)
    other = other_labels(model, tuple(reversed(FERPLUS)))
    one, two = evaluate(model, faces), evaluate(other, faces)
    assert list(two["per_class"]) == list(reversed(FERPLUS))
    assert one["per_class"] == two["per_class"]
    assert one["accuracy"] == two["accuracy"]


def test_a_model_that_lacks_a_label(model: EmotionModel) -> None:
    other = other_labels(model, FERPLUS[:7])
    with pytest.raises(DataError, match="does not know contempt"):
        evaluate(other, random_faces(8))
    assert evaluate(other, random_faces(7))["n"] == 7


@pytest.mark.slow
def test_shipped_weights_on_the_test_split(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = str(shared / "data" / "fer2013plus"), tmp_path / "deep" / "figures.json"
    arguments = ["evaluate", "--data", data, "--weights", str(WEIGHTS), "--split", "test"]
    assert main([*arguments, "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "n 3153" in printed
    assert "accuracy 0.8" in printed
    figures = json.loads(out.read_text())
    assert set(figures) == KEYS
    assert figures["n"] == 3153
    assert figures["accuracy"] >= 0.865
    assert figures["ece"] < 0.05
    counts = [figures["per_class"][name]["n"] for name in FERPLUS]
    assert counts == [1090, 893, 396, 384, 273, 18, 83, 16]
    assert [sum(row) for row in figures["confusion"]] == counts
    for row in figures["per_class"].values():
        assert set(row) == {"n", "precision", "recall", "f1"}
    # What the spec (and with it the model card) says is what is measured.
    stated = load_spec(WEIGHTS).metrics["ferplus_test_accuracy"]
    assert figures["accuracy"] == pytest.approx(stated, abs=0.001)


def test_record_keeps_the_figures_in_the_spec(exported: Path, tmp_path: Path) -> None:
    for ending in (".safetensors", ".json"):
        shutil.copy(exported.with_suffix(ending), tmp_path)
    weights = tmp_path / exported.name
    figures = {**evaluate_logits(certain([0, 1], 8), np.array([0, 2]), FERPLUS), "seconds": 1.0}
    before = load_spec(weights)
    record(weights, "mine", figures)
    spec = load_spec(weights)
    assert spec.metrics["mine_accuracy"] == 0.5
    assert spec.metrics["mine_n_surprise"] == 1
    assert spec.metrics["mine_recall_surprise"] == 0.0
    assert spec.sha256 == before.sha256
    assert load_model(str(weights), device="cpu").spec.metrics == spec.metrics


# --- export --------------------------------------------------------------------------------------


def test_exported_model_is_the_averaged_network_calibrated(tiny: Folders, tmp_path: Path) -> None:
    state = torch.load(tiny[1] / "last.pt", weights_only=True)
    # So short a run leaves the bias near zero, where a mistake about it would not show.
    state["ema"]["module.fc.bias"] += torch.linspace(0, 2, 8)
    torch.save(state, tmp_path / "last.pt")
    export(tmp_path / "last.pt", tmp_path, validation=load_faces(tiny[0], "validation"))
    served = load_model(str(tmp_path / "ferplus-face27.safetensors"), device="cpu")
    crops = load_faces(tiny[0], "test").crops
    _, network = averaged_network(tmp_path / "last.pt")
    temperature = float(served.spec.training["temperature"])
    with torch.inference_mode():
        expected = (network(preprocess(crops, SPEC)) / temperature).softmax(1).numpy()
    got = np.stack([p.probabilities for p in classify(served, crops)])
    # fp16 tensors: about three digits, through 27 layers.
    np.testing.assert_allclose(got, expected, atol=5e-3)
    assert np.ptp(expected) > 0.05, "a constant answer would prove nothing"


def test_exported_head_is_centred(exported: Path) -> None:
    served = load_model(str(exported), device="cpu")
    scale = served.weight.abs().max()
    assert served.weight.mean(0).abs().max() < 1e-3 * scale
    assert served.bias.mean().abs() < 1e-3 * max(float(served.bias.abs().max()), 1e-3)
    maps = class_evidence(served, served.features(random_faces(3).crops))
    assert np.abs(maps.mean(1)).max() < 1e-3 * np.abs(maps).max()


def test_exported_spec(tiny: Folders, exported: Path) -> None:
    spec = load_spec(exported)
    assert spec.sha256 == hashlib.sha256(exported.read_bytes()).hexdigest()
    assert spec.name == "mine"
    assert spec.labels == FERPLUS
    assert spec.training["data"] == "drawn = by hand"
    assert "'epochs': 2" in spec.training["config"]
    assert spec.evidence_scale > 0
    assert exported.stat().st_size < 10_000_000


def test_export_is_repeatable(tiny: Folders, exported: Path, tmp_path: Path) -> None:
    validation = load_faces(tiny[0], "validation")
    spec = export(tiny[1] / "last.pt", tmp_path, validation=validation)
    assert spec.name == "ferplus-face27"
    # The order of the metadata in the file used to be drawn anew at each call.
    again = [export(tiny[1] / "last.pt", tmp_path, validation=validation) for _ in range(4)]
    assert {s.sha256 for s in (spec, *again)} == {load_spec(exported).sha256}
    nobody = validation.where(np.zeros(len(validation), bool))
    with pytest.raises(DataError, match="no labelled face"):
        export(tiny[1] / "last.pt", tmp_path, validation=nobody)


def test_centring_changes_no_probability(model: EmotionModel) -> None:
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        network.fc.weight += 0.3
        network.fc.bias += 1.5
        x = preprocess(random_faces(4).crops, model.spec)
        before = network(x)
        centre_head(network)
        after = network(x)
    torch.testing.assert_close(after.softmax(1), before.softmax(1), rtol=1e-4, atol=1e-5)
    assert after.mean(1).abs().max() < 1e-4
    assert before.mean(1).abs().min() > 0.1


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5)).astype(np.float32) * 2
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (chances.cumsum(1) > rng.random((4000, 1))).argmax(1)
    assert fit_temperature(logits, labels) == pytest.approx(1.0, rel=0.07)
    assert fit_temperature(logits * 3, labels) == pytest.approx(3.0, rel=0.07)
    assert fit_temperature(logits / 3, labels) == pytest.approx(1 / 3, rel=0.07)


# --- the command line ----------------------------------------------------------------------------


def test_evaluate_command(
    tiny: Folders, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--data", str(tiny[0]), "--weights", str(exported)]
    assert main([*arguments, "--split", "validation", "--json", "-", "--device", "cpu"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == KEYS
    assert figures["n"] == 24
    assert figures["per_class"]["fear"]["n"] == 12


def test_fit_command_goes_on_and_refuses_other_settings(
    tiny: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = map(str, tiny)
    before = (tiny[1] / "last.pt").read_bytes()
    assert main(["fit", "--data", data, "--run-dir", run, *TINY_FIT]) == 0
    assert main(["fit", "--data", data, "--run-dir", run, *TINY_FIT, "--seed", "3"]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert "another seed" in error
    assert (tiny[1] / "last.pt").read_bytes() == before


def spoil_nothing(path: Path) -> None:
    path.unlink()


def spoil_text(path: Path) -> None:
    path.write_text("no checkpoint\nat all\n")


def spoil_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100_000])


def spoil_empty(path: Path) -> None:
    path.write_bytes(b"")


def spoil_other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "a")


def spoil_other_tensors(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def spoil_class(path: Path) -> None:
    torch.save({"config": Path("code that must not run")}, path)


def spoil_list(path: Path) -> None:
    torch.save([1, 2], path)


def spoil_weights(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    state["ema"].popitem()
    torch.save(state, path)


def spoil_settings(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    state["config"]["colour"] = "red"
    torch.save(state, path)


def spoil_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_nothing,
        spoil_text,
        spoil_cut,
        spoil_empty,
        spoil_other_zip,
        spoil_other_tensors,
        spoil_class,
        spoil_list,
        spoil_weights,
        spoil_settings,
        spoil_byte,
    ],
)
def test_bad_checkpoint(
    tiny: Folders,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
) -> None:
    shutil.copy(tiny[1] / "last.pt", tmp_path / "last.pt")
    spoil(tmp_path / "last.pt")
    arguments = ["export", "--data", str(tiny[0]), "--run-dir", str(tmp_path)]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert "last.pt" in lines[0]
    assert len(lines[0]) < 400
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["evaluate", "--data", "/nowhere", "--weights", str(WEIGHTS)], "no folder /nowhere"),
        (["evaluate", "--data", ".", "--weights", "nobody"], "no model 'nobody'"),
        (["evaluate", "--data", ".", "--weights", "x.safetensors"], "no weight file"),
        (["evaluate", "--data", ".", "--weights", str(WEIGHTS), "--device", "abacus"], "abacus"),
        (["fit", "--data", "/nowhere", "--run-dir", "run"], "no folder /nowhere"),
    ],
)
def test_failures_are_one_line(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    captured = capsys.readouterr()
    error = captured.err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert word in error
    assert captured.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["evaluate", "--data", "."],
        ["evaluate", "--data", ".", "--weights", "x", "--split", "dev"],
        ["fit", "--data", ".", "--run-dir", "run", "--epochs", "many"],
        ["fit", "--data", ".", "--run-dir", "run", "--epochs", "0"],
        ["fit", "--data", ".", "--run-dir", "run", "--threads", "0"],
        ["export", "--data", ".", "--run-dir", "run", "--note", "no equals sign"],
        ["export", "--data", ".", "--run-dir", "run", "--name", "../up"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m train" in capsys.readouterr().err


def test_shipped_spec_is_what_export_would_write_today() -> None:
    spec = load_spec(WEIGHTS)
    same = ("architecture", "labels", "input_size", "source_size", "grayscale", "mean", "std")
    for name in (*same, "grid_origin", "grid_step", "name"):
        assert getattr(spec, name) == getattr(SPEC, name), name
