"""train.export and the command line of train."""

import copy
import hashlib
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.utils import ModelEmaV3

from emotion.classify import classify
from emotion.errors import WeightsError
from emotion.evidence import class_evidence
from emotion.facenet import FaceNet
from emotion.labels import FER2013, FERPLUS
from emotion.model import EmotionModel, load_model
from emotion.preprocess import preprocess
from emotion.weights import load_spec
from tests.noise_faces import random_faces, write_tree
from train.__main__ import main
from train.checkpoint import save_checkpoint
from train.config import SPEC, FitConfig
from train.datasets import DataError, load_faces
from train.export import (
    ExportOptions,
    average_with,
    averaged_network,
    centre_head,
    export,
    mean_of,
)

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "ferplus-face27.safetensors"
TINY_FIT = ["--no-pretrained", "--epochs", "2", "--batch-size", "8", "--ema", "0.9", "--lr", "1e-3"]
Folders = tuple[Path, Path]


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


def test_exported_model_is_the_averaged_network_calibrated(tiny: Folders, tmp_path: Path) -> None:
    state = torch.load(tiny[1] / "last.pt", weights_only=True)
    # So short a run leaves the bias near zero, where a mistake about it would not show.
    state["ema"]["module.fc.bias"] += torch.linspace(0, 2, 8)
    torch.save(state, tmp_path / "last.pt")
    validation = load_faces(tiny[0], "validation")
    export(tmp_path / "last.pt", tmp_path, validation=validation, options=ExportOptions())
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
    assert 0 < spec.set_threshold <= 1
    assert exported.stat().st_size < 10_000_000


def test_export_is_repeatable(tiny: Folders, exported: Path, tmp_path: Path) -> None:
    validation = load_faces(tiny[0], "validation")
    checkpoint, plain = tiny[1] / "last.pt", ExportOptions()
    spec = export(checkpoint, tmp_path, validation=validation, options=plain)
    assert spec.name == "ferplus-face27"
    # The order of the metadata in the file used to be drawn anew at each call.
    again = [export(checkpoint, tmp_path, validation=validation, options=plain) for _ in range(2)]
    assert {s.sha256 for s in (spec, *again)} == {load_spec(exported).sha256}
    nobody = validation.where(np.zeros(len(validation), bool))
    with pytest.raises(DataError, match="no face with a ferplus label"):
        export(checkpoint, tmp_path, validation=nobody, options=plain)


def two_headed(folder: Path, **settings: object) -> Path:
    """Write the checkpoint of a run with both label sets, as if it had been trained."""
    config = FitConfig(**{"fer2013": 0.5, "pretrained": False, **settings})  # type: ignore[arg-type]
    torch.manual_seed(config.seed)
    network = FaceNet(num_classes=len(FERPLUS) + len(FER2013))
    save_checkpoint(
        folder / "last.pt",
        config=config,
        epoch=1,
        model=network,
        ema=ModelEmaV3(network),
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
    )
    return folder / "last.pt"


def test_each_label_set_becomes_a_model_of_its_own(tmp_path: Path) -> None:
    checkpoint, faces = two_headed(tmp_path), random_faces(24)
    _, network = averaged_network(checkpoint)
    with torch.inference_mode():
        both = network(preprocess(faces.crops, SPEC)).numpy()
    for labels, names, rows in (
        ("ferplus", FERPLUS, slice(0, 8)),
        ("fer2013", FER2013, slice(8, 15)),
    ):
        options = ExportOptions(labels=labels)
        spec = export(checkpoint, tmp_path, validation=faces, options=options)
        assert (spec.name, spec.labels) == (f"{labels}-face27", names)
        served = load_model(str(tmp_path / f"{spec.name}.safetensors"), device="cpu")
        logits = np.stack([p.logits for p in classify(served, faces.crops)])
        logits *= float(spec.training["temperature"])
        expected = both[:, rows] - both[:, rows].mean(1, keepdims=True)
        np.testing.assert_allclose(logits, expected, atol=2e-3 * np.abs(expected).max())


def test_a_run_without_the_second_head_has_no_such_model(tiny: Folders, tmp_path: Path) -> None:
    checkpoint, faces = tiny[1] / "last.pt", random_faces(24)
    options = ExportOptions(labels="fer2013")
    with pytest.raises(ValueError, match="train with --fer2013"):
        export(checkpoint, tmp_path, validation=faces, options=options)
    options = ExportOptions(labels="affectnet")
    with pytest.raises(ValueError, match="expected labels ferplus or fer2013"):
        export(checkpoint, tmp_path, validation=faces, options=options)


def test_a_network_that_the_app_cannot_build_is_refused(tmp_path: Path) -> None:
    checkpoint = two_headed(tmp_path, activation="silu")
    with pytest.raises(WeightsError, match="another activation"):
        averaged_network(checkpoint)


def test_rare_classes_are_paid_for_with_the_allowed_accuracy_only(tmp_path: Path) -> None:
    checkpoint, faces = two_headed(tmp_path), random_faces(64)
    plain = export(checkpoint, tmp_path / "a", validation=faces, options=ExportOptions())
    moved = export(
        checkpoint, tmp_path / "b", validation=faces, options=ExportOptions(rare_cost=0.5)
    )
    assert set(plain.training["offsets"].split(", ")) == {"0.00"}
    assert "offsets" in moved.training


def test_runs_are_averaged(tmp_path: Path) -> None:
    runs = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        runs.append(two_headed(tmp_path / str(number), seed=number))
    networks = [averaged_network(run)[1] for run in runs]
    average_with(networks[0], runs[1:])
    parts = [averaged_network(run)[1].state_dict() for run in runs]
    for name, value in networks[0].state_dict().items():
        if value.is_floating_point():
            mean = sum(part[name] for part in parts) / 3
            torch.testing.assert_close(value, mean, rtol=1e-5, atol=1e-6)


def test_the_spec_names_the_runs_and_how_often_each_counts() -> None:
    runs = [Path("runs/b/last.pt"), Path("runs/b/best.pt"), Path("runs/a/last.pt")]
    assert mean_of(runs) == "2 x b, 1 x a"


def test_runs_of_other_networks_are_not_averaged(tiny: Folders, tmp_path: Path) -> None:
    run = two_headed(tmp_path)
    with pytest.raises(WeightsError, match="another network"):
        average_with(averaged_network(run)[1], [tiny[1] / "last.pt"])


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


# --- the command line ----------------------------------------------------------------------------


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
        (
            ["evaluate", "--data", ".", "--weights", "x", "--record", "x", "--limit", "9"],
            "leave --limit out",
        ),
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
