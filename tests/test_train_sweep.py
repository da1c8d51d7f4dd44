"""train.variants and train.sweep: a table of variants and a search, both of which go on."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import FixedTrial, TrialState

from tests.shapes import TINY, history, run_in, shapes, write_shapes
from train.__main__ import main
from train.config import ACTIVATIONS, POOLINGS, FitConfig, read_preset
from train.engine import fit
from train.network import create_network
from train.sweep import ARCHITECTURES, STRENGTHS, Search, open_study, strengthened, suggest, sweep
from train.variants import read_variants, run_variants, sample

CPU = torch.device("cpu")
LIST = """
common: {architecture: resnet10t, pretrained: false, input_size: 32, batch_size: 8, epochs: 5}
variants:
  plain:
  smooth: {activation: silu}
  wide: {pooling: catavgmax, input_size: 48}
"""


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "list.yaml"
    path.write_text(LIST)
    return path


# --- the list ------------------------------------------------------------------------------------


def test_a_list_of_variants(listed: Path) -> None:
    variants = read_variants(str(listed), epochs=2)
    assert list(variants) == ["plain", "smooth", "wide"]
    common = replace(FitConfig(), architecture="resnet10t", pretrained=False, batch_size=8)
    common = replace(common, input_size=32, epochs=2)
    assert variants["plain"] == common
    assert variants["smooth"] == replace(common, activation="silu")
    assert variants["wide"] == replace(common, pooling="catavgmax", input_size=48)
    assert read_variants(str(listed))["plain"].epochs == 5


def test_the_shipped_list_compares_one_thing_at_a_time() -> None:
    variants = read_variants("table")
    assert len({config.epochs for config in variants.values()}) == 1
    for family in ("resnet18", "dlib_face27"):
        base = asdict(variants[family])
        for name, config in variants.items():
            if name.startswith(f"{family}-"):
                changed = {k for k, v in asdict(config).items() if v != base[k]}
                single = len(changed) == 1
                assert single or (changed <= set(STRENGTHS) and name.endswith("-plain")), name
    used = {config.activation for config in variants.values()}
    assert used >= set(ACTIVATIONS)
    assert {config.pooling for config in variants.values()} == set(POOLINGS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("variants: {a: {colour: red}}", "list.yaml: a: unknown setting 'colour'"),
        ("variants: {a: {lr: -1}}", "list.yaml: a: .*lr above 0"),
        ("common: {lr: x}\nvariants: {a: {}}", "list.yaml: common: lr must be a number"),
        ("variants: {a: {epochs: 9}}", "a: epochs must be common to all variants"),
        ("variants: {a/b: {}}", "a/b must be a plain name"),
        ("variants: {a: 3}", "a must be a plain name with settings"),
        ("variants: [a]", "variants must hold lines"),
        ("variants: {}", "variants must hold lines"),
        ("variants: {a: {}}\nothers: {}", "expected common and variants, got others"),
    ],
)
def test_a_mistake_in_a_list_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_variants(str(tmp_path / "list.yaml"))


def test_a_sample_is_the_same_again_and_of_all_kinds() -> None:
    faces = shapes(40)
    one, again = sample(faces, 10), sample(faces, 10)
    assert list(one.names) == list(again.names)
    assert len(one) == 10
    assert len(np.unique(one.labels)) == 2
    assert len(sample(faces, 99)) == 40


# --- the table -----------------------------------------------------------------------------------


def test_the_table_command_goes_on_where_it_was_stopped(
    tmp_path: Path, listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_shapes(tmp_path / "data", 24, 8), tmp_path / "out"
    command = ["sweep", "--data", str(data), "--out", str(out), "--table", str(listed)]
    command += ["--epochs", "1", "--limit", "16", "--device", "cpu"]
    assert main([*command, "--only", "wide,plain"]) == 0
    rows = {row["name"]: row for row in json.loads((out / "table.json").read_text())}
    assert list(rows) == ["plain", "wide"], "in the order of the list"
    plain = rows["plain"]
    assert (plain["faces"], plain["validated"]) == (16, 8)
    assert plain["accuracy"] == history(out / "plain")[-1]["validation_accuracy"]
    config = replace(TINY, epochs=1)
    assert plain["parameters"] == sum(p.numel() for p in create_network(config, 8).parameters())
    assert plain["ms_per_face"] > 0
    assert plain["device"] == f"{torch.get_num_threads()} CPU threads"
    assert plain["settings"]["architecture"] == "resnet10t"
    assert not list(out.rglob("*.pt")), "weights of variants are not kept"

    done = (out / "plain" / "result.json").stat().st_mtime_ns
    capsys.readouterr()
    assert main(command) == 0
    told = capsys.readouterr().out
    assert (out / "plain" / "result.json").stat().st_mtime_ns == done, "it was run again"
    table = (out / "table.md").read_text()
    assert table.startswith("16 training faces, 1 epochs, 8 validation faces, ")
    assert [line.split("|")[1].strip() for line in table.splitlines()[4:]] == list(
        read_variants(str(listed))
    )
    assert all(line in told for line in table.splitlines()[4:])

    assert main([*command, "--limit", "12"]) == 1
    assert "holds variant plain with other settings or faces" in capsys.readouterr().err
    assert main([*command, "--only", "plane"]) == 1
    assert "no variant plane; known are plain, smooth, wide" in capsys.readouterr().err


def test_a_variant_that_was_killed_before_its_result_is_not_trained_again(tmp_path: Path) -> None:
    config, faces = replace(TINY, epochs=1), {"train": shapes(16), "validation": shapes(8)}
    fit(run_in(tmp_path / "a", config), **faces)
    before = history(tmp_path / "a")
    (result,) = run_variants({"a": config}, tmp_path, **faces, device=CPU)
    assert history(tmp_path / "a") == before
    assert (result.accuracy, result.seconds) == (
        before[0]["validation_accuracy"],
        before[0]["seconds"],
    )
    assert not result.diverged


def test_a_variant_that_diverges_does_not_stop_the_others(tmp_path: Path) -> None:
    wild = replace(TINY, epochs=1, optimizer="sgd", lr=1e30, warmup=0.0, clip=0.0)
    variants = {"wild": wild, "calm": replace(TINY, epochs=1)}
    results = run_variants(
        variants, tmp_path, train=shapes(40), validation=shapes(8), device=CPU, tell=lambda s: None
    )
    assert [result.diverged for result in results] == [True, False]
    assert "| wild | diverged |" in (tmp_path / "table.md").read_text()


def test_a_variant_that_cannot_be_built_is_named(tmp_path: Path) -> None:
    config = replace(TINY, architecture="ghostnet_100", activation="silu")
    with pytest.raises(ValueError, match=r"^variant ghost: ghostnet_100 cannot be built with silu"):
        run_variants({"ghost": config}, tmp_path, train=shapes(8), validation=shapes(4), device=CPU)


# --- the search ----------------------------------------------------------------------------------


def test_the_settings_of_a_trial() -> None:
    base = FitConfig(epochs=2, fer2013=0.5)
    chosen = {"architecture": "dlib_face27", "lr": 1e-3, "batch_size": 32, "augmentation": 0.0}
    config = suggest(FixedTrial(chosen), base)
    assert config == replace(base, lr=1e-3, batch_size=32, **dict.fromkeys(STRENGTHS, 0.0))
    more = {"architecture": "resnet18", "activation": "mish", "pooling": "max", "augmentation": 1.0}
    config = suggest(FixedTrial({**chosen, **more}), base)
    assert (config.architecture, config.activation, config.pooling) == ("resnet18", "mish", "max")
    assert (config.input_size, config.pretrained) == (64, False)
    assert all(getattr(config, name) == getattr(base, name) for name in STRENGTHS)


def test_strength_stays_within_the_ranges() -> None:
    strong = strengthened(FitConfig(erase=0.9, light=0.8, shift=0.6, mixup=0.2), 1.5)
    assert (strong.erase, strong.light, strong.shift) == (1.0, 0.9, 0.5)
    assert strong.mixup == pytest.approx(0.3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_that_a_search_may_choose_can_be_built(architecture: str) -> None:
    for activation in ACTIVATIONS if architecture != "dlib_face27" else [""]:
        for pooling in POOLINGS if activation == "relu" else ["avg"]:
            with torch.device("meta"):
                config = FitConfig(
                    architecture=architecture, activation=activation, pooling=pooling
                )
                create_network(config, 8)


@pytest.fixture
def small_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a search choose only what takes a second."""
    monkeypatch.setattr("train.sweep.ARCHITECTURES", ("resnet10t",))
    monkeypatch.setattr("train.sweep.INPUT_SIZE", 32)


@pytest.mark.usefixtures("small_space")
def test_the_search_command_goes_on_and_its_best_is_a_preset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_shapes(tmp_path / "data", 24, 8), tmp_path / "out"
    command = ["sweep", "--data", str(data), "--out", str(out), "--epochs", "1", "--limit", "16"]
    command += ["--device", "cpu"]
    assert main([*command, "--trials", "2"]) == 0
    first = json.loads((out / "trials.json").read_text())
    assert main([*command, "--trials", "3"]) == 0
    trials = json.loads((out / "trials.json").read_text())
    assert {t["trial"] for t in first} == {0, 1}
    assert {t["trial"] for t in trials} == {0, 1, 2}
    assert all(old in trials for old in first), "trials that are done stay"
    assert len({t["params"]["lr"] for t in trials}) == 3, "a later call draws other settings"
    assert not list(out.glob("trial?"))

    values = [t["result"]["accuracy"] for t in trials]
    assert values == sorted(values, reverse=True)
    assert FitConfig(**read_preset(str(out / "best.yaml"))) == FitConfig(
        **trials[0]["result"]["settings"]
    )
    assert len((out / "trials.md").read_text().splitlines()) == 2 + 3
    capsys.readouterr()
    assert main([*command, "--trials", "4", "--limit", "12"]) == 1
    assert "holds a search with another faces; choose another --out" in capsys.readouterr().err


@pytest.mark.usefixtures("small_space")
def test_a_trial_that_was_cut_off_is_tried_first(tmp_path: Path) -> None:
    search = Search(replace(TINY, epochs=1), trials=1)
    study = open_study(search, tmp_path, faces=16)
    trial = study.ask()
    suggest(trial, search.base)  # and then its process was killed
    (tmp_path / "trial0").mkdir()

    study = sweep(search, tmp_path, train=shapes(16), validation=shapes(8), device=CPU)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert study.trials[1].params == trial.params
    assert not (tmp_path / "trial0").exists()


@pytest.mark.usefixtures("small_space")
def test_poor_trials_are_stopped_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna.pruners, "MedianPruner", lambda **_: Strict())
    search = Search(replace(TINY, epochs=3), trials=1)
    study = sweep(search, tmp_path, train=shapes(16), validation=shapes(8), device=CPU)
    (trial,) = study.trials
    assert trial.state == TrialState.PRUNED
    assert list(trial.intermediate_values) == [1]
    assert "| 0 | pruned | resnet10t |" in (tmp_path / "trials.md").read_text()
    assert not (tmp_path / "best.yaml").exists()


class Strict(optuna.pruners.BasePruner):
    """Stops every trial."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return True
