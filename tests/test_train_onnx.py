"""The ONNX file answers as the model does, and holds all that its user needs."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from emotion.classify import classify
from emotion.errors import WeightsError
from emotion.evidence import class_evidence
from emotion.images import RGBImage
from emotion.model import EmotionModel
from emotion.preprocess import preprocess
from train import onnx_file
from train.__main__ import main

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "new" / "face27.onnx"
    assert main(["onnx", "--weights", "ferplus-face27", "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def session(written: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])


def crops(face: RGBImage, count: int) -> list[np.ndarray]:
    return [np.ascontiguousarray(face[i : 150 + i, i : 150 + i]) for i in range(count)]


@pytest.mark.parametrize("count", [1, 3])
def test_file_gives_the_models_logits_and_evidence(
    written: Path,
    session: onnxruntime.InferenceSession,
    model: EmotionModel,
    face_tile: RGBImage,
    count: int,
) -> None:
    batch = crops(face_tile, count)
    images = preprocess(batch, model.spec).numpy()
    logits, features = session.run(["logits", "features"], {"image": images})
    expected = np.stack([p.logits for p in classify(model, batch)])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    assert features.shape == (count, 256, 7, 7)

    arrays = {a.name: onnx.numpy_helper.to_array(a) for a in onnx.load(written).graph.initializer}
    weight = arrays[session.get_modelmeta().custom_metadata_map["head_weight"]]
    maps = np.einsum("ck,nkhw->nchw", weight, features) / 49
    evidence = class_evidence(model, model.features(batch))
    np.testing.assert_allclose(maps, evidence, atol=1e-4)
    assert abs(evidence).max() > 0.1


def test_metadata_are_the_spec(session: onnxruntime.InferenceSession, model: EmotionModel) -> None:
    found = session.get_modelmeta().custom_metadata_map
    spec = model.spec
    assert (found["sha256"], found["license"]) == (spec.sha256, spec.license)
    for name in ("labels", "mean", "std"):
        assert tuple(json.loads(found[name])) == getattr(spec, name)
    for name in ("input_size", "source_size", "grayscale", "grid_origin", "grid_step"):
        assert json.loads(found[name]) == getattr(spec, name)


def test_file_is_small_and_names_no_folder(written: Path) -> None:
    data = written.read_bytes()
    assert len(data) < 20_000_000
    assert list(written.parent.iterdir()) == [written]  # no weights in a second file
    for text in (str(ROOT), "site-packages", ".py"):
        assert text.encode() not in data


def test_file_that_answers_otherwise_is_not_written(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_: EmotionModel) -> onnx.ModelProto:
        proto = onnx.load(written)
        array = next(a for a in proto.graph.initializer if a.name.endswith("conv2.weight"))
        values = onnx.numpy_helper.to_array(array) * 1.01
        array.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), array.name))
        return proto

    monkeypatch.setattr(onnx_file, "to_onnx", damaged)
    with pytest.raises(WeightsError, match=r"differs from torch by .*nothing was written"):
        onnx_file.write_onnx("ferplus-face27", tmp_path / "bad.onnx")
    assert not list(tmp_path.iterdir())


def test_head_that_is_not_in_the_file(written: Path, model: EmotionModel) -> None:
    proto = onnx.load(written)
    del proto.graph.initializer[:]
    with pytest.raises(WeightsError, match="does not keep the head's weight"):
        onnx_file.head_name(proto, model)


def test_layer_that_onnx_does_not_know(model: EmotionModel, monkeypatch) -> None:
    class Odd(torch.nn.Module):
        def forward_features(self, x: torch.Tensor) -> torch.Tensor:
            return x * float(x.sum())  # depends on the values: cannot be written down

    monkeypatch.setattr(model, "network", Odd())
    with pytest.raises(WeightsError, match="dlib_face27 has no ONNX form"):
        onnx_file.to_onnx(model)


def test_unknown_model(tmp_path: Path, capsys) -> None:
    assert main(["onnx", "--weights", "nobody", "--out", str(tmp_path / "a.onnx")]) == 1
    assert "there is no model 'nobody'" in capsys.readouterr().err
