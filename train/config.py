"""What one training run is made of."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from emotion.labels import FERPLUS
from emotion.weights import ModelSpec
from train.dlib_weights import MEAN, STD


@dataclass(frozen=True, slots=True)
class FitConfig:
    """The numbers of one training run.

    Attributes:
        architecture: a name that ``timm.create_model`` knows.
        pretrained: start from dlib's face network (``dlib_face27``) or from timm's weights.
        epochs, batch_size, seed: as usual.
        lr, weight_decay: of AdamW; the rate warms up over ``warmup`` epochs, then falls as a
            cosine to nothing.
        ema: decay per step of the running average of the weights, which is what is kept.
        mixup: alpha of the beta distribution; 0 for none.
        label_smoothing: share of each target spread over all classes.
        drop: probability of dropout before the classifier.
        rotation, shift, zoom: largest change of framing: degrees, share of the side, factor.
        erase, blur, light: probability of a cut-out, of a blur, and strength of light changes.
    """

    architecture: str = "dlib_face27"
    pretrained: bool = True
    epochs: int = 24
    batch_size: int = 64
    seed: int = 0
    lr: float = 5e-4
    weight_decay: float = 0.05
    warmup: float = 1.0
    ema: float = 0.998
    mixup: float = 0.4
    label_smoothing: float = 0.05
    drop: float = 0.2
    rotation: float = 20.0
    shift: float = 0.08
    zoom: float = 0.2
    erase: float = 0.4
    blur: float = 0.2
    light: float = 0.3

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or not self.lr > 0:
            raise ValueError("epochs must be at least 1, batch_size at least 2, lr above 0")
        for name in ("ema", "label_smoothing", "drop", "shift", "erase", "blur", "light"):
            value = getattr(self, name)
            if not 0 <= value < 1 and not (name in ("erase", "blur") and value == 1):
                raise ValueError(f"{name} must be from 0 to below 1, got {value}")
        for name in ("weight_decay", "warmup", "mixup", "rotation", "zoom"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be below 0, got {getattr(self, name)}")


def stored_config(stored: Mapping[str, Any]) -> FitConfig:
    """Return the settings in a checkpoint.

    A setting that the checkpoint is too old to know has its default, which is how the
    training behaved before there was such a setting.

    Raises:
        ValueError: a setting that is not known any more.
    """
    unknown = set(stored) - {f.name for f in fields(FitConfig)}
    if unknown:
        raise ValueError(f"unknown settings {', '.join(sorted(unknown))}")
    return FitConfig(**stored)


def differences(one: FitConfig, other: FitConfig) -> list[str]:
    """Return the names of the settings in which two configs differ."""
    theirs = asdict(other)
    return [name for name, value in asdict(one).items() if value != theirs[name]]


SPEC = ModelSpec(
    name="ferplus-face27",
    architecture="dlib_face27",
    labels=FERPLUS,
    input_size=128,
    source_size=48,
    grayscale=True,
    mean=MEAN,
    std=STD,
    grid_origin=15.0,
    grid_step=16.0,
)
"""How a face reaches ``dlib_face27``; the geometry of its last map follows from its strides."""


def spec_for(config: FitConfig) -> ModelSpec:
    """Return the spec of a model trained with ``config``, before it has weights."""
    if config.architecture == SPEC.architecture:
        return SPEC
    # Most timm networks reduce by 32, evenly spread; at 224 px that is a 7x7 map.
    return replace(
        SPEC,
        name=f"ferplus-{config.architecture}",
        architecture=config.architecture,
        input_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        grid_origin=15.5,
        grid_step=32.0,
    )
