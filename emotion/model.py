"""A trained network, loaded once and then only read: safe to share between threads."""

from collections.abc import Sequence

import timm
import torch
from torch import nn

import emotion.facenet  # noqa: F401  (registers dlib_face27 with timm)
from emotion.errors import WeightsError
from emotion.fold import quicken
from emotion.preprocess import Crop, preprocess
from emotion.weights import DEFAULT_MODEL, ModelSpec, find_weights, load_spec, load_state

MAX_BATCH = 64


class EmotionModel:
    """A network in evaluation mode, its spec, and its linear head.

    Attributes:
        spec: how to feed it and what its outputs mean.
        network: the timm model; do not hook or change it (:mod:`emotion.cam` works on a copy).
        quick: gives the same features in less time, and so every answer (:mod:`emotion.fold`).
        device: where it runs.
        weight: (C, K) float32, bias: (C,) float32: the head behind the global average pool.
    """

    def __init__(self, spec: ModelSpec, network: nn.Module, device: torch.device) -> None:
        self.spec = spec
        self.device = device
        # Folded on the CPU, where float32 is exact enough to compare the two.
        network = network.eval().requires_grad_(False).to("cpu")
        quick = quicken(network, spec.input_size, pack=device.type == "cpu")
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.quick = quick.to(device)
        head = self.network.get_classifier()  # type: ignore[operator]
        if not isinstance(head, nn.Linear) or head.out_features != len(spec.labels):
            raise WeightsError(
                f"{spec.name}: expected a linear head with {len(spec.labels)} outputs"
            )
        self.weight: torch.Tensor = head.weight.detach().float()
        self.bias: torch.Tensor = head.bias.detach().float()
        self.check_head()

    def check_head(self) -> None:
        """Make sure that nothing stands between the pool and the head.

        Only then is the evidence of :mod:`emotion.evidence` exact.

        Raises:
            WeightsError: the architecture has a layer there.
        """
        size = self.spec.input_size
        probe = torch.linspace(-1, 1, 3 * size * size, device=self.device).view(1, 3, size, size)
        with torch.inference_mode():
            features = self.network.forward_features(probe)  # type: ignore[operator]
            logits = self.network.forward_head(features)  # type: ignore[operator]
        fits = features.ndim == 4 and features.shape[1] == self.weight.shape[1]
        plain = features.mean((2, 3)) @ self.weight.T + self.bias if fits else None
        if plain is None or not torch.allclose(plain, logits, rtol=1e-3, atol=1e-3):
            raise WeightsError(
                f"{self.spec.architecture} does not end in an average pool and one linear layer, "
                "so its evidence would not be exact; choose another architecture"
            )

    def features(self, crops: Sequence[Crop]) -> torch.Tensor:
        """Return the last feature maps (N, K, h, w) float32 of N crops, on the device.

        On a GPU the network runs in bfloat16 (float16 where the GPU lacks it).
        """
        if not crops:
            return torch.empty(0, self.weight.shape[1], 1, 1, device=self.device)
        parts = [crops[i : i + MAX_BATCH] for i in range(0, len(crops), MAX_BATCH)]
        with torch.inference_mode(), self.precision():
            maps = [self.forward_part(part) for part in parts]
        return torch.cat(maps).float()

    def forward_part(self, crops: Sequence[Crop]) -> torch.Tensor:
        """Run one batch through the network up to its last feature map."""
        x = preprocess(crops, self.spec).to(self.device)
        out: torch.Tensor = self.quick.forward_features(  # type: ignore[operator]
            x.contiguous(memory_format=torch.channels_last)
        )
        return out

    def precision(self) -> torch.autocast:
        """Half precision on a GPU, full elsewhere."""
        half = torch.bfloat16
        if self.device.type == "cuda" and not torch.cuda.is_bf16_supported():
            half = torch.float16
        return torch.autocast(self.device.type, half, enabled=self.device.type == "cuda")


def choose_device(name: str | None = None) -> torch.device:
    """Return the device of a name, or the best one at hand for None or ``auto``.

    Raises:
        ValueError: no such device here.
    """
    at_hand = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name in (None, "auto"):
        return torch.device(next((kind for kind, there in at_hand.items() if there), "cpu"))
    try:
        device = torch.device(str(name))
    except RuntimeError:
        raise ValueError(f"there is no device {name!r}; expected cpu, cuda or mps") from None
    if device.type != "cpu" and not at_hand.get(device.type, False):
        raise ValueError(f"{device.type} is not available here; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no GPU {device.index}; there are {torch.cuda.device_count()}")
    return device


def load_model(name: str = DEFAULT_MODEL, *, device: str | None = None) -> EmotionModel:
    """Load a model by name, or by the path of a ``.safetensors`` file with its spec beside it.

    Raises:
        UnknownModelError: no such model. WeightsError: damaged, or not fitting its spec.
        ValueError: no such device here.
    """
    path = find_weights(name)
    spec = load_spec(path)
    state = load_state(path, spec)
    try:
        network = timm.create_model(spec.architecture, num_classes=len(spec.labels))
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{path.name} does not fit {spec.architecture}: {reason}") from None
    return EmotionModel(spec, network, choose_device(device))
