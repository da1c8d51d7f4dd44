"""train.config and train.commands: settings, and where they come from."""

import argparse
import json
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from tests.shapes import TINY, flags, write_shapes
from train.__main__ import main
from train.__main__ import parser as command_line
from train.checkpoint import load_checkpoint
from train.commands import config_of, run_fit
from train.config import (
    PRESETS,
    FitConfig,
    differences,
    read_preset,
    spec_for,
    stored_config,
)
from train.network import create_network
from train.variants import read_variants

FACE27B = (
    "--start=runs/face27/last.pt",
    *("--epochs=28", "--lr=5e-4", "--ema=0.999", "--mixup=0.4", "--cutmix=1.0", "--fer2013=0.5"),
    *("--balance=0.06", "--degrade=0.15", "--cover=0.1", "--light=0.4", "--zoom=0.3"),
    *("--shift=0.1", "--erase=0.3"),
)


# --- the dataclass -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("ema", 1.0),
        ("label_smoothing", -0.1),
        ("mixup", -1.0),
        ("erase", 1.5),
        ("denoise", 1.5),
        ("zoom", -0.1),
        ("zoom", float("nan")),
        ("optimizer", "adam"),
        ("layer_decay", 0.0),
        ("layer_decay", 1.1),
        ("clip", -1.0),
        ("patience", -1),
        ("precision", "fp16"),
        ("activation", "tanh"),
        ("pooling", "median"),
        ("input_size", 16),
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
    # What that run did before there were such settings.
    assert (config.optimizer, config.layer_decay, config.clip) == ("adamw", 1.0, 5.0)
    assert (config.cutmix, config.fer2013, config.balance) == (0.0, 0.0, 0.0)
    assert (config.degrade, config.cover, config.denoise) == (0.0, 0.0, 0.0)
    assert (config.patience, config.input_size, config.precision) == (0, 0, "bf16")
    assert (config.start, config.activation, config.pooling) == ("", "", "")


def test_the_input_size_of_a_spec() -> None:
    assert spec_for(FitConfig()).input_size == 128
    assert spec_for(FitConfig(input_size=96)).input_size == 96
    assert spec_for(FitConfig(architecture="resnet18")).input_size == 224
    assert spec_for(FitConfig(architecture="resnet18", input_size=64)).input_size == 64


# --- presets -------------------------------------------------------------------------------------


def parsed(*arguments: str) -> FitConfig:
    """The settings that a command line of ``fit`` comes to, with the start of the run."""
    args = command_line().parse_args(["fit", "--data", "d", "--run-dir", "r", *arguments])
    given = {f.name: getattr(args, f.name) for f in fields(FitConfig) if hasattr(args, f.name)}
    return config_of(args, **given)


def test_presets_are_the_runs_they_are_named_after() -> None:
    assert parsed() == FitConfig()
    assert parsed("--preset", "face27") == FitConfig()
    assert parsed("--preset", "face27b") == parsed(*FACE27B) != FitConfig()
    assert FitConfig(**read_preset("face27b")).start == "runs/face27/last.pt"


def test_flags_come_before_the_preset_and_the_preset_before_the_defaults(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("lr: 1e-3\nepochs: 5\nrotation: 7\npretrained: false\nstart: a.pt\n")
    config = parsed("--preset", str(own), "--epochs", "6", "--pretrained", "--start", "")
    assert config == FitConfig(lr=1e-3, epochs=6, rotation=7.0)
    assert type(config.rotation) is float


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize: 3", "own.yaml: unknown setting 'batchsize'; did you mean batch_size?"),
        ("xyz: 3", "unknown setting 'xyz'; known are architecture, pretrained"),
        ("lr: fast", "own.yaml: lr must be a number, got 'fast'"),
        ("epochs: 2.5", "epochs must be a whole number, got 2.5"),
        ("epochs: true", "epochs must be a whole number, got True"),
        ("pretrained: 1", "pretrained must be true or false, got 1"),
        ("start:", "start must be text, got None"),
        ("lr: -1", "lr above 0"),
        ("- lr", "must hold lines of the form key: value"),
        ("lr: [1", "own.yaml is not YAML"),
        ("", "must hold lines of the form key: value"),
    ],
)
def test_a_mistake_in_a_preset_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(text)
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--data", "d", "--run-dir", "r", "--preset", str(own)])
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"no preset 'face28'.*face27, face27b"):
        read_preset("face28")


def test_every_shipped_list_and_preset_is_in_order() -> None:
    names = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    assert names == ["face27", *(f"face27{letter}" for letter in "bcdefghi"), "table"]
    for name in names[:-1]:
        FitConfig(**read_preset(name))
    for name, config in read_variants("table").items():
        with torch.device("meta"):  # builds all layers, without their numbers
            network = create_network(config, 8)
        assert network.get_classifier().out_features == 8, name  # type: ignore[operator]


def test_the_fit_command_says_what_it_trains_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = write_shapes(tmp_path / "data", 16, 4), tmp_path / "run"
    (tmp_path / "own.yaml").write_text("architecture: resnet10t\ninput_size: 32\nepochs: 9\n")
    rest = ["--preset", str(tmp_path / "own.yaml"), "--no-pretrained", "--epochs", "1"]
    rest += ["--batch-size", "8", "--device", "cpu"]
    assert main(["fit", "--data", str(data), "--run-dir", str(run), *rest]) == 0
    told = capsys.readouterr()
    settings = json.loads(told.err.splitlines()[0])
    assert (settings["architecture"], settings["epochs"]) == ("resnet10t", 1)
    assert json.loads(told.out)["epoch"] == 1
    _, config = load_checkpoint(run / "last.pt", torch.device("cpu"))
    assert config == FitConfig(**settings)


def test_flags_of_a_config_come_back_as_that_config() -> None:
    for config in (TINY, FitConfig(**read_preset("face27b")), FitConfig(patience=3, clip=0.0)):
        assert parsed(*flags(config)) == config


def test_fit_is_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    args = command_line().parse_args(["fit", "--data", "d", "--run-dir", "r"])
    assert args.run is run_fit
    assert isinstance(args, argparse.Namespace)
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    assert "--layer-decay" in capsys.readouterr().out
