"""A weight file is used only with the very spec that was written for it."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from emotion.errors import UnknownModelError, WeightsError
from emotion.labels import FER2013, FERPLUS
from emotion.model import EmotionModel, load_model
from emotion.weights import (
    DEFAULT_MODEL,
    WEIGHTS_DIR,
    available_models,
    find_weights,
    load_spec,
    load_state,
)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the default model that a test may damage."""
    source = WEIGHTS_DIR / f"{DEFAULT_MODEL}.safetensors"
    shutil.copy(source.with_suffix(".json"), tmp_path)
    return Path(shutil.copy(source, tmp_path))


def change_spec(weights: Path, **changes: Any) -> None:
    path = weights.with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_copy_answers_like_the_original(weights: Path, model: EmotionModel) -> None:
    copy = load_model(str(weights), device="cpu")
    assert copy.spec == model.spec
    assert torch.equal(copy.weight, model.weight)


def test_default_model_is_on_offer_and_small() -> None:
    assert DEFAULT_MODEL in available_models()
    for name in available_models():
        assert find_weights(name).stat().st_size < 10_000_000  # more would need git-lfs
        spec = load_spec(find_weights(name))
        assert spec.name == name
        assert spec.labels == (FER2013 if name.startswith("fer2013") else FERPLUS)


def test_state_is_float32(weights: Path) -> None:
    state = load_state(weights, load_spec(weights))
    assert {v.dtype for v in state.values() if v.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("position", [0, 40, 100_000, -1])
def test_one_byte_changed(weights: Path, position: int) -> None:
    data = bytearray(weights.read_bytes())
    data[position] ^= 1
    weights.write_bytes(data)
    with pytest.raises(WeightsError, match="is not the file its spec describes"):
        load_model(str(weights))


def test_truncated(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="fetch it again"):
        load_model(str(weights))


def test_labels_in_another_order(weights: Path) -> None:
    change_spec(weights, labels=list(FERPLUS[::-1]))
    with pytest.raises(WeightsError, match="lists other labels than the weights were trained with"):
        load_model(str(weights))


def test_other_number_of_labels(weights: Path) -> None:
    change_spec(weights, labels=list(FERPLUS[:7]))
    with pytest.raises(WeightsError, match="other labels"):
        load_model(str(weights))


def test_not_a_safetensors_file(weights: Path) -> None:
    data = b"PK\x03\x04 a pickle in a zip, say"
    weights.write_bytes(data)
    change_spec(weights, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_model(str(weights))


@pytest.mark.parametrize("architecture", ["resnet18", "no_such_network"])
def test_weights_of_another_architecture(weights: Path, architecture: str) -> None:
    change_spec(weights, architecture=architecture)
    with pytest.raises(WeightsError, match=f"does not fit {architecture}"):
        load_model(str(weights))


def test_missing_spec(weights: Path) -> None:
    weights.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match=r"has no spec; expected .*\.json beside it"):
        load_model(str(weights))
    assert available_models(weights.parent) == ()


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"text"', "\x00\xff"])
def test_spec_that_is_no_object(weights: Path, text: str) -> None:
    weights.with_suffix(".json").write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsError, match="the spec"):
        load_model(str(weights))


def test_field_that_is_not_understood(weights: Path) -> None:
    change_spec(weights, colour="red")
    with pytest.raises(WeightsError, match="not understood: colour"):
        load_model(str(weights))


@pytest.mark.parametrize("field", ["labels", "mean", "input_size", "grid_step", "architecture"])
def test_missing_field(weights: Path, field: str) -> None:
    path = weights.with_suffix(".json")
    raw = json.loads(path.read_text())
    del raw[field]
    path.write_text(json.dumps(raw))
    with pytest.raises(WeightsError, match=f"incomplete.*{field}"):
        load_model(str(weights))


@pytest.mark.parametrize(
    "change",
    [
        {"labels": []},
        {"labels": ["fear", "fear"]},
        {"labels": 3},
        {"input_size": 0},
        {"input_size": "large"},
        {"source_size": -1},
        {"mean": [0.5]},
        {"std": [0, 1, 1]},
        {"grid_step": 0},
        {"evidence_scale": 0},
    ],
)
def test_impossible_values(weights: Path, change: dict[str, Any]) -> None:
    change_spec(weights, **change)
    with pytest.raises(WeightsError):
        load_spec(weights)


def test_unknown_name_lists_the_choices() -> None:
    with pytest.raises(UnknownModelError, match=f"no model 'resnet'; available: .*{DEFAULT_MODEL}"):
        load_model("resnet")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="no weight file"):
        load_model(str(tmp_path / "absent.safetensors"))
