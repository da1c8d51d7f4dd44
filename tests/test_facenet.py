"""The network that training starts from is dlib's own, and its map lies where we say."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from emotion.facenet import FaceBlock, FaceNet, add_padded, dlib_face27
from emotion.images import RGBImage
from emotion.model import EmotionModel
from train.dlib_weights import MEAN, STD, load_pretrained, model_file, read_tensor

DLIB_STAGES = ((32, 3, 1), (64, 4, 2), (128, 3, 2), (256, 3, 2), (256, 1, 2))


class DlibNet(nn.Module):
    """dlib's whole network, 29 convolutions, built from the blocks under test."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 7, 2, 0, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        blocks, width_in = [], 32
        for width, count, stride in DLIB_STAGES:
            for index in range(count):
                blocks.append(FaceBlock(width_in, width, stride if index == 0 else 1))
                width_in = width
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2)
        return self.blocks(x).mean((2, 3))


def descriptor_matrix() -> torch.Tensor:
    """dlib's last layer, which turns 256 pooled features into a descriptor of 128."""
    data = model_file().read_bytes()
    start = data.index(b"\x01\x02\x02\x00\x01\x01\x80", data.index(b"fc_2"))
    # The bytes searched for are the integer 2 and the first dimension, 256.
    values, _ = read_tensor(data, start)
    return torch.from_numpy(values).view(256, 128)


def test_descriptor_agrees_with_dlib(astronaut: RGBImage) -> None:
    dlib = pytest.importorskip("dlib")
    crop = np.ascontiguousarray(astronaut[45:195, 150:300])
    expected = dlib.face_recognition_model_v1(str(model_file())).compute_face_descriptor(crop)
    network = DlibNet().eval()
    load_pretrained(network)
    values = torch.from_numpy(crop).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    with torch.inference_mode():
        found = network((values - mean) / std)[0] @ descriptor_matrix()
    np.testing.assert_allclose(found.numpy(), np.array(expected), atol=1e-5)


def test_pretrained_start_is_dlibs_network_without_its_end() -> None:
    network, whole = dlib_face27(), DlibNet()
    load_pretrained(network)
    load_pretrained(whole)
    shared = whole.state_dict()
    for name, value in network.state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(value, shared[name]), name


def test_last_map_is_seven_by_seven() -> None:
    features = FaceNet().eval().forward_features(torch.zeros(1, 3, 128, 128))
    assert features.shape == (1, 256, 7, 7)


def test_convolutions_put_the_cells_where_the_spec_says(model: EmotionModel) -> None:
    """Receptive-field arithmetic along the convolutions, first pixel at 0."""
    centre, step, size = 0.0, 1, 128
    # In module order; shortcuts have no layer of their own and are left out.
    for layer in model.network.modules():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            kernel, stride, padding = (
                v if isinstance(v, int) else v[0]
                for v in (layer.kernel_size, layer.stride, layer.padding)
            )
            centre += ((kernel - 1) / 2 - padding) * step
            step *= stride
            size = (size + 2 * padding - kernel) // stride + 1
    assert (centre, step) == (model.spec.grid_origin, model.spec.grid_step)
    assert size == 7


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("cell", [2, 3, 4])
def test_disturbance_at_a_cells_place_moves_that_cell(
    model: EmotionModel, axis: int, cell: int
) -> None:
    """Shortcuts and all: noise where a cell lies shows up around it.

    With weights drawn at random, so that the geometry alone counts; what a trained network does
    with a hidden part is measured by ``train explain-eval``.
    """
    torch.manual_seed(0)
    network = dlib_face27().eval()
    place = round(model.spec.grid_origin + model.spec.grid_step * cell)
    noise = 0.3 * torch.randn(8, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    keep = torch.zeros(128, 128)
    rows, columns = slice(place - 8, place + 9), slice(40, 88)
    keep[(rows, columns) if axis == 2 else (columns, rows)] = 1
    with torch.inference_mode():
        before = network.forward_features(torch.zeros(8, 3, 128, 128))
        change = (network.forward_features(noise * keep) - before).square()
    profile = change.sum((0, 1, 5 - axis))
    centre = float((profile * torch.arange(7)).sum() / profile.sum())
    # The shortcuts' 2x2 pools sit up to half a cell further left and up than the convolutions.
    assert centre == pytest.approx(cell + 0.25, abs=0.25)


def test_padding_adds_zeros_at_the_end() -> None:
    small, large = torch.ones(1, 1, 2, 2), torch.ones(1, 2, 3, 2)
    for total in (add_padded(small, large), add_padded(large, small)):
        assert total[0, 0].tolist() == [[2, 2], [2, 2], [1, 1]]
        assert total[0, 1].tolist() == [[1, 1], [1, 1], [1, 1]]


def test_hub_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="no hub weights"):
        dlib_face27(pretrained=True)
