"""What one training run is made of, and the YAML files that hold such settings."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from emotion.labels import FERPLUS
from emotion.weights import ModelSpec
from train.dlib_weights import MEAN, STD

PRESETS = Path(__file__).resolve().parent / "presets"
OPTIMIZERS = ("adamw", "sgd")
PRECISIONS = ("bf16", "float32")
ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "mish")
POOLINGS = ("avg", "max", "avgmax", "catavgmax")
CHOICES = {
    "optimizer": OPTIMIZERS,
    "precision": PRECISIONS,
    "activation": ("", *ACTIVATIONS),
    "pooling": ("", *POOLINGS),
}
"""What settings that are a name may be; empty for the architecture's own."""
WHOLE = "what a part is worth can only be learnt on a face that is whole"


@dataclass(frozen=True, slots=True)
class FitConfig:
    """The numbers of one training run.

    Attributes:
        architecture: a name that ``timm.create_model`` knows.
        pretrained: start from dlib's face network (``dlib_face27``) or from timm's weights.
        start: a checkpoint (``last.pt``) to start from instead, or several with commas between
            them, whose mean is taken; the head is taken as far as it fits. Empty for none.
        epochs, batch_size, seed: as usual.
        lr, weight_decay: of AdamW; the rate warms up over ``warmup`` epochs, then falls as a
            cosine to nothing.
        ema: decay per step of the running average of the weights, which is what is kept.
        mixup, cutmix: alpha of their beta distributions; 0 for none. With both, each batch takes
            one of them, by the toss of a coin.
        fer2013: weight of a second loss, on FER2013's own seven labels, where they are known.
        balance: share of the training set below which a class is repeated (sampled more often,
            by the square root of what it lacks); 0 for none.
        label_smoothing: share of each target spread over all classes.
        drop: probability of dropout before the classifier.
        rotation, shift, zoom: largest change of framing: degrees, share of the side, factor.
        erase, blur, light: probability of a cut-out, of a blur, and strength of light changes.
        degrade: probability of each of: noise, motion blur, JPEG, low resolution.
        cover: probability that the upper or the lower part of the face is covered.
        denoise: probability of a camera's noise reduction (a 3x3 median at the source's size).
        recut: probability that the face is cut anew at the source's size, smaller or larger, so
            that it has fewer pixels, as by a detector that frames it otherwise.
        teacher: a checkpoint (``last.pt``) or several, likewise, whose answers on the changed faces
            are part of the targets; of any architecture with the same input and outputs. It sees
            faces before ``recut``, unless faces are mixed. Empty for none.
        distil: share of the target that is the teacher's answer.
        faithful: weight of a loss that makes hiding a part of the face change the logits by the
            evidence on that part (:mod:`train.parts`); 0 for none. Twice the time per epoch.
        optimizer: ``adamw``, or ``sgd`` with Nesterov momentum of 0.9.
        layer_decay: factor on the rate of each block for each block after it, for fine-tuning;
            1 for the same rate everywhere.
        clip: largest norm of the gradient of one step; 0 for any.
        patience: stop after so many epochs without a better validation accuracy, and keep the
            best epoch in ``best.pt``; 0 for neither.
        activation: one of :data:`ACTIVATIONS`; empty for the architecture's own.
        pooling: before the classifier, one of :data:`POOLINGS`; empty for the architecture's own.
        input_size: side of the network's input in pixels; 0 for the architecture's own
            (see :func:`spec_for`).
        precision: of the network's layers: ``bf16`` where the device has it, else ``float32``,
            which is slower on a GPU and on CPUs with AMX, and faster on older CPUs.
    """

    architecture: str = "dlib_face27"
    pretrained: bool = True
    start: str = ""
    epochs: int = 24
    batch_size: int = 64
    seed: int = 0
    lr: float = 5e-4
    weight_decay: float = 0.05
    warmup: float = 1.0
    ema: float = 0.998
    mixup: float = 0.4
    cutmix: float = 0.0
    fer2013: float = 0.0
    balance: float = 0.0
    label_smoothing: float = 0.05
    drop: float = 0.2
    rotation: float = 20.0
    shift: float = 0.08
    zoom: float = 0.2
    erase: float = 0.4
    blur: float = 0.2
    light: float = 0.3
    degrade: float = 0.0
    cover: float = 0.0
    denoise: float = 0.0
    recut: float = 0.0
    teacher: str = ""
    distil: float = 0.5
    faithful: float = 0.0
    optimizer: str = "adamw"
    layer_decay: float = 1.0
    clip: float = 5.0
    patience: int = 0
    activation: str = ""
    pooling: str = ""
    input_size: int = 0
    precision: str = "bf16"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or not self.lr > 0:
            raise ValueError("epochs must be at least 1, batch_size at least 2, lr above 0")
        self.check_numbers()
        self.check_choices()
        if self.input_size and self.input_size < 32:
            raise ValueError(f"input_size must be 0 or at least 32, got {self.input_size}")

    def check_numbers(self) -> None:
        """Raise ``ValueError`` for a number outside its range."""
        for name, value in asdict(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} must be a number, got {value}")
        for name in ("ema", "label_smoothing", "drop", "shift", "light", "balance"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to below 1, got {getattr(self, name)}")
        for name in ("erase", "blur", "degrade", "cover", "denoise", "recut", "distil"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must be above 0, at most 1, got {self.layer_decay}")
        amounts = ("weight_decay", "warmup", "mixup", "cutmix", "fer2013", "rotation", "zoom")
        for name in (*amounts, "faithful", "clip", "patience"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be below 0, got {getattr(self, name)}")
        covering = [n for n in ("mixup", "cutmix", "erase", "cover") if getattr(self, n)]
        if self.faithful and covering:
            raise ValueError(f"with faithful, {' and '.join(covering)} must be 0: {WHOLE}")

    def check_choices(self) -> None:
        """Raise ``ValueError`` where a setting is none of its choices."""
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                expected = ", ".join(choice for choice in choices if choice)
                raise ValueError(f"{name} must be one of {expected}, got {getattr(self, name)!r}")


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


def read_preset(name: str) -> dict[str, Any]:
    """Read the settings in a YAML file.

    Args:
        name: of a file in :data:`PRESETS`, without ``.yaml``, or a path to another one.

    Returns:
        Values by the name of a field of :class:`FitConfig`, each of that field's type.

    Raises:
        ValueError: no such file, not YAML, or a setting that is not known.
    """
    settings, path = read_yaml(name)
    return checked_settings(settings, str(path))


def read_yaml(name: str) -> tuple[dict[str, Any], Path]:
    """Read a YAML file of keys and values, shipped (by its name) or one's own (by its path).

    Raises:
        ValueError: no such file, or another content.
    """
    shipped = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    path = PRESETS / f"{name}.yaml" if name in shipped else Path(name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"no preset {name!r} ({error.strerror}); "
            f"give the path of a YAML file, or one of {', '.join(shipped)}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold lines of the form key: value")
    return content, path


def checked_settings(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return settings as the types that :class:`FitConfig` has.

    Args:
        where: they come from, for the error.

    Raises:
        ValueError: an unknown setting, or a value of another type.
    """
    defaults = {f.name: f.default for f in fields(FitConfig)}
    for name in settings:
        if name not in defaults:
            close = difflib.get_close_matches(str(name), defaults, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(defaults)}"
            raise ValueError(f"{where}: unknown setting {str(name)!r}; {hint}")
    return {
        name: as_type(value, defaults[name], f"{where}: {name}") for name, value in settings.items()
    }


def as_type(value: object, like: object, what: str) -> object:
    """Return ``value`` as the type of ``like``; ``ValueError`` where it is of another one."""
    if type(value) is type(like):
        return value
    if isinstance(like, float) and isinstance(value, int | str) and not isinstance(value, bool):
        # YAML takes 1e-3, without a dot, for text.
        try:
            return float(value)
        except ValueError:
            pass
    expected = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    raise ValueError(f"{what} must be {expected[type(like)]}, got {value!r}")


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
        return replace(SPEC, input_size=config.input_size or SPEC.input_size)
    # Most timm networks reduce by 32, evenly spread; at 224 px that is a 7x7 map.
    return replace(
        SPEC,
        name=f"ferplus-{config.architecture}",
        architecture=config.architecture,
        input_size=config.input_size or 224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        grid_origin=15.5,
        grid_step=32.0,
    )
