"""The face network of dlib as a timm model: `dlib_face27`.

dlib's ``dlib_face_recognition_resnet_model_v1`` (29 convolutions, CC0) was trained to tell
some three million faces apart; its layers know what a face is made of. This is the same
network without its last down-sampling block (27 convolutions), with batch norms where dlib
has frozen affine layers, and with the last down-sampling left out, so that the last feature
map stays at 7x7 for a 128 pixel face. Global average pooling and one linear layer follow,
the form for which class maps are exact (see :mod:`emotion.evidence`).

Source: https://github.com/davisking/dlib/blob/master/examples/dnn_face_recognition_ex.cpp
(architecture); https://github.com/davisking/dlib-models (weights, CC0 1.0).
"""

from typing import Any

import torch
import torch.nn.functional as F
from timm.models import register_model
from torch import nn

STAGES = ((32, 3, 1), (64, 4, 2), (128, 3, 2), (256, 3, 1))
"""Per stage: width, blocks, stride of the first block (dlib's own last stride is 2)."""


class FaceBlock(nn.Module):
    """Two 3x3 convolutions and a parameter-free shortcut.

    As in dlib, a stride of 2 has no padding, the shortcut is then a 2x2 average pool, and
    where the two differ in width or size the smaller one is padded with zeros.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        padding = 1 if stride == 1 else 0
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = F.avg_pool2d(x, 2) if self.stride == 2 else x
        return F.relu(add_padded(y, shortcut))


def add_padded(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Add two feature maps, the smaller padded with zeros at the end of each dimension."""
    if a.shape == b.shape:
        return a + b
    shape = [max(s, t) for s, t in zip(a.shape[1:], b.shape[1:], strict=True)]
    return pad_to(a, shape) + pad_to(b, shape)


def pad_to(x: torch.Tensor, shape: list[int]) -> torch.Tensor:
    """Pad channels, height and width of (N, C, H, W) with zeros at their end."""
    missing = [want - have for want, have in zip(shape, x.shape[1:], strict=True)]
    channels, height, width = missing
    return F.pad(x, (0, width, 0, height, 0, channels)) if any(missing) else x


class FaceNet(nn.Module):
    """dlib's face network with a global average pool and a linear classifier.

    Args:
        num_classes: outputs; 0 for pooled features.
        in_chans: input channels; dlib's weights need 3.
        drop_rate: dropout before the classifier, while training.
    """

    def __init__(self, num_classes: int = 8, in_chans: int = 3, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features = STAGES[-1][0]
        # Two pixels of padding make each map odd-sized (63, 31, 15, 7), so that a 3x3 step of 2
        # covers it evenly and the last map's cells lie symmetrically: at 15, 31, ... 111 of 128.
        self.conv1 = nn.Conv2d(in_chans, STAGES[0][0], 7, 2, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(STAGES[0][0])
        self.maxpool = nn.MaxPool2d(3, 2)
        blocks: list[nn.Module] = []
        width_in = STAGES[0][0]
        for width, count, stride in STAGES:
            for index in range(count):
                blocks.append(FaceBlock(width_in, width, stride if index == 0 else 1))
                width_in = width
        self.blocks = nn.Sequential(*blocks)
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) to the last feature map, (N, 256, h, w)."""
        x = F.relu(self.bn1(self.conv1(x)))
        out: torch.Tensor = self.blocks(self.maxpool(x))
        return out

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """The last feature map to logits (N, num_classes)."""
        x = self.drop(x.mean((2, 3)))
        return x if pre_logits else self.fc(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        """The last linear layer; timm's name for it."""
        return self.fc


@register_model
def dlib_face27(pretrained: bool = False, **kwargs: Any) -> FaceNet:
    """dlib's face network up to its 27th convolution, 7x7 map at 128 px, 4.4 M parameters.

    ``pretrained`` is not taken here: :func:`train.dlib_weights.load_pretrained` reads dlib's file.
    """
    if pretrained:
        raise ValueError("dlib_face27 has no hub weights; use train.dlib_weights.load_pretrained")
    known = {"num_classes", "in_chans", "drop_rate"}
    return FaceNet(**{k: v for k, v in kwargs.items() if k in known})
