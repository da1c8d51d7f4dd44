"""train.dlib_weights: dlib's file read right, and its function kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from emotion.facenet import FaceBlock, FaceNet
from train.dlib_weights import (
    MEAN,
    STD,
    calibrate,
    load_pretrained,
    model_file,
    read_integer,
    read_layers,
    read_tensor,
    set_affine,
)

# The whole network: width and stride of each of its 14 blocks, from the input side.
DLIB_BLOCKS = [
    *[(32, 1)] * 3,
    (64, 2),
    *[(64, 1)] * 3,
    (128, 2),
    *[(128, 1)] * 2,
    (256, 2),
    *[(256, 1)] * 2,
    (256, 2),
]


class WholeFaceNet(nn.Module):
    """dlib's network as it is, with its last down-sampling and its 128 outputs."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 7, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        widths = [32, *(width for width, _ in DLIB_BLOCKS)]
        self.blocks = nn.Sequential(
            *(FaceBlock(widths[i], w, stride) for i, (w, stride) in enumerate(DLIB_BLOCKS))
        )
        layers = read_layers(data)
        convs = [m for m in self.modules() if isinstance(m, nn.Conv2d)]
        norms = [m for m in self.modules() if isinstance(m, nn.BatchNorm2d)]
        assert len(convs) == 29
        for conv, norm in zip(convs, norms, strict=True):
            (_, values), (_, affine) = next(layers), next(layers)
            n = conv.out_channels
            set_affine(conv, norm, filters=values[:-n], bias=values[-n:], affine=affine)
        assert next(layers, None) is None, "layers are left over"
        at = data.index(b"\x01\x04fc_2") + len(b"\x01\x04fc_2")
        for expected in (128, 256):  # outputs, inputs
            value, at = read_integer(data, at)
            assert value == expected
        self.head = torch.from_numpy(read_tensor(data, at)[0]).view(256, 128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2)
        x = self.blocks(x)
        return x.mean((2, 3)) @ self.head


def faces(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Smooth random pictures, normalised as dlib does: (N, 3, S, S) float32."""
    torch.manual_seed(seed)
    coarse = torch.rand(count, 3, 9, 9)
    x = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 1)
    return (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("data", "value", "length"),
    [(b"\x01\x02", 2, 2), (b"\x02\x00\x01", 256, 3), (b"\x81\x05", -5, 2), (b"\x00", 0, 1)],
)
def test_read_integer(data: bytes, value: int, length: int) -> None:
    assert read_integer(b"ab" + data + b"rest", 2) == (value, 2 + length)


def test_read_tensor() -> None:
    values = np.array([1.5, -2.0], "<f4")
    data = b"\x01\x02" + b"\x01\x01" * 3 + b"\x01\x02" + values.tobytes()
    out, at = read_tensor(data + b"rest", 0)
    np.testing.assert_array_equal(out, values)
    assert at == len(data)
    with pytest.raises(ValueError, match="version 2"):
        read_tensor(b"\x01\x03", 0)


def test_descriptor_agrees_with_dlib() -> None:
    """The rebuilt network gives dlib's own 128 numbers."""
    dlib = pytest.importorskip("dlib")
    path = model_file()
    images = (faces(4, 150) * STD[0] + torch.tensor(MEAN).view(1, 3, 1, 1)).mul(255)
    images = images.round().clamp(0, 255).to(torch.uint8)
    network = WholeFaceNet(path.read_bytes()).eval()
    x = (images.float() / 255 - torch.tensor(MEAN).view(1, 3, 1, 1)) / STD[0]
    with torch.inference_mode():
        ours = network(x).numpy()
    encoder = dlib.face_recognition_model_v1(str(path))
    chips = [np.ascontiguousarray(i.permute(1, 2, 0).numpy()) for i in images]
    theirs = np.array([encoder.compute_face_descriptor(chip) for chip in chips])
    assert np.abs(theirs).max() > 0.1
    difference = np.abs(ours - theirs).max()
    print(f"largest difference of a descriptor's component: {difference:.2g}")
    assert difference < 2e-6


def test_calibrate_keeps_the_function() -> None:
    network = FaceNet(num_classes=0).eval()
    load_pretrained(network)
    probe = faces(6, 128, seed=1)
    with torch.inference_mode():
        before = network.forward_features(probe)
    calibrate(network, [faces(24, 128, seed=2), faces(9, 128, seed=3)])
    with torch.inference_mode():
        after = network.forward_features(probe)
    assert before.shape == (6, 256, 7, 7)
    assert before.abs().max() > 0.1
    assert ((after - before).norm() / before.norm()).item() < 1e-3


def test_calibrate_gives_each_norm_the_statistics_it_meets() -> None:
    """In training mode the function is then nearly the same too; that is the point of it."""
    network = FaceNet(num_classes=0).eval()
    load_pretrained(network)
    batch = faces(32, 128, seed=4)
    with torch.inference_mode():
        before = network.forward_features(batch)
        fresh = network.train().forward_features(batch)
    load_pretrained(network.eval())
    calibrate(network, [batch])
    with torch.inference_mode():
        after = network.train().forward_features(batch)
    drift = ((after - before).norm() / before.norm()).item()
    assert drift < 1e-2
    assert ((fresh - before).norm() / before.norm()).item() > 10 * drift


def test_calibrate_leaves_no_hook() -> None:
    network = FaceNet(num_classes=0).eval()
    calibrate(network, [faces(4, 64)])
    assert not any(m._forward_pre_hooks for m in network.modules())


def test_a_file_that_is_not_dlibs(tmp_path: Path) -> None:
    path = tmp_path / "x.dat"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="got the end"):
        load_pretrained(FaceNet(), path)
