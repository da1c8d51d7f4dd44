"""train.evaluate and train.table: a weight file on labelled faces."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from emotion.classify import classify
from emotion.labels import FER2013, FERPLUS
from emotion.model import EmotionModel, load_model
from emotion.weights import load_spec
from tests.noise_faces import random_faces, write_tree
from train.__main__ import main
from train.corruptions import CORRUPTIONS, corrupt
from train.datasets import DataError, FaceDataset, load_faces
from train.evaluate import duplicates_in_other_splits, evaluate, first, logits_of, record
from train.metrics import accuracy_of, evaluate_logits
from train.table import table

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "ferplus-face27.safetensors"
KEYS = {
    "truth",
    "n",
    "accuracy",
    "accuracy_interval",
    "macro_recall",
    "macro_recall_common",
    "common",
    "common_above",
    "precision",
    "macro_f1",
    "weighted_precision",
    "weighted_f1",
    "ece",
    "per_class",
    "confusion",
    "sets",
    "seconds",
}


def test_evaluate_is_what_is_served(model: EmotionModel) -> None:
    faces = random_faces(19)
    figures = evaluate(model, faces)
    served = classify(model, faces.crops)
    logits = np.stack([p.logits for p in served])
    expected = evaluate_logits(logits, faces.labels, model.spec.labels)
    assert set(figures) == KEYS
    assert figures["truth"] == "ferplus"
    assert {k: figures[k] for k in expected} == expected
    labels = [p.labels[int(p.logits.argmax())] for p in served]
    right = [a == FERPLUS[b] for a, b in zip(labels, faces.labels, strict=True)]
    assert figures["accuracy"] == pytest.approx(np.mean(right))


def test_faces_without_a_label_do_not_count(model: EmotionModel) -> None:
    faces = random_faces(9)
    labels = np.where(np.arange(9) < 4, -1, faces.labels)
    figures = evaluate(model, replace(faces, labels=labels))
    assert figures["n"] == 5
    with pytest.raises(DataError, match="no labelled face"):
        evaluate(model, replace(faces, labels=np.full(9, -1)))


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
    faces = replace(faces, labels=labels)
    other = other_labels(model, tuple(reversed(FERPLUS)))
    one, two = evaluate(model, faces), evaluate(other, faces)
    assert list(two["per_class"]) == list(reversed(FERPLUS))
    assert one["per_class"] == two["per_class"]
    assert one["accuracy"] == two["accuracy"]


def test_a_model_that_lacks_a_label(model: EmotionModel) -> None:
    other = other_labels(model, FERPLUS[:6])
    with pytest.raises(DataError, match="does not know contempt, fear"):
        evaluate(other, random_faces(8))
    assert evaluate(other, random_faces(6))["n"] == 6


def test_a_model_with_the_labels_of_fer2013_is_measured_by_them(model: EmotionModel) -> None:
    seven = other_labels(model, (*FER2013[3:], *FER2013[:3]))
    faces = random_faces(24)
    # FER+'s label is another one, or there is none: it must make no difference.
    faces = replace(faces, labels=np.where(np.arange(24) % 2, 7, -1))
    figures = evaluate(seven, faces)
    known = faces.where(faces.fer2013 >= 0)
    guesses = [p.labels[int(p.logits.argmax())] for p in classify(seven, known.crops)]
    right = [a == FER2013[b] for a, b in zip(guesses, known.fer2013, strict=True)]
    assert (figures["truth"], figures["n"]) == ("fer2013", 21)
    assert figures["accuracy"] == pytest.approx(np.mean(right))
    assert [figures["per_class"][name]["n"] for name in FER2013] == [3] * 7
    with pytest.raises(DataError, match="labels of fer2013"):
        evaluate(seven, replace(faces, fer2013=np.full(24, -1)))


def test_sets_are_those_of_the_predictions(model: EmotionModel) -> None:
    faces = random_faces(24)
    for threshold in (1.0, 0.2, 0.05):
        spec = replace(model.spec, set_threshold=threshold)
        other = EmotionModel(spec, copy.deepcopy(model.network), torch.device("cpu"))
        sets = [p.candidates for p in classify(other, faces.crops)]
        figures = evaluate(other, faces)["sets"]
        assert figures["threshold"] == threshold
        assert figures["size"] == pytest.approx(np.mean([len(s) for s in sets]))
        held = [FERPLUS[b] in s for s, b in zip(sets, faces.labels, strict=True)]
        assert figures["coverage"] == pytest.approx(np.mean(held))


def test_robust_figures_are_measured_on_the_damaged_faces(model: EmotionModel) -> None:
    faces = random_faces(6)
    # One face without a label is left out before the damage is numbered.
    faces = replace(faces, labels=np.array([-1, *answers_to(model, faces)[1:]]))
    figures = evaluate(model, faces, robust=True)
    robust = figures["robustness"]
    crops = list(faces.crops[1:])
    for kind, strength in (("gaussian_noise", 3), ("occluded_lower", 2)):
        damaged = [corrupt(c, kind, strength=strength, index=i) for i, c in enumerate(crops)]
        logits = np.stack([p.logits for p in classify(model, damaged)])
        expected = accuracy_of(logits, faces.labels[1:])
        assert robust["corruptions"][kind][strength - 1] == expected
    assert figures["accuracy"] == 1.0
    assert robust["corruption_mean"] < 1
    assert set(robust["corruptions"]) == set(CORRUPTIONS)
    assert robust["framing_gap"] == pytest.approx(1 - min(robust["framings"].values()))


def answers_to(model: EmotionModel, faces: FaceDataset) -> list[int]:
    """The model's own answers, as indices of FER+."""
    return [FERPLUS.index(p.labels[int(p.logits.argmax())]) for p in classify(model, faces.crops)]


def test_logits_do_not_depend_on_the_batches(
    model: EmotionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = random_faces(7)
    whole = logits_of(model, faces.crops)
    monkeypatch.setattr("train.evaluate.CHUNK", 3)
    seen: list[int] = []

    def change(crop: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        seen.append(index)
        return crop

    np.testing.assert_allclose(logits_of(model, faces.crops, change=change), whole, atol=1e-4)
    assert seen == list(range(7))
    assert logits_of(model, []).shape == (0, 8)


def test_figures_without_near_duplicates(tmp_path: Path, model: EmotionModel) -> None:
    write_tree(tmp_path)
    # Two pictures of the test split are in the training split too, one of them brighter.
    picture = np.array(Image.open(tmp_path / "train" / "Happy" / "4.png"))
    Image.fromarray(picture).save(tmp_path / "test" / "Happy" / "a.png")
    Image.fromarray(np.minimum(picture, 235) + 20).save(tmp_path / "test" / "Happy" / "b.png")
    faces = load_faces(tmp_path, "test")
    duplicate = duplicates_in_other_splits(faces, tmp_path, "test")
    assert duplicate is not None
    marked = {Path(n).name for n, d in zip(faces.names, duplicate, strict=True) if d}
    assert {"a.png", "b.png"} <= marked
    figures = evaluate(model, faces, duplicate=duplicate)
    rest = evaluate(model, faces.where(~duplicate))
    without = figures["without_duplicates"]
    assert without["n"] == rest["n"] == len(faces) - duplicate.sum()
    assert without["left_out"] == duplicate.sum()
    for key in ("accuracy", "accuracy_interval", "macro_recall"):
        assert without[key] == rest[key]


def test_no_other_split_no_duplicates(tmp_path: Path) -> None:
    write_tree(tmp_path, count=2)
    faces = load_faces(tmp_path, "test")
    for split in ("train", "val"):
        shutil.rmtree(tmp_path / split)
    assert duplicates_in_other_splits(faces, tmp_path, "test") is None


def test_first() -> None:
    faces = random_faces(5)
    assert list(first(faces, 2).names) == ["0", "1"]
    assert first(faces, None) is faces
    assert len(first(faces, 99)) == 5


def test_table_prints_every_figure_in_percent(model: EmotionModel) -> None:
    faces = random_faces(8)
    faces = replace(faces, labels=np.minimum(faces.labels, 6))  # nobody shows contempt
    duplicate = np.arange(8) < 3
    figures = evaluate(model, faces, robust=True, duplicate=duplicate)
    lines: list[str] = []
    table(figures, lines.append)
    text = "\n".join(lines)
    assert f"accuracy      {100 * figures['accuracy']:.2f} (" in text
    assert "labels of ferplus, n 8" in text
    assert "without the 3 faces" in text
    assert "worst: " in text
    for kind in (*CORRUPTIONS, *figures["robustness"]["framings"], *FERPLUS):
        assert kind.replace("_", " ") in text
    (contempt,) = [line for line in lines if line.startswith("contempt")]
    assert contempt.split()[1:] == ["0", "0.00", "0.00", "0.00", "-"]


@pytest.mark.slow
def test_shipped_weights_on_the_test_split(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = str(shared / "data" / "fer2013plus"), tmp_path / "deep" / "figures.json"
    arguments = ["evaluate", "--data", data, "--weights", str(WEIGHTS), "--split", "test"]
    assert main([*arguments, "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "n 3153" in printed
    assert "accuracy      8" in printed
    figures = json.loads(out.read_text())
    assert set(figures) == KEYS
    assert figures["n"] == 3153
    assert figures["accuracy"] >= 0.865
    assert figures["ece"] < 0.05
    counts = [figures["per_class"][name]["n"] for name in FERPLUS]
    assert counts == [1090, 893, 396, 384, 273, 18, 83, 16]
    assert [sum(row) for row in figures["confusion"]] == counts
    for row in figures["per_class"].values():
        assert set(row) == {"n", "precision", "recall", "recall_interval", "f1"}
        assert row["recall_interval"][0] <= row["recall"] <= row["recall_interval"][1]
    assert figures["common"] == [*FERPLUS[:5], "fear"]
    assert figures["macro_recall_common"] > figures["macro_recall"]
    # What the spec (and with it the model card) says is what is measured.
    stated = load_spec(WEIGHTS).metrics["ferplus_test_accuracy"]
    assert figures["accuracy"] == pytest.approx(stated, abs=0.001)


def test_record_keeps_the_figures_in_the_spec(tmp_path: Path) -> None:
    for ending in (".safetensors", ".json"):
        shutil.copy(WEIGHTS.with_suffix(ending), tmp_path)
    weights = tmp_path / WEIGHTS.name
    model = load_model(str(weights), device="cpu")
    faces = random_faces(8)
    faces = replace(faces, labels=np.array(answers_to(model, faces)))
    duplicate = np.arange(8) < 2
    figures = evaluate(model, faces, robust=True, duplicate=duplicate)
    before = load_spec(weights)
    record(weights, "mine", figures)
    spec = load_spec(weights)
    assert spec.metrics.items() >= before.metrics.items()
    new = spec.metrics.keys() - before.metrics.keys()
    kept = {key.removeprefix("mine_"): spec.metrics[key] for key in new}
    assert kept["n"] == 8
    assert kept["accuracy"] == kept["accuracy_high"] == 1.0
    assert kept["accuracy_low"] == pytest.approx(figures["accuracy_interval"][0], abs=1e-4)
    assert kept["set_coverage"] == round(figures["sets"]["coverage"], 4)
    assert kept["set_size"] == round(figures["sets"]["size"], 4)
    for key in ("corruption_mean", "corruption_relative", "framing_gap"):
        assert kept[key] == round(figures["robustness"][key], 4)
    assert kept["without_duplicates_n"] == 6
    answered = FERPLUS[faces.labels[0]]
    assert kept[f"recall_{answered}"] == 1.0
    assert kept[f"n_{answered}"] == (faces.labels == faces.labels[0]).sum()
    assert "macro_recall_common" not in kept, "no class has more than 80 faces"
    assert spec.sha256 == before.sha256
    assert load_model(str(weights), device="cpu").spec.metrics == spec.metrics


def test_evaluate_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tree(tmp_path)
    arguments = ["evaluate", "--data", str(tmp_path), "--weights", str(WEIGHTS)]
    assert main([*arguments, "--split", "validation", "--json", "-", "--device", "cpu"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == KEYS
    assert figures["n"] == 24
    assert figures["per_class"]["fear"]["n"] == 12
    more = ["--split", "test", "--limit", "15", "--flip", "--train-duplicates"]
    assert main([*arguments, *more, "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "n 15" in printed
    assert "near duplicate" in printed
