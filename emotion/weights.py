"""Which models there are, and the spec that travels with each weight file.

A model is two files side by side: ``NAME.safetensors`` (tensors only, nothing that can
run code) and ``NAME.json``, its :class:`ModelSpec`. The spec says how to build the
network, how to prepare a face for it and what its outputs mean, so that no other module
holds a number of its own about a model.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from emotion.errors import UnknownModelError, WeightsError

WEIGHTS_DIR = Path(__file__).resolve().parent.parent / "weights"
DEFAULT_MODEL = "ferplus-face27"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """All that is needed to run one weight file, and where it came from.

    Attributes:
        name: the file name without its ending.
        architecture: a name that ``timm.create_model`` knows (this package registers its own).
        labels: one per output, in the order of the outputs.
        input_size: side of the square input, in pixels.
        source_size: side in pixels to which a larger crop is reduced first, so that a sharp
            photograph reaches the network with the detail it was trained on; 0 for none.
        grayscale: whether the crop is turned grey first (the three channels then agree).
        mean, std: per channel, for values in [0, 1].
        grid_origin, grid_step: where in the input, in pixels, the centre of the first cell of
            the last feature map lies, and how far apart the centres are.
        evidence_scale: density of evidence, in logits per crop area, that is shown in full
            colour; measured on the validation faces.
        set_threshold: labels at or above this probability form a face's prediction set, beside
            the most likely one; chosen on the validation faces so that the set holds the true
            label for nine faces in ten. 1 for none: then the most likely label stands alone.
        quality: accuracy on validation faces of a kind (``dark``, ``blurred`` ...; ``all`` for
            all of them), in [0, 1]; see :mod:`emotion.quality`.
        sha256: of the safetensors file, hex.
        metrics: figures measured by ``python -m train evaluate``, by name.
        training: how it was made: command, data, date.
        license: of the weights.
        intended_use, excluded_use: what the model is for, and what it must not be used for.
    """

    name: str
    architecture: str
    labels: tuple[str, ...]
    input_size: int
    source_size: int
    grayscale: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    grid_origin: float
    grid_step: float
    evidence_scale: float = 12.0
    set_threshold: float = 1.0
    quality: Mapping[str, float] = field(default_factory=dict)
    sha256: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, str] = field(default_factory=dict)
    license: str = "Apache-2.0"
    intended_use: str = ""
    excluded_use: str = ""

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels) or not self.labels:
            raise WeightsError(f"spec {self.name}: labels must be distinct, got {self.labels}")
        if self.input_size < 16 or self.source_size < 0:
            raise WeightsError(f"spec {self.name}: sizes must be positive pixels")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise WeightsError(f"spec {self.name}: mean and std need three values, std above 0")
        if self.grid_step <= 0 or self.evidence_scale <= 0:
            raise WeightsError(f"spec {self.name}: grid_step and evidence_scale must be above 0")
        if not 0 < self.set_threshold <= 1:
            raise WeightsError(f"spec {self.name}: set_threshold must be above 0, at most 1")

    def grid_on_crop(self) -> tuple[float, float]:
        """Return the centre of the first cell, and the step, as fractions of the crop's side."""
        # Pixel 15 of the input spans 15 to 16; as a place on the crop its middle is 15.5.
        return (self.grid_origin + 0.5) / self.input_size, self.grid_step / self.input_size

    def to_json(self) -> str:
        """Return the spec as the text of its JSON file."""
        return json.dumps(asdict(self), indent=2) + "\n"


def available_models(folder: Path = WEIGHTS_DIR) -> tuple[str, ...]:
    """Return the names of the models whose weights and spec lie in ``folder``, sorted."""
    stems = (p.stem for p in sorted(folder.glob("*.safetensors")))
    return tuple(s for s in stems if (folder / f"{s}.json").is_file())


def find_weights(name: str) -> Path:
    """Return the weight file of a model, given its name or a path to a ``.safetensors`` file.

    Raises:
        UnknownModelError: neither a model on offer nor an existing file.
    """
    path = Path(name)
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise UnknownModelError(f"there is no weight file {name}")
        return path
    if name not in available_models():
        choices = ", ".join(available_models()) or "none (the folder weights/ is empty)"
        raise UnknownModelError(f"there is no model {name!r}; available: {choices}")
    return WEIGHTS_DIR / f"{name}.safetensors"


def load_spec(weights: Path) -> ModelSpec:
    """Read the spec beside a weight file.

    Raises:
        WeightsError: it is missing, is not JSON, or lacks a field.
    """
    path = weights.with_suffix(".json")
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{weights.name} has no spec; expected {path.name} beside it") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"the spec {path.name} cannot be read: {error}") from None
    known = {f.name for f in fields(ModelSpec)}
    if not isinstance(raw, dict) or set(raw) - known:
        extra = ", ".join(sorted(set(raw) - known)) if isinstance(raw, dict) else "not an object"
        raise WeightsError(f"the spec {path.name} has fields that are not understood: {extra}")
    try:
        for key in ("labels", "mean", "std"):
            raw[key] = tuple(raw[key])
        return ModelSpec(**raw)
    except (KeyError, TypeError) as error:
        raise WeightsError(f"the spec {path.name} is incomplete: {error}") from None


def load_state(weights: Path, spec: ModelSpec) -> dict[str, torch.Tensor]:
    """Read a weight file after checking that it is the one the spec was written for.

    The labels are in the file's own metadata too (:func:`train.export.write_model` puts them
    there), so a spec whose labels were put in another order is refused instead of naming
    every emotion wrongly.

    Returns:
        Tensors by parameter name, float32 (files hold float16 to stay small).

    Raises:
        WeightsError: unreadable, another sha256, or other labels than the spec's.
    """
    try:
        data = weights.read_bytes()
    except OSError as error:
        raise WeightsError(f"{weights.name} cannot be read: {error.strerror}") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != spec.sha256:
        raise WeightsError(
            f"{weights.name} is not the file its spec describes "
            f"(sha256 {digest[:12]}..., expected {spec.sha256[:12]}...); fetch it again"
        )
    try:
        state = load_safetensors(data)
    except SafetensorError as error:
        raise WeightsError(f"{weights.name} is not a safetensors file: {error}") from None
    stored = file_metadata(data).get("labels")
    if stored is not None and tuple(stored.split(",")) != spec.labels:
        raise WeightsError(
            f"the spec of {weights.name} lists other labels than the weights were trained with: "
            f"{', '.join(spec.labels)} instead of {stored.replace(',', ', ')}"
        )
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def file_metadata(data: bytes) -> dict[str, str]:
    """Return the metadata in the header of a safetensors file.

    Source: https://github.com/huggingface/safetensors (format: 8 bytes little-endian header
    length, then JSON).
    """
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return dict(header.get("__metadata__", {}))
